"""Writes training pairs into WebDataset shards, for training that reads tar files in a row.

    python -m training.data.pack .cache/pairs --out shards --pairs 20000 --photos PHOTOS
    python -m training.data.pack .cache/pairs --out shards --pairs 500 --split test --seed 7

Pairs are composed from rendered scenes as the training composes them: pair k of a seed is always
the same. Shards that are there are kept, so a run can be stopped and started again; a .json beside
them says what they were made of. A sample holds

    before.png after.png                       uint8 pictures 256x256
    shop.png shop_seen.png                     uint8 pictures 192x256
    shop_mask.png shop_unknown.png parse_before.png parse_after.png drawn.png old.png under.png
    valid.png                                  uint8 maps
    depth_before.png depth_after.png           uint16 maps, tenths of a millimetre, 0: none
    flow.npy                                   float16 (2, 256, 192), 0..1 of the in-shop picture
    landmarks.npy shop_landmarks.npy           float32 (23, 3): x, y in 0..1, existence
    joints.npy                                 float32 (33, 3): x, y in 0..1, whether in the view
    json                                       category, captions, attributes' words, slices

as `training.data.compose.compose` documents them; `read` gives them back as arrays.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from training.data.compose import Options
from training.data.cutouts import INDEX
from training.data.jobs import finish, temporary, told
from training.data.shards import RENDERER
from training.dataset import Pairs, scene_files

if TYPE_CHECKING:
    import webdataset

PICTURES = ("before", "after", "shop", "shop_seen", "shop_mask", "shop_unknown", "parse_before",
            "parse_after", "drawn", "old", "under", "valid",
            "depth_before", "depth_after")  # fmt: skip
ARRAYS = {"flow": np.float16, "landmarks": np.float32, "shop_landmarks": np.float32,
          "joints": np.float32}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Where pairs come from, and how many go into a shard."""

    scenes: Path
    out: Path
    split: str
    seed: int
    photos: Path | None
    cutouts: Path | None
    per_shard: int

    def shard(self, index: int) -> Path:
        """The file of shard `index`."""
        return self.out / f"{self._name}-{index:06d}.tar"

    @property
    def about(self) -> Path:
        """The file that says what the shards beside it were made of."""
        return self.out / f"{self._name}.json"

    @property
    def _name(self) -> str:
        return f"pairs-{self.split}-{self.seed}"

    def made_of(self) -> dict[str, Any]:
        """What other pairs would come of, were it another; raises as `scene_files`."""
        files = scene_files(self.scenes, self.split)
        scenes = hashlib.sha256("\n".join(f.name for f in files).encode()).hexdigest()
        index = None if self.cutouts is None else self.cutouts / INDEX
        return {
            "renderer": RENDERER, "scenes": scenes, "per_shard": self.per_shard,
            "parts": [*PICTURES, *ARRAYS],
            "photos": None if self.photos is None else str(self.photos.resolve()),
            "cutouts": index and index.is_file() and hashlib.sha256(index.read_bytes()).hexdigest(),
        }  # fmt: skip


@functools.lru_cache(maxsize=1)
def _pairs(source: Source) -> Pairs:
    files = scene_files(source.scenes, source.split)
    return Pairs(
        files, source.photos, Options(), source.seed, source.split, source.cutouts
    )  # fmt: skip


def _png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", compress_level=3)
    return file.getvalue()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def sample(pair: dict[str, Any], key: str) -> dict[str, Any]:
    """A pair as WebDataset names and encodes its parts."""
    made: dict[str, Any] = {"__key__": key}
    for name in PICTURES:
        made[f"{name}.png"] = _png(pair[name])
    for name, kind in ARRAYS.items():
        made[f"{name}.npy"] = _npy(pair[name].astype(kind))
    rest = {n: v for n, v in pair.items() if n not in (*PICTURES, *ARRAYS, "shop_inside")}
    made["json"] = json.dumps(
        {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in rest.items()}
    ).encode()
    return made


def _write(job: tuple[Source, int]) -> int:
    """Writes one shard, whole or not at all; returns its index."""
    import webdataset

    source, index = job
    path = source.shard(index)
    half = temporary(path)
    pairs = _pairs(source)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(half, "wb") as file, webdataset.TarWriter(file, mtime=0) as tar:
            for number in range(index * source.per_shard, (index + 1) * source.per_shard):
                tar.write(sample(pairs[number], f"{source.split}-{source.seed}-{number:09d}"))
        os.replace(half, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        half.unlink(missing_ok=True)
    return index


def pack(source: Source, pairs: int, processes: int) -> None:
    """Writes the shards that are not there yet, with a progress bar; the last one is full, too.

    Raises:
        OSError: no scenes, or a shard can't be written; names the file, of which nothing is left.
        ValueError: a file is no scene, or holds no pair; names it. Or the shards that are there
            were made of something else.
    """
    made_of = source.made_of()
    if source.about.is_file():
        known = json.loads(source.about.read_text())
        other = [name for name, value in made_of.items() if known.get(name) != value]
        if other:
            raise ValueError(
                f"{source.out} holds shards that were made otherwise ({', '.join(other)}): name "
                f"another --out, or delete {source.about.name} and its shards"
            )
    source.out.mkdir(parents=True, exist_ok=True)
    half = temporary(source.about)
    try:
        half.write_text(json.dumps(made_of))
        half.replace(source.about)
    finally:
        half.unlink(missing_ok=True)
    shards = -(-pairs // source.per_shard)
    jobs = [(source, i) for i in range(shards) if not source.shard(i).is_file()]
    finish(_write, jobs, shards, "shard", source.out, processes)


def _decode(packed: dict[str, Any]) -> dict[str, Any]:
    pair = dict(json.loads(packed["json"]))
    for name in PICTURES:
        pair[name] = np.asarray(Image.open(io.BytesIO(packed[f"{name}.png"])))
    for name in ARRAYS:
        pair[name] = np.load(io.BytesIO(packed[f"{name}.npy"]))
    return {**pair, "__key__": packed["__key__"]}


def read(shards: list[Path]) -> webdataset.WebDataset:
    """The pairs of some shards, one after the other, as dicts of arrays and words."""
    import webdataset

    urls = [str(path) for path in shards]
    return webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).map(_decode)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.data.pack", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("scenes", type=Path, help="folder of rendered scenes")
    parser.add_argument("--out", type=Path, required=True, help="folder of the shards")
    parser.add_argument("--pairs", type=int, default=10000, help="at least so many pairs")
    parser.add_argument("--per-shard", type=int, default=500)
    parser.add_argument("--split", choices=("train", "test"), default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photos", type=Path, help="folder of real garment photos")
    parser.add_argument("--cutouts", type=Path, help="folder that `make cutouts` wrote")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args(arguments)
    source = Source(
        args.scenes, args.out, args.split, args.seed, args.photos, args.cutouts, args.per_shard
    )
    return told(
        lambda: pack(source, args.pairs, args.processes), f"{args.out} keeps its shards"
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
