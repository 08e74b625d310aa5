"""What tests share: a few rendered scenes, and a server that is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_triton import FakeTriton, serve

from training.data.shards import Scene, load_scene, save_scene, scene_path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few rendered scenes, one of each kind at least."""
    from training.data.scene import make_scene
    from training.data.studio import Studio

    out = tmp_path_factory.mktemp("pairs")
    studio = Studio()
    for index, kind in enumerate(("upper", "lower", "dress")):
        save_scene(scene_path(out, 3, index), make_scene(studio, 3, index, kind=kind, outfits=3))
    return out


@pytest.fixture(scope="session")
def scenes(folder: Path) -> list[Scene]:
    return [load_scene(path) for path in sorted(folder.glob("*.npz"))]


@pytest.fixture
def fake() -> Iterator[FakeTriton]:
    """A server that answers as Triton does, at `fake.url`."""
    with serve(FakeTriton()) as (fake, url):
        fake.url = url  # type: ignore[attr-defined]
        yield fake
