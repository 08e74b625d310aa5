"""A short film with sound, for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FRAMES, RATE = 11, 8


def film(path: Path, width: int = 96, height: int = 80, sound: bool = True) -> Path:
    """Frames that grow lighter one by one, and a tone."""
    with av.open(str(path), "w") as made:
        pictures = made.add_stream("libx264", rate=RATE, options={"crf": "10", "bf": "2"})
        pictures.width, pictures.height = width, height
        pictures.pix_fmt = "yuv420p" if width % 2 == 0 and height % 2 == 0 else "yuv444p"
        tone = made.add_stream("aac", rate=16000, layout="mono") if sound else None
        for k in range(FRAMES):
            grey = np.full((height, width, 3), 40 + 16 * k, np.uint8)
            made.mux(pictures.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        made.mux(pictures.encode(None))
        if tone is not None:
            t = np.arange(16000 * FRAMES // RATE) / 16000
            samples = (0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
            for k in range(0, len(samples), 1024):
                chunk = av.AudioFrame.from_ndarray(samples[None, k : k + 1024], "fltp", "mono")
                chunk.sample_rate, chunk.pts, chunk.time_base = 16000, k, Fraction(1, 16000)
                made.mux(tone.encode(chunk))
            made.mux(tone.encode(None))
    return path
