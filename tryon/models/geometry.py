"""Landmarks first: each garment part's own transform from the person into the garment's picture.

Every part (torso, sleeves, legs) owns a few garment landmarks. Where they lie on the person and
where they lie in the garment's picture gives the part's affine transform in closed form: weighted
least squares, a similarity first and a damped affine correction on top, so that two points of a
sleeve give a stable rotation and scale. Everything stays in float32; grids lose decibels in fp16.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tryon.contract import LANDMARKS, NET_HEIGHT, NET_WIDTH

PARTS: dict[str, dict[str, float]] = {
    "torso_upper": {"neck_front": 1, "neck_left": 1, "neck_right": 1, "shoulder_left": 1,
                    "shoulder_right": 1, "armpit_left": 1, "armpit_right": 1},
    "torso_lower": {"armpit_left": 0.5, "armpit_right": 0.5, "waist_left": 0.7, "waist_right": 0.7,
                    "hip_left": 0.7, "hip_right": 0.7, "hem_left": 1, "hem_right": 1,
                    "hem_front": 0.5},
    "sleeve_upper_left": {"shoulder_left": 1, "armpit_left": 0.5, "elbow_left": 1,
                          "cuff_left": 0.5},
    "sleeve_lower_left": {"elbow_left": 1, "cuff_left": 1, "shoulder_left": 0.1},
    "sleeve_upper_right": {"shoulder_right": 1, "armpit_right": 0.5, "elbow_right": 1,
                           "cuff_right": 0.5},
    "sleeve_lower_right": {"elbow_right": 1, "cuff_right": 1, "shoulder_right": 0.1},
    "pelvis": {"waist_left": 1, "waist_right": 1, "hip_left": 1, "hip_right": 1, "crotch": 1},
    "leg_upper_left": {"hip_left": 1, "crotch": 0.5, "knee_left": 1, "leg_left": 0.5},
    "leg_lower_left": {"knee_left": 1, "leg_left": 1, "hip_left": 0.1},
    "leg_upper_right": {"hip_right": 1, "crotch": 0.5, "knee_right": 1, "leg_right": 0.5},
    "leg_lower_right": {"knee_right": 1, "leg_right": 1, "hip_right": 0.1},
}  # fmt: skip

ASPECT = NET_WIDTH / NET_HEIGHT


class PartTransforms(nn.Module):
    """Transforms of all parts, and how far each pixel lies from each part."""

    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        weights = torch.zeros(len(PARTS), len(LANDMARKS))
        for row, marks in enumerate(PARTS.values()):
            for name, weight in marks.items():
                weights[row, LANDMARKS.index(name)] = weight
        self.register_buffer("weights", weights, persistent=False)

    def forward(
        self, person: Tensor, garment: Tensor, visible: Tensor, pixels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Candidate flows and prior logits of every part.

        Args:
            person, garment: (N, K, 2) the same landmarks in 0..1 of the person's view and of the
                garment's canvas (both 3:4).
            visible: (N, K) in 0..1, whether this garment has the landmark.
            pixels: (1, 2, h, w) pixel centres of the person's view.

        Returns:
            float32 (N, P, 2, h, w) where each part's transform sends each pixel, in 0..1 of the
            canvas; and (N, P, h, w) log weight by distance from the part.
        """
        unit = torch.tensor([ASPECT, 1.0], device=person.device)
        p, g = person.float() * unit, garment.float() * unit
        own = self.weights[None] * visible.float()[:, None, :]
        # A little of every landmark keeps a part with none of its own at the garment's overall
        # transform instead of a division by nothing.
        w = own + 0.01 * visible.float()[:, None, :] + 1e-4
        w = w / w.sum(2, keepdim=True)
        mean_p, mean_g = w @ p, w @ g  # (N, P, 2)
        dp = p[:, None] - mean_p[:, :, None]  # (N, P, K, 2)
        dg = g[:, None] - mean_g[:, :, None]
        wk = w[..., None]
        spread = (wk * dp * dp).sum((2, 3)) + 1e-4
        a = (wk * dp * dg).sum((2, 3)) / spread
        b = (w * (dp[..., 0] * dg[..., 1] - dp[..., 1] * dg[..., 0])).sum(2) / spread
        # Affine correction: r = M dp, damped by a share of the spread.
        rx = dg[..., 0] - (a[..., None] * dp[..., 0] - b[..., None] * dp[..., 1])
        ry = dg[..., 1] - (b[..., None] * dp[..., 0] + a[..., None] * dp[..., 1])
        damp = 0.08 * spread + 2e-4
        cxx = (w * dp[..., 0] * dp[..., 0]).sum(2) + damp
        cyy = (w * dp[..., 1] * dp[..., 1]).sum(2) + damp
        cxy = (w * dp[..., 0] * dp[..., 1]).sum(2)
        det = cxx * cyy - cxy * cxy
        ux, uy = (w * rx * dp[..., 0]).sum(2), (w * rx * dp[..., 1]).sum(2)
        vx, vy = (w * ry * dp[..., 0]).sum(2), (w * ry * dp[..., 1]).sum(2)
        m00 = a + (ux * cyy - uy * cxy) / det
        m01 = -b + (uy * cxx - ux * cxy) / det
        m10 = b + (vx * cyy - vy * cxy) / det
        m11 = a + (vy * cxx - vx * cxy) / det

        x = pixels[:, None, 0] * ASPECT - mean_p[..., 0, None, None]  # (N, P, h, w)
        y = pixels[:, None, 1] - mean_p[..., 1, None, None]

        def each(value: Tensor) -> Tensor:
            return value[..., None, None]

        gx = each(m00) * x + each(m01) * y + each(mean_g[..., 0])
        gy = each(m10) * x + each(m11) * y + each(mean_g[..., 1])
        flows = torch.stack([gx / ASPECT, gy], 2)

        # Mahalanobis distance from the part's own landmarks, at least a twentieth of the view wide.
        floor = 0.05**2
        sxx, syy = cxx - damp + floor, cyy - damp + floor
        inverse = 1 / (sxx * syy - cxy * cxy)
        distance = each(inverse) * (
            each(syy) * x * x - 2 * each(cxy) * x * y + each(sxx) * y * y
        )
        presence = (own.sum(2) / self.weights.sum(1)[None]).clamp(1e-3, 1).log()
        return flows, (-0.5 * distance).clamp(min=-8) + 2 * each(presence)


class LandmarkVote(nn.Module):
    """Landmarks by voting: each pixel names an offset and a weight for each landmark.

    A soft-argmax whose pixels may point beyond the picture, so that a hem below the frame has a
    place too.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.count = len(LANDMARKS)
        self.weight = nn.Conv2d(channels, self.count, 1)
        self.offset = nn.Conv2d(channels, 2 * self.count, 1)
        nn.init.normal_(self.weight.weight, std=0.02)
        nn.init.normal_(self.offset.weight, std=0.005)
        assert self.offset.bias is not None
        nn.init.zeros_(self.offset.bias)

    def forward(self, features: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Landmarks, and the votes they are the mean of.

        Args:
            features: (N, C, h, w); pixels: (1, 2, h, w) pixel centres.

        Returns:
            float32 (N, K, 2) in 0..1; logits (N, K, h * w) of each pixel's weight; and
            (N, K, 2, h * w) where each pixel says that the landmark is.
        """
        n, _, h, w = features.shape
        logits = self.weight(features).float().reshape(n, self.count, h * w)
        offset = self.offset(features).float().reshape(n, self.count, 2, h * w)
        place = offset + pixels.reshape(1, 1, 2, h * w)
        return (logits.softmax(-1)[:, :, None] * place).sum(-1), logits, place
