"""Assembles a Triton model repository beside the old one and swaps the two at the end."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.config import TARGETS, Settings, all_configs, write_configs, write_warm_up
from export.files import write_whole
from export.lock import sha256
from tryon.contract import CONTRACT_VERSION, ENSEMBLES, MODELS, WARDROBE_MODELS
from tryon.wardrobe.ident import VERSION_FILE, features_version

if TYPE_CHECKING:  # the check whether anything is to be done runs without torch
    from torch import nn

ROOT = Path(__file__).resolve().parents[1]
REPOSITORIES = ROOT / "model_repository"
BACKENDS = ROOT / "deploy" / "backends"
STAMP, CONFIG = "export.json", "config.pbtxt"
VERSION = "1"
"""Triton's version folder of every model."""
FORMS = {"fp32": "model.onnx", "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}
"""The gate's stages that are ONNX files, each made from the first."""
PLAN = "model.plan"
_PACKAGES = ("torch", "onnx", "onnxruntime", "numpy", "transformers")
_SOURCES = ("tryon/contract.py", "tryon/tolerances.py", "tryon/preprocess.py", "tryon/models",
            "tryon/steps", "tryon/wardrobe", "export", "deploy/backends")  # fmt: skip
_TOKENIZED = ("decode", "wardrobe_decode")
_VERSIONED = ("wardrobe_decode", "live_decode")


def source_hashes(root: Path = ROOT, weights: Path | None = None) -> dict[str, str]:
    """What an exported repository depends on, by name: code, weights, assets, versions."""
    from tryon.assets import PACKAGES

    digest = hashlib.sha256()
    for source in _SOURCES:
        path = root / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes() + b"\0")
    weights = weights or root / "tryon" / "weights" / "tryon.safetensors"
    hashes = {"code": digest.hexdigest()}
    hashes["weights"] = sha256(weights) if weights.is_file() else "none"
    for name in ("mediapipe", "minilm"):
        hashes[name] = PACKAGES[name].sha256
    for name in _PACKAGES:
        hashes[name] = importlib.metadata.version(name)
    return hashes


