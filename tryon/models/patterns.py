"""The patterns that words can name, as fixed maps; the painter mixes them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

PATTERNS = (
    "plain", "horizontal stripes", "vertical stripes", "checks", "dots", "floral", "logo",
    "lettering",
)  # fmt: skip
"""Pattern names, as captions and the renderer's attributes use them."""


def pattern_bank(height: int, width: int) -> Tensor:
    """How much of the second colour each pattern shows, float32 (len(PATTERNS), height, width)."""
    y = (torch.arange(height) + 0.5)[:, None] / height + torch.zeros(1, width)
    x = (torch.arange(width) + 0.5)[None] / height + torch.zeros(height, 1)
    middle = 0.5 * width / height

    def wave(v: Tensor, cycles: float) -> Tensor:
        return (torch.sin(2 * math.pi * cycles * v) * 4).sigmoid()

    horizontal, vertical = wave(y, 14), wave(x, 14)
    checks = 0.5 * (wave(y, 9) + wave(x, 9))
    shift = torch.floor(y * 14) % 2 * 0.5
    dots = 0.22 - torch.sqrt(((x * 14 + shift) % 1 - 0.5) ** 2 + ((y * 14) % 1 - 0.5) ** 2)
    dots = (dots * 30).sigmoid()
    bend_x = x * 9 + 0.6 * torch.sin(y * 17)
    bend_y = y * 9 + 0.6 * torch.sin(x * 23)
    angle = torch.atan2(bend_y % 1 - 0.5, bend_x % 1 - 0.5)
    radius = torch.sqrt((bend_x % 1 - 0.5) ** 2 + (bend_y % 1 - 0.5) ** 2)
    floral = ((0.24 + 0.12 * torch.cos(5 * angle) - radius) * 30).sigmoid()
    disc = ((0.07 - torch.sqrt((x - middle) ** 2 + (y - 0.36) ** 2)) * 200).sigmoid()
    ring = ((0.045 - torch.sqrt((x - middle) ** 2 + (y - 0.36) ** 2)) * 200).sigmoid()
    inside = ((0.13 - (x - middle).abs()) * 200).sigmoid()
    line = ((0.025 - (y - 0.36).abs()) * 200).sigmoid()
    letters = inside * line * ((x * 55) % 1 > 0.3).float()
    plain = torch.zeros(height, width)
    return torch.stack([plain, horizontal, vertical, checks, dots, floral, disc - ring, letters])
