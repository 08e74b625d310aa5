"""BlazePose as torch modules: the person detector and the pose network, frozen.

Both read their weights from MediaPipe's tflite files (Apache-2.0), which `tryon.assets` fetches.
Forward takes and returns exactly what `tryon.contract` states for `detector` and `pose`.
"""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor, nn

from tryon.contract import DETECTOR_ANCHORS, DETECTOR_SIZE, POSE_CHANNELS, POSE_POINTS, POSE_SIZE
from tryon.models.tflite_reader import TfliteGraph

DETECTOR_FILE = "pose_detection.tflite"
POSE_FILE = "pose_landmark_full.tflite"
DETECTOR_STRIDES = {8: 2, 16: 2, 32: 6}
"""Strides of the detector's SSD layers, and how many anchors each has at every cell."""


def _file(path: str | os.PathLike[str] | None, name: str) -> str | os.PathLike[str]:
    if path is not None:
        return path
    from tryon.assets import asset_path

    return asset_path(name)


class Pose(nn.Module):
    """BlazePose's landmark network ("full").

    Args:
        path: `pose_landmark_full.tflite`; fetched if None.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self.graph = TfliteGraph(_file(path, POSE_FILE))
        g = self.graph
        by_shape = {g.shapes[i]: i for i in g.outputs}
        try:
            self._landmarks = by_shape[(1, POSE_POINTS * 5)]
            self._score = by_shape[(1, 1)]
            self._heatmaps = by_shape[(1, 64, 64, POSE_POINTS)]
            self._features = [self._decoder_sum(side) for side in (64, 32, 16)]
        except KeyError as error:
            raise ValueError(
                f"{g.path}: no tensor of shape {error.args[0]}; "
                f"`python -m tryon.assets {POSE_FILE}` fetches the file this module reads"
            ) from None

    def _decoder_sum(self, side: int) -> int:
        """The tensor that adds an upsampled decoder map to the trunk's map of the same size."""
        resized = {op.output for op in self.graph.ops if op.kind == "resize"}
        shape = (1, side, side, POSE_CHANNELS)
        for op in self.graph.ops:
            if op.kind == "add" and self.graph.shapes[op.output] == shape:
                if resized & set(op.inputs):
                    return op.output
        raise KeyError(shape)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """What the generator learns from, in the input's own precision (autocast applies).

        Args:
            images: (N, 3, 256, 256) floating point, RGB in 0..1.

        Returns:
            landmarks: (N, 39, 5), x, y, z in 0..1 of the view, visibility and presence in 0..1;
            pose_score: (N, 1) in 0..1, whether a person is there;
            heatmaps: (N, 39, 64, 64) logits;
            features_64, features_32, features_16: (N, 48, side, side).
        """
        x = images.contiguous(memory_format=torch.channels_last)
        wanted = [self._landmarks, self._score, self._heatmaps, *self._features]
        points, score, heatmaps, f64, f32, f16 = self.graph(x, wanted)
        # bf16 has 8 bits: scale and squash the 39 points in float32, which costs nothing.
        points = points.float().reshape(-1, POSE_POINTS, 5)
        points = torch.cat([points[..., :3] / POSE_SIZE, torch.sigmoid(points[..., 3:])], dim=-1)
        return {
            # The last reshape states the shape for the exporter, which loses it at the cat.
            "landmarks": points.reshape(-1, POSE_POINTS, 5),
            "pose_score": score.float(),
            "heatmaps": heatmaps,
            "features_64": f64,
            "features_32": f32,
            "features_16": f16,
        }

    def forward(self, view: Tensor) -> tuple[Tensor, ...]:
        """The served model `pose`.

        Args:
            view: (N, 256, 256, 3) uint8 RGB.

        Returns:
            landmarks (N, 39, 5) float32, pose_score (N, 1) float32, heatmaps (N, 39, 64, 64),
            features_64, features_32, features_16 (N, 48, side, side), these four float16.
        """
        # Float first, then transpose: TensorRT transposes no uint8.
        out = self.features(view.float().permute(0, 3, 1, 2) / 255.0)
        names = ("heatmaps", "features_64", "features_32", "features_16")
        return (out["landmarks"], out["pose_score"], *(out[name].half() for name in names))


def detector_anchors(stride: int) -> np.ndarray:
    """Centres of the anchors of one stride, (side, side, anchors, 2) float32: x, y in pixels."""
    centres = (np.arange(DETECTOR_SIZE // stride, dtype=np.float32) + 0.5) * stride
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return np.repeat(np.stack([x, y], -1)[:, :, None], DETECTOR_STRIDES[stride], axis=2)


class Detector(nn.Module):
    """BlazePose's person detector with its boxes decoded.

    Args:
        path: `pose_detection.tflite`; fetched if None.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self.graph = TfliteGraph(_file(path, DETECTOR_FILE))
        shapes = {self.graph.shapes[i]: i for i in self.graph.outputs}
        try:
            self._raw = [shapes[(1, DETECTOR_ANCHORS, 12)], shapes[(1, DETECTOR_ANCHORS, 1)]]
        except KeyError as error:
            raise ValueError(
                f"{self.graph.path}: no output of shape {error.args[0]}; "
                f"`python -m tryon.assets {DETECTOR_FILE}` fetches the file this module reads"
            ) from None
        for stride in DETECTOR_STRIDES:
            # Boxes (centre, size) and key points are offsets from the anchor; the size is not.
            offset = np.repeat(detector_anchors(stride)[:, :, :, None], 6, axis=3)
            offset[:, :, :, 1] = 0
            self.register_buffer(f"anchors_{stride}", torch.from_numpy(offset))

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The file's own outputs, (N, anchors, 12) and (N, anchors, 1), of (N, 3, H, W) in -1..1.

        The file says 224x224, with 2254 anchors; any other multiples of 32 will do.
        """
        boxes, scores = self.graph(images.contiguous(memory_format=torch.channels_last), self._raw)
        return boxes, scores

    def forward(self, thumbnail: Tensor) -> tuple[Tensor, Tensor]:
        """The served model `detector`.

        Args:
            thumbnail: (N, 224, W, 3) uint8 RGB, W a multiple of 32, 224 at most.

        Returns:
            boxes: (N, anchors, 12) float32: x0, y0, x1, y1, then the key points hip centre,
                full-body circle, shoulder centre, upper-body circle (x, y each), in the
                thumbnail's pixels.
            scores: (N, anchors) float32 in 0..1.
        """
        images = thumbnail.float().permute(0, 3, 1, 2) / 127.5 - 1.0
        raw, logits = self.raw(images)
        width = thumbnail.shape[2]
        anchors = torch.cat([
            self.get_buffer(f"anchors_{s}")[:, : width // s].reshape(-1, 12)
            for s in DETECTOR_STRIDES
        ])  # fmt: skip
        points = raw + anchors
        centre, size = points[..., :2], points[..., 2:4]
        boxes = torch.cat([centre - size / 2, centre + size / 2, points[..., 4:]], dim=-1)
        return boxes, torch.sigmoid(logits[..., 0].clamp(-100.0, 100.0))
