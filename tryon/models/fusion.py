"""Fusion of the two modalities: z = E^I(I) + E^T(T)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tryon.contract import CONDITION, EMBEDDING


class Fusion(nn.Module):
    """z = E^I(I) + E^T(T), with a learned null where no text was given."""

    def __init__(self) -> None:
        super().__init__()
        self.null_text = nn.Parameter(torch.zeros(EMBEDDING))
        self.restyle = nn.Sequential(
            nn.Linear(2 * EMBEDDING + len(CONDITION), 128), nn.ReLU(), nn.Linear(128, 4)
        )

    def forward(self, z_image: Tensor, z_text: Tensor, condition: Tensor) -> Tensor:
        """(N, EMBEDDING) each and condition (N, 5), to z (N, EMBEDDING)."""
        has_text = condition[:, 4:5]
        return z_image + z_text * has_text + self.null_text * (1 - has_text)

    def recolour(self, z_image: Tensor, z_text: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """What the words do to the garment's colour.

        Returns:
            strength (N, 1) in 0..1, 0 without text or without a garment picture, and the colour
            (N, 3) in 0..1 that its mean takes at strength 1.
        """
        raw = self.restyle(torch.cat([z_image, z_text, condition], 1)).float().sigmoid()
        return raw[:, :1] * condition[:, 4:5] * condition[:, 3:4], raw[:, 1:]
