"""Convolution blocks shared by the encoders, the generator and the discriminator."""

from __future__ import annotations

from collections.abc import Sequence

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


class Merge(Conv):
    """A 1x1 `Conv` over several maps, as if they were one.

    Maps of half the size are convolved first and enlarged then: both are linear, so the answer is
    the same for a quarter of the work.
    """

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__(cin, cout, 1)

    def forward(self, groups: Sequence[Sequence[Tensor]]) -> Tensor:
        """`cin` channels to `cout`.

        Args:
            groups: maps (N, c, H, W) or (N, c, H/2, W/2), of one size within a group. Those of a
                group are put together, for what is too small to be worth a convolution of its own.

        Returns:
            (N, cout, H, W).
        """
        conv, norm, activation = self
        assert isinstance(conv, nn.Conv2d)
        weight, bias = (conv.weight, None) if self.training else self._folded()
        counts = [sum(int(m.shape[1]) for m in group) for group in groups]
        height = max(int(group[0].shape[2]) for group in groups)
        total: Tensor | None = None
        for group, count, part in zip(groups, counts, weight.split(counts, 1), strict=True):
            extra = -count % 4
            if extra and count > 8 and not self.training:
                # ONNX Runtime's fast convolutions take channels in fours, from 8 on.
                widest = max(group, key=lambda m: int(m.shape[1]))
                group = [*group, widest[:, :extra]]
                part = F.pad(part, (0, 0, 0, 0, 0, extra))
            own = group[0] if len(group) == 1 else torch.cat(list(group), 1)
            summand = F.conv2d(own, constant(part), bias if total is None else None)
            if int(own.shape[2]) != height:
                summand = up2(summand)
            total = summand if total is None else total + summand
        assert total is not None
        return activation(norm(total) if self.training else total)

    def _folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias with the normalisation in them, as the export has it for a plain Conv."""
        conv, norm, _ = self
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = conv.weight * scale[:, None, None, None]
        return weight, constant(norm.bias - norm.running_mean * scale)


def constant(value: Tensor) -> Tensor:
    """The same, but in a trace its numbers, not how they were computed: kernels must be given."""
    if not torch.jit.is_tracing():
        return value
    return torch.from_numpy(value.detach().cpu().numpy().copy()).to(value.device)


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al., 2016), narrower between them.

    A block as wide inside as out does several times the work; `training.distil` taught these its
    answers.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        """Args: hidden: channels between the two."""
        super().__init__()
        self.first = Conv(channels, hidden)
        self.second = nn.Sequential(
            nn.Conv2d(hidden, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
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
        both = self.project(vector)[:, :, None, None]
        half = self.project.out_features // 2
        return x * (1 + both[:, :half]) + both[:, half:]


def head(channels: int, out: int, std: float = 0.01) -> nn.Conv2d:
    """A 1x1 output convolution that starts near zero."""
    conv = nn.Conv2d(channels, out, 1)
    nn.init.normal_(conv.weight, std=std)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def shuffled(x: Tensor) -> Tensor:
    """`F.pixel_shuffle(x, 2)`, in two changes of layout that are quick in ONNX Runtime.

    Args:
        x: (N, 4 C, H, W), the four pixels of each 2x2 as channels.

    Returns:
        (N, C, 2 H, 2 W).
    """
    c, h, w = (int(size) for size in x.shape[1:])
    # Each moves one axis; the exporter's DepthToSpace, which moves two, takes three times as long.
    rows = x.reshape(-1, 2, h * w).transpose(1, 2)
    return rows.reshape(-1, 2, h, 2 * w).transpose(1, 2).reshape(-1, c // 4, 2 * h, 2 * w)


def up2(x: Tensor) -> Tensor:
    """Twice the height and width, bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def grown(x: Tensor, side: int) -> Tensor:
    """The largest within squares of so many pixels, odd, around each: rows, then columns, since
    ONNX Runtime looks at every pixel of a square.

    Args:
        x: (N, C, H, W).
    """
    if side == 3:
        return F.max_pool2d(x, 3, 1, 1)
    rows = F.max_pool2d(x, (1, side), 1, (0, side // 2))
    return F.max_pool2d(rows, (side, 1), 1, (side // 2, 0))


def shrunk(x: Tensor, side: int) -> Tensor:
    """The least within them."""
    return -grown(-x, side)


def warp(image: Tensor, flow: Tensor, size: Tensor | None = None) -> Tensor:
    """Samples `image` at `flow`, in full precision.

    Args:
        image: (N, C, H, W).
        flow: (N, 2, h, w) x, y in 0..1 of the image; outside, the edge is repeated.
        size: float (2,), its W and H, where they vary between calls of a traced network: without it
            a trace keeps those of its example.

    Returns:
        float32 (N, C, h, w).
    """
    # Places are kept half a pixel inside, where padding with zeros is never seen: ONNX Runtime
    # samples so 2.5 times faster than with its own repeated edge.
    if size is None:
        size = torch.tensor([float(image.shape[3]), float(image.shape[2])], device=image.device)
    inside = (1 - 1 / size)[:, None, None]
    grid = (flow.float() * 2 - 1).clamp(-inside, inside).permute(0, 2, 3, 1)
    return F.grid_sample(image.float(), grid, padding_mode="zeros", align_corners=False)


def pixel_coordinates(height: int, width: int, like: Tensor) -> Tensor:
    """Pixel centres in 0..1, float32 (1, 2, height, width), x first."""
    x = (torch.arange(width, device=like.device, dtype=torch.float32) + 0.5) / width
    y = (torch.arange(height, device=like.device, dtype=torch.float32) + 0.5) / height
    return torch.stack(
        [x[None, :].expand(height, width), y[:, None].expand(height, width)], 0
    ).unsqueeze(0)
