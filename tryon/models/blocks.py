"""Convolution blocks shared by the encoders, the generator and the discriminator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Conv(nn.Sequential):
    """Convolution, batch normalisation (folded into it at export), ReLU."""

    def __init__(self, cin: int, cout: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(cout),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al., 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        norm = self.second[1]
        assert isinstance(norm, nn.BatchNorm2d)
        nn.init.constant_(norm.weight, 0.2)  # near the identity at the start

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class FiLM(nn.Module):
    """Feature-wise scale and shift from a vector (Perez et al., 2018); identity at the start."""

    def __init__(self, vector: int, channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(vector, 2 * channels)
        nn.init.normal_(self.project.weight, std=0.01)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        scale, shift = self.project(vector)[:, :, None, None].chunk(2, 1)
        return x * (1 + scale) + shift


def head(channels: int, out: int, std: float = 0.01) -> nn.Conv2d:
    """A 1x1 output convolution that starts near zero."""
    conv = nn.Conv2d(channels, out, 1)
    nn.init.normal_(conv.weight, std=std)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def up2(x: Tensor) -> Tensor:
    """Twice the height and width, bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Samples `image` at `flow`, in full precision.

    Args:
        image: (N, C, H, W).
        flow: (N, 2, h, w) x, y in 0..1 of the image; outside, the edge is repeated.

    Returns:
        float32 (N, C, h, w).
    """
    # Places are kept half a pixel inside, where padding with zeros is never seen: ONNX Runtime
    # samples so 2.5 times faster than with its own repeated edge.
    x, y = flow.float().unbind(1)
    x = x.clamp(0.5 / image.shape[3], 1 - 0.5 / image.shape[3])
    y = y.clamp(0.5 / image.shape[2], 1 - 0.5 / image.shape[2])
    grid = torch.stack([x, y], 3) * 2 - 1
    return F.grid_sample(image.float(), grid, padding_mode="zeros", align_corners=False)


def pixel_coordinates(height: int, width: int, like: Tensor) -> Tensor:
    """Pixel centres in 0..1, float32 (1, 2, height, width), x first."""
    x = (torch.arange(width, device=like.device, dtype=torch.float32) + 0.5) / width
    y = (torch.arange(height, device=like.device, dtype=torch.float32) + 0.5) / height
    return torch.stack(
        [x[None, :].expand(height, width), y[:, None].expand(height, width)], 0
    ).unsqueeze(0)