def is_current(repository: Path, hashes: dict[str, str]) -> bool:
    """Whether `repository` is whole, was exported from exactly these sources, and is configured as
    the present settings say."""
    try:
        stamp = json.loads((repository / STAMP).read_text())
        whole = all((repository / f).stat().st_size == n for f, n in stamp["files"].items())
        configs = all_configs(target) if (target := stamp.get("target")) in TARGETS else {}
        configured = all(
            (repository / name / CONFIG).read_text() == text
            for name, text in configs.items()
            if f"{name}/{CONFIG}" in stamp["files"]
        )
        return bool(whole and configured and stamp["files"] and stamp["sources"] == hashes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def assemble(
    repository: Path,
    target: str,
    modules: Mapping[str, nn.Module],
    sets: Mapping[str, Mapping[str, np.ndarray]],
    tokenizer: Path,
    hashes: dict[str, str],
    say: Callable[[str], None] = print,
    finish: Callable[[Path], None] | None = None,
) -> None:
    """Writes a whole repository: all of it, or nothing.

    Args:
        repository: `model_repository/<target>`; replaced at the very end.
        target: "cpu", "cuda" or "tensorrt", or "tensorrt_rtx", whose engines no Triton serves.
        modules: networks by served name.
        sets: named tensors of whole requests (`TryOn.tensors`), the first also traces.
        tokenizer: folder with `tokenizer.json`.
        hashes: of `source_hashes`, recorded in `export.json`.
        say: takes a line of progress.
        finish: adds to the repository before it takes its place (engines).

    Raises:
        export.parity.DriftError, export.trace.TraceError: the last good repository is untouched.
    """
    from export.explain import explain_onnx
    from export.parity import compare, require, table
    from export.trace import set_bounded, trace

    repository.parent.mkdir(parents=True, exist_ok=True)
    with beside(repository) as staging:
        served = target in TARGETS
        if served:
            write_configs(staging, target)
            if target != "cpu":
                write_warm_up(staging)
        rows = []
        for model in (*MODELS, *WARDROBE_MODELS):
            folder = staging / model.name / VERSION
            if model.kind == "python" and not served:
                continue
            folder.mkdir(parents=True)
            if model.kind == "python":
                shutil.copyfile(BACKENDS / "step_model.py", folder / "model.py")
                continue
            say(f"{model.name}: tracing and comparing with torch")
            file = folder / "model.onnx"
            module = modules[model.name]
            set_bounded(module, target == "cpu")
            trace(model, module, dict(next(iter(sets.values()))), file)
            found = compare(model, module, file, sets)
            rows += found
            if not all(row.ok for row in found):
                say(table(rows))
            require(found, explain_onnx(model, module, file, sets))
            if target == "cpu":
                shutil.copyfile(BACKENDS / "onnx_model.py", folder / "model.py")
        if served:
            for name in _TOKENIZED:
                shutil.copyfile(
                    tokenizer / "tokenizer.json", staging / name / VERSION / "tokenizer.json"
                )
            # An ensemble has no file, but Triton wants its version folder.
            for ensemble in ENSEMBLES:
                (staging / ensemble.name / VERSION).mkdir()
            write_version(staging, target, hashes)
        say(table(rows))
        if finish is not None:
            finish(staging)
        stamp = {
            "contract_version": CONTRACT_VERSION,
            "target": target,
            "sources": hashes,
            "onnx": {
                m.name: sha256(staging / m.name / VERSION / "model.onnx")
                for m in MODELS
                if m.kind == "onnx"
            },
            "parity": [row.as_dict() for row in rows],
            "files": files_of(staging),
        }
        (staging / STAMP).write_text(json.dumps(stamp, indent=1) + "\n")
        swap(staging, repository)


def reconfigure(repository: Path, settings: Settings) -> None:
    """Gives an exported repository other settings: its networks, and what was kept by them, stay.

    Raises:
        OSError, ValueError, KeyError: it has no stamp, or can't be written.
    """
    stamp = json.loads((repository / STAMP).read_text())
    write_configs(repository, stamp["target"], settings)
    stamp["files"] = files_of(repository)
    write_whole(repository / STAMP, (json.dumps(stamp, indent=1) + "\n").encode())


def write_version(repository: Path, target: str, hashes: Mapping[str, str]) -> None:
    """Writes the version of the networks for the steps that name garments by it, where the
    repository has them (one that is refitted may be older)."""
    for name in _VERSIONED:
        folder = repository / name / VERSION
        if folder.is_dir():
            (folder / VERSION_FILE).write_text(features_version(target, hashes) + "\n")


def onnx_files(repository: Path, model: str, *wanted: str) -> dict[str, Path]:
    """A network's ONNX files by form (of FORMS), in their order.

    Args:
        repository: an exported one.
        model: its served name.
        wanted: forms that must be there.

    Raises:
        FileNotFoundError: one isn't; names the command that writes it.
    """
    folder = repository / model / VERSION
    for form in wanted:
        if not (folder / FORMS[form]).is_file():
            target = repository.name if form == "fp32" else "tensorrt_rtx SM=89"
            raise FileNotFoundError(
                f"{folder / FORMS[form]} is missing: `make export TARGET={target}` writes it"
            )
    return {form: folder / name for form, name in FORMS.items() if (folder / name).is_file()}


@contextlib.contextmanager
def beside(repository: Path) -> Iterator[Path]:
    """A folder beside `repository`, deleted afterwards with whatever is in it then."""
    prefix = f".{repository.name}.tmp-"
    with (repository.parent / f".{repository.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second export waits for the first
        for left in repository.parent.glob(prefix + "*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix=prefix, dir=repository.parent))
        staging.chmod(0o755)  # the server may run as another user
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def files_of(repository: Path) -> dict[str, int]:
    """Every file of a repository, by its path in it, and its size in bytes."""
    found = (f for f in sorted(repository.rglob("*")) if f.is_file() and f.name != STAMP)
    return {str(f.relative_to(repository)): f.stat().st_size for f in found}


def swap(new: Path, old: Path) -> None:
    """Puts `new` in the place of `old` and what was there in the place of `new`."""
    if not old.exists():
        new.rename(old)
        return
    exchange, here = 2, -100  # RENAME_EXCHANGE, AT_FDCWD
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.renameat2(here, os.fsencode(new), here, os.fsencode(old), exchange) == 0:
            return
    # A file system that can't exchange: for an instant there is no repository.
    aside = new.with_name(new.name + "-old")
    old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)
