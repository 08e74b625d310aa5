"""What the network must beat: the garment pasted by a thin-plate spline through its landmarks."""

from __future__ import annotations

import torch
from torch import Tensor

from tryon.models.blocks import pixel_coordinates, warp

_STIFF = 1e-3
"""Added to the spline's diagonal: landmarks that disagree bend it a little less."""


def _kernel(distance_squared: Tensor) -> Tensor:
    return distance_squared * (distance_squared + 1e-9).log()


def spline_flow(person: Tensor, garment: Tensor, height: int, width: int) -> Tensor:
    """The thin-plate spline (Bookstein, 1989) that sends landmarks on a person to a garment's.

    Args:
        person, garment: (K, 2) of the same landmarks in 0..1 of the view and of the canvas.
        height, width: of the flow.

    Returns:
        float32 (1, 2, height, width) in 0..1 of the canvas.
    """
    count = len(person)
    pixels = pixel_coordinates(height, width, person).reshape(2, -1).T

    def rows(points: Tensor) -> tuple[Tensor, Tensor]:
        affine = torch.cat([torch.ones(len(points), 1), points], 1)
        return _kernel((points[:, None] - person[None]).square().sum(-1)), affine

    bend, affine = rows(person)
    system = torch.zeros(count + 3, count + 3)
    system[:count, :count] = bend + _STIFF * torch.eye(count)
    system[:count, count:], system[count:, :count] = affine, affine.T
    target = torch.cat([garment, torch.zeros(3, 2)])
    # Fewer than three landmarks, or three in a line, leave the affine part open.
    weights = torch.linalg.lstsq(system, target, driver="gelsd").solution
    bend, affine = rows(pixels)
    return (torch.cat([bend, affine], 1) @ weights).T.reshape(1, 2, height, width)


def paste(
    before: Tensor, shop: Tensor, mask: Tensor, person: Tensor, garment: Tensor, visible: Tensor
) -> tuple[Tensor, Tensor]:
    """The garment laid on the person by the spline, and nothing else done.

    Args:
        before, shop: (N, 3, H, W) in 0..1; mask: (N, 1, H, W) the garment's own in its picture.
        person, garment: (N, K, 2) landmarks; visible: (N, K) in 0..1.

    Returns:
        (N, 3, H, W) pictures and (N, 1, H, W) where the garment lies, in 0..1.
    """
    height, width = before.shape[2:]
    flows = []
    for here, there, seen in zip(person, garment, visible > 0.5, strict=True):
        seen = seen if seen.any() else torch.ones_like(seen)
        flows.append(spline_flow(here[seen].float(), there[seen].float(), height, width))
    flow = torch.cat(flows)
    within = ((flow - 0.5).abs() <= 0.5).all(1, keepdim=True).float()
    share = warp(mask, flow) * within
    return before * (1 - share) + warp(shop, flow) * share, share
