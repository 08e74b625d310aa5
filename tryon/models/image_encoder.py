"""E^I, the image encoder: a convolutional pyramid over the garment's picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tryon.contract import CONDITION, EMBEDDING, GARMENT_CHANNELS, LANDMARKS, NET_HEIGHT, NET_WIDTH
from tryon.models.blocks import Conv, FiLM, Merge, Residual, head, pixel_coordinates, shuffled, up2
from tryon.models.efficientnet import CHANNELS, EfficientNetTrunk
from tryon.models.geometry import LandmarkVote


class ImageEncoder(nn.Module):
    """Features, landmarks, mask and z_image of a garment.

    An ImageNet trunk sees the picture; a feature pyramid (Lin et al., 2017) lies on top.
    """

    pixels: Tensor

    def __init__(self, trunk: EfficientNetTrunk) -> None:
        super().__init__()
        self.trunk = trunk
        c4, c8, c16, c32 = GARMENT_CHANNELS
        s2, s4, s8, s16 = CHANNELS
        self.in_16 = nn.Sequential(Conv(s16, c16, 1), Residual(c16, c16 // 2))
        self.in_32 = nn.Sequential(Conv(c16, c32, 3, 2), Residual(c32, c32 // 2))
        self.category = FiLM(len(CONDITION), c32)
        self.top = nn.Sequential(Conv(c32, c32), Residual(c32, c32 // 2))
        self.merge_16 = nn.Sequential(Merge(c32 + c16, c16), Residual(c16, c16 // 2))
        self.merge_8 = nn.Sequential(Merge(c16 + s8, c8), Residual(c8, c8 // 2))
        self.merge_4 = nn.Sequential(Merge(c8 + s4, c4), Residual(c4, c4 // 2))
        self.merge_2 = nn.Sequential(Merge(c4 + s2 + 3, 16), Conv(16, 16))
        self.mask = head(16, 4)
        self.landmark_features = Conv(c8, c8)
        self.landmarks = LandmarkVote(c8)
        self.visible = nn.Linear(c32 + c16, len(LANDMARKS))
        self.z = nn.Sequential(
            nn.Linear(c32 + c16 + 2 * len(LANDMARKS), 256), nn.ReLU(), nn.Linear(256, EMBEDDING)
        )
        self.register_buffer(
            "pixels", pixel_coordinates(NET_HEIGHT // 8, NET_WIDTH // 8, torch.zeros(1)),
            persistent=False,
        )  # fmt: skip

    def encode(self, garment: Tensor, condition: Tensor) -> dict[str, Tensor]:
        """The garment's code, as training uses it.

        Args:
            garment: float (N, 3, NET_HEIGHT, NET_WIDTH), sRGB in 0..1.
            condition: float (N, 5), see `contract.CONDITION`.

        Returns:
            `garment_4` to `garment_32` feature maps, `landmarks` (N, K, 2) in 0..1, `visible`
            (N, K) and `mask` (N, 1, H, W) logits, both as `_share` in 0..1, and
            `z_image` (N, EMBEDDING); `votes` and `voted`, see `LandmarkVote`.
        """
        condition = condition * condition.new_tensor([1.0, 1.0, 1.0, 0.0, 0.0])
        m2, m4, m8, m16 = self.trunk(garment)
        f16 = self.in_16(m16)
        f32 = self.top(self.category(self.in_32(f16), condition))
        f16 = self.merge_16([[f32], [f16]])
        f8 = self.merge_8([[f16], [m8]])
        f4 = self.merge_4([[f8], [m4]])
        half = F.avg_pool2d(garment, 2)
        f2 = self.merge_2([[f4], [m2], [half]])
        mask = shuffled(self.mask(f2)).float()
        landmarks, votes, voted = self.landmarks(self.landmark_features(f8), self.pixels)
        pooled = torch.cat([f32.mean((2, 3)), f16.mean((2, 3))], 1)
        visible = self.visible(pooled).float()
        visible_share = visible.sigmoid()
        shape = landmarks * visible_share[..., None]
        z = self.z(torch.cat([pooled, shape.flatten(1).to(pooled.dtype)], 1)).float()
        return {"garment_4": f4, "garment_8": f8, "garment_16": f16, "garment_32": f32,
                "landmarks": landmarks, "visible": visible, "mask": mask,
                "visible_share": visible_share, "mask_share": mask.sigmoid(),
                "votes": votes, "voted": voted, "z_image": z}  # fmt: skip

    def forward(self, garment_net: Tensor, condition: Tensor) -> tuple[Tensor, ...]:
        """Contract tensors of the served model `image_encoder`."""
        code = self.encode(garment_net.float().permute(0, 3, 1, 2) / 255, condition)
        landmarks = torch.cat([code["landmarks"], code["visible_share"][..., None]], 2)
        return (
            code["garment_4"].half(), code["garment_8"].half(), code["garment_16"].half(),
            code["garment_32"].half(), landmarks, whole(code["mask_share"]).half(),
            code["z_image"],
        )  # fmt: skip


def whole(mask: Tensor) -> Tensor:
    """A garment's mask without small holes: cloth of another colour, a badge, a shine.

    What is four fifths garment for 10 pixels around is garment. A straight outline stays as it is,
    and so does a gap of 6 pixels beside a sleeve.

    Args:
        mask: (N, 1, H, W) in 0..1; H and W are multiples of 4.

    Returns:
        The same shape, nowhere less.
    """
    around = F.avg_pool2d(F.avg_pool2d(mask, 4), 5, 1, 2, count_include_pad=False)
    return torch.maximum(mask, up2(up2(((around - 0.7) / 0.08).clamp(0, 1))))
