"""The GPU that is here, asked of its driver: torch may be a build without CUDA."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*"""


@dataclass(frozen=True)
class Gpu:
    """The first GPU: its name, compute capability such as "89", and its driver's CUDA, "12.8"."""

    name: str
    capability: str
    cuda: str


def present() -> Gpu | None:
    """The first GPU that the driver shows, or None: no driver, or no GPU."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    device = ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    failed = (
        cuda.cuInit(0)
        or cuda.cuDeviceGet(ctypes.byref(device), 0)
        or cuda.cuDeviceGetName(name, len(name), device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
        or cuda.cuDriverGetVersion(ctypes.byref(version))
    )
    if failed:
        return None
    number = version.value  # 12080 is 12.8
    return Gpu(
        name.value.decode(), f"{major.value}{minor.value}",
        f"{number // 1000}.{number % 1000 // 10}",
    )  # fmt: skip
