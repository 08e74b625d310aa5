"""What the figures were measured on: machine, versions, model files."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SIMD = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
"""What sets machines with the same processor name apart by half and more."""
PACKAGES = ("numpy", "onnxruntime", "tritonclient", "grpcio", "pillow", "opencv-python-headless")


def machine() -> dict[str, Any]:
    """Processor, cores this process may use, memory, system."""
    model = _proc_line("/proc/cpuinfo", "model name") or platform.processor()
    memory = _proc_line("/proc/meminfo", "MemTotal")
    able = set(_proc_line("/proc/cpuinfo", "flags").split())
    return {
        "processor": model,
        "simd": [name for name in SIMD if name in able],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory.split()[0]) / 1e6, 1) if memory else None,
        "system": platform.platform(),
        "load_average": [round(v, 2) for v in os.getloadavg()],
    }


def versions(server: str | None = None) -> dict[str, str]:
    """Python, the packages at work, Triton's version as it tells it, and the commit."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    if server:
        found["triton"] = server
    found["commit"] = _commit()
    return found


def weights_hash(repository: Path) -> dict[str, str]:
    """SHA-256 of each ONNX file, and of them all ("all": over names and hashes, sorted)."""
    hashes = {}
    for path in sorted(repository.glob("*/1/model.onnx")):
        hashes[path.parts[-3]] = hashlib.sha256(path.read_bytes()).hexdigest()
    lines = "".join(f"{name} {digest}\n" for name, digest in hashes.items())
    return {"all": hashlib.sha256(lines.encode()).hexdigest(), **hashes}


def measured_on(repository: Path) -> dict[str, Any]:
    """What a report says of where it was measured: machine, versions, and the model files."""
    return {"machine": machine(), "versions": versions(), "weights": weights_hash(repository)}


def _proc_line(path: str, key: str) -> str:
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(key):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return ""


def _commit() -> str:
    """The commit, with "+" where the tree has changes."""
    try:
        out = [
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
            for words in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "-uno"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return out[0].stdout.strip() + ("+" if out[1].stdout.strip() else "")
