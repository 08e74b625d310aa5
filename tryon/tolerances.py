"""How far one form of a network may be off another: every threshold of the gate, in one place.

Like the contract, this module imports nothing.
"""

from __future__ import annotations

LEVELS, SHARE = 2, 0.001
"""ONNX against torch, pictures: at most this share of the bytes may differ by more than so many
levels."""
ONNX_RELATIVE = {"float32": 1e-3, "float16": 1e-2}
"""ONNX against torch, floats by dtype: the largest difference, in units of the tensor's own largest
value (at least 1)."""

PICTURE_DB, REGION_DB = 45.0, 40.0
"""Lower precision against float32: least PSNR of a picture, whole, and in each region of it."""
REGION_SSIM = 0.98
"""The same: least structural similarity, whole and in each region."""
LEAST_PIXELS = 64
"""A region with fewer pixels isn't judged by itself: a single level there is a decibel."""
HALF_RELATIVE = 1e-2
"""Lower precision against float32, tensors that are no picture: the largest mean difference, in
units of the tensor's own standard deviation."""
LEAST_SPREAD = 1e-3
"""What counts as a tensor's standard deviation at least: one that is all but constant has none."""

FIGURES_RELATIVE = 0.01
"""The most by which half precision may change a figure of the served picture's evaluation."""
EXACT_DB = 99.0
"""An exact picture's PSNR where a number must be written (JSON knows no infinity)."""
