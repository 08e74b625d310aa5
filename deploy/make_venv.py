"""Makes the project's environment; run by `make venv` with the system's Python 3.11.

    python3.11 deploy/make_venv.py .venv [--torch-index URL]

Standard library only: nothing is installed yet when this runs. A finished environment is stamped,
and an interrupted one is completed by running again.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements.txt"
STAMP, ENGINES_STAMP = "stamp", "engines-stamp"
GLIBC = (2, 35)


def platform_problem() -> str | None:
    """Why this machine or Python cannot run the project, or None. Names what fixes it."""
    if sys.version_info[:2] != (3, 11):
        return (
            f"Python 3.11 is needed, {sys.executable} is {platform.python_version()}; "
            "name one: `make venv PYTHON=/path/to/python3.11` "
            "(Debian 12: apt-get install python3.11-venv; Ubuntu 22.04: the same, from universe)"
        )
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return (
            f"the embedded server runs on Linux x86-64 only, this is {platform.system()} "
            f"{platform.machine()}; the client alone runs here: pip install ./client"
        )
    name, version = platform.libc_ver()
    if name == "glibc" and tuple(int(v) for v in version.split(".")[:2]) < GLIBC:
        return f"glibc 2.35 or newer is needed, this is {version}; Debian 12, Ubuntu 22.04 have it"
    if name != "glibc":
        return "glibc is needed; musl systems such as Alpine cannot run the embedded server"
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            return f"Python's {module} is missing; run: apt-get install -y python3.11-venv"
    return None


def pinned(name: str) -> str:
    """The requirement line of a package in requirements.txt."""
    for line in REQUIREMENTS.read_text().splitlines():
        if line.split("==")[0].strip() == name:
            return line.strip()
    raise SystemExit(f"error: {REQUIREMENTS} pins no {name}")


ENGINES = "# ---- engines"
"""Where the part of requirements.txt begins that only building engines needs."""


def requirements(engines: bool) -> list[str]:
    """The pinned packages of every environment, or those that engines add."""
    chosen, here = [], False
    for line in REQUIREMENTS.read_text().splitlines():
        here = here or line.startswith(ENGINES)
        if here == engines and "==" in line and not line.startswith("#"):
            chosen.append(line.split("#")[0].strip())
    return chosen


def torch_build(python: Path, index: list[str]) -> str:
    """Says which build of torch would be downloaded, without downloading it."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps",
               "--report", "-", *index, pinned("torch")]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        installs = json.loads(result.stdout)["install"]
    except (ValueError, KeyError):
        return "torch: from pip's index"
    if not installs:
        return "torch: there already"
    if "+cpu" in installs[0]["metadata"]["version"] or "cpu" in "".join(index):
        return "torch: CPU build, about 200 MB"
    return (
        "torch: plain build from pip's index, which may bring CUDA libraries of 3 to 5 GB. For "
        "the CPU build of 200 MB stop and run `make venv TORCH_INDEX=URL` (or `make tryon "
        "TORCH_INDEX=URL`) with the CPU index that PyTorch's install page names"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torch-index", default="", help="index for torch alone")
    parser.add_argument("--engines", action="store_true", help="add what building engines needs")
    options = parser.parse_args()
    problem = platform_problem()
    if problem is not None:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    start = time.monotonic()
    folder: Path = options.folder
    python = folder / "bin" / "python"
    if not python.exists() or subprocess.run([str(python), "-m", "pip", "--version"],
                                             capture_output=True).returncode:  # fmt: skip
        print(f"venv: making {folder}", flush=True)
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=False)
        if made.returncode:
            print("error: python3.11 -m venv failed; run: apt-get install -y python3.11-venv",
                  file=sys.stderr)  # fmt: skip
            return 1
    if options.engines:
        # Pinned each, and modelopt asks for packages that its ONNX part doesn't import.
        print("venv: installing TensorRT for RTX and nvidia-modelopt (96 MB) ...", flush=True)
        if not _pip(python, ["--no-deps", *requirements(engines=True)]):
            print("error: pip could not install what engines need, see above; run `make engines` "
                  "again", file=sys.stderr)  # fmt: skip
            return 1
        (folder / ENGINES_STAMP).write_text("made by deploy/make_venv.py --engines\n")
        return 0
    index = ["--index-url", options.torch_index] if options.torch_index else []
    print(f"venv: {torch_build(python, index)}", flush=True)
    print(f"venv: the rest of {REQUIREMENTS.name}: about 480 MB; then 220 MB of pretrained parts "
          "and pictures (`make assets`)", flush=True)  # fmt: skip
    steps = (
        ("torch", [*index, pinned("torch")]),
        (REQUIREMENTS.name, requirements(engines=False)),
        # Editable, so that tests and demo run the client that is in the tree.
        ("client", ["--no-deps", "--no-build-isolation", "--editable", str(ROOT / "client")]),
    )
    for name, arguments in steps:
        print(f"venv: installing {name} ...", flush=True)
        if not _pip(python, arguments):
            print(f"error: pip could not install {name} into {folder}, see above; run `make venv` "
                  "again, it goes on where it stopped", file=sys.stderr)  # fmt: skip
            return 1
    (folder / STAMP).write_text("made by deploy/make_venv.py\n")
    print(f"venv: ready in {time.monotonic() - start:.0f} s", flush=True)
    return 0


def _pip(python: Path, arguments: list[str]) -> bool:
    """Runs pip install, with its bar where someone is looking, quietly elsewhere."""
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
               *quiet, *arguments]  # fmt: skip
    # Byte-compiling files that are never imported costs half a minute.
    return subprocess.run([*command, "--no-compile"], check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
