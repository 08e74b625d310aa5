"""Every loss of the system, each a function of predictions and exact truth.

L = alpha L^I + (1 - alpha) L^T. L^I holds the adversarial loss and, beside it, the terms with exact
truth: landmarks, flow, masks, parse, picture, perceptual. L^T is the caption's cross-entropy given
the picture (`Discriminator.caption_loss`), beside the terms that tie words to garments.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tryon.contract import CATEGORIES, NET_HEIGHT, NET_WIDTH, PARSE
from tryon.models.blocks import pixel_coordinates, up2, warp
from tryon.models.inpaint import class_index


def landmark_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """Mean distance in network pixels over the landmarks that exist.

    Args:
        predicted: (N, K, 2) in 0..1; truth: (N, K, 3) x, y in 0..1 and whether it exists.
    """
    size = predicted.new_tensor([NET_WIDTH, NET_HEIGHT])
    error = ((predicted - truth[..., :2]) * size).square().sum(-1).add(1e-2).sqrt()
    return (error * truth[..., 2]).sum() / truth[..., 2].sum().clamp(min=1.0)


_BESIDE, _AROUND = 4.0, 32.0
"""Network pixels from a landmark within which the flow says what is seen there; and in the canvas,
beyond which what is seen is another part of the garment, as a sleeve before a waist."""


@torch.no_grad()
def seen_at(here: Tensor, there: Tensor, flow: Tensor, valid: Tensor) -> Tensor:
    """What is seen at the landmarks on the person, by the true flow.

    Args:
        here, there: (N, K, 3) true landmarks on the person and in the canvas, x, y in 0..1 and
            whether they exist.
        flow: (N, 2, H, W) in 0..1 of the canvas; valid: (N, 1, H, W). Every other pixel is looked
            at.

    Returns:
        float (N, K, 3): how far that is from the landmark in the canvas, x and y in 0..1, and 1
        where it is known: not for landmarks with no valid pixel within `_BESIDE`, nor for those
        that something else of the garment is in front of.
    """
    size = flow.new_tensor([NET_WIDTH, NET_HEIGHT])
    height, width = (int(side) for side in flow.shape[2:])
    pixels = pixel_coordinates(height, width, flow)[..., ::2, ::2].flatten(2)
    flow, valid = flow[..., ::2, ::2].flatten(2), valid[..., ::2, ::2].flatten(1)
    away = torch.cdist(here[..., :2] * size, pixels.transpose(1, 2) * size)
    away, nearest = (away + 1e4 * (1 - valid)[:, None]).min(2)
    truth = flow.transpose(1, 2).gather(1, nearest[..., None].expand(-1, -1, 2))
    truth = truth - there[..., :2]
    known = here[..., 2] * there[..., 2] * (away < _BESIDE)
    known = known * ((truth * size).square().sum(2) < _AROUND**2)
    return torch.cat([truth, known[..., None]], 2)


def turned_loss(moved: Tensor, here: Tensor, there: Tensor, flow: Tensor, valid: Tensor) -> Tensor:
    """Mean distance in network pixels from the true flow at the landmarks on the person.

    Args:
        moved: (N, K, 2) in 0..1 of the canvas, see `TurnedLandmarks`; the others as for `seen_at`.
    """
    return landmark_loss(moved, seen_at(here, there, flow, valid))


_SPREAD = 8.0
"""Network pixels around a landmark whose cells are to vote for it (standard deviation)."""


def vote_loss(votes: Tensor, voted: Tensor, pixels: Tensor, truth: Tensor) -> Tensor:
    """Each pixel's weight and offset, told directly (as Papandreou et al., 2017).

    The mean of all votes alone gives every pixel nearly the same gradient and learns slowly.

    Args:
        votes: logits (N, K, h * w); voted: (N, K, 2, h * w) in 0..1, see `LandmarkVote`.
        pixels: (1, 2, h, w) pixel centres; truth: (N, K, 3) x, y in 0..1, whether it exists.
    """
    size = votes.new_tensor([NET_WIDTH, NET_HEIGHT])[:, None]
    place = truth[..., :2, None]
    distance = ((pixels.reshape(1, 1, 2, -1) - place) * size).square().sum(2)
    near = (-distance / (2 * _SPREAD**2)).softmax(-1)
    seen = ((truth[..., :2] - 0.5).abs() < 0.5).all(-1) * truth[..., 2]
    cross = -(near * votes.log_softmax(-1)).sum(-1)
    miss = ((voted - place) * size).square().sum(2).add(1e-2).sqrt()
    miss = (near * miss).sum(-1)
    return ((cross + 0.3 * miss) * seen).sum() / seen.sum().clamp(min=1.0)


def decided_loss(share: Tensor, weight: Tensor) -> Tensor:
    """Shares of 0..1 that are neither 0 nor 1 cost: nothing is half a garment; (N, 1, H, W)."""
    return (4 * share * (1 - share) * weight).sum() / weight.sum().clamp(min=1.0)


def visibility_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy of which landmarks a garment has; (N, K) and (N, K, 3)."""
    return F.binary_cross_entropy_with_logits(logits, truth[..., 2])


def flow_loss(flow: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Mean end-point error in network pixels where the flow is true, robust to outliers.

    Args:
        flow: (N, 2, h, w) in 0..1 of the canvas, at any size.
        truth: (N, 2, H, W); valid: (N, 1, H, W) in 0..1.
    """
    factor = truth.shape[2] // flow.shape[2]
    if factor > 1:
        weight = F.avg_pool2d(valid, factor)
        truth = F.avg_pool2d(truth * valid, factor) / weight.clamp(min=1e-3)
        valid = weight * (weight > 0.5)
    size = flow.new_tensor([NET_WIDTH, NET_HEIGHT])[None, :, None, None]
    error = ((flow - truth) * size).square().sum(1, keepdim=True).add(0.01).sqrt()
    error = torch.where(error < 20, error, 20 + (error - 20) * 0.2)
    return (error * valid).sum() / valid.sum().clamp(min=1.0)


def mask_loss(logits: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy plus soft Dice, (N, 1, H, W) each."""
    bce = F.binary_cross_entropy_with_logits(logits, truth, weight)
    p = logits.sigmoid()
    if weight is not None:
        p, truth = p * weight, truth * weight
    return bce + 0.5 * dice_loss(p, truth)


def dice_loss(share: Tensor, truth: Tensor) -> Tensor:
    """One less the soft Dice coefficient (Milletari et al., 2016), (N, 1, H, W) in 0..1 each."""
    overlap = 2 * (share * truth).sum((1, 2, 3)) + 1
    return (1 - overlap / (share.sum((1, 2, 3)) + truth.sum((1, 2, 3)) + 1)).mean()


_AHEAD = [PARSE.index(n) for n in ("hair", "face_neck", "other")]
"""What stands in front of every garment, wherever both are."""
_ARMS = [PARSE.index(n) for n in ("arm_left", "arm_right")]


def _among(parse: Tensor, classes: list[int]) -> Tensor:
    return torch.isin(parse, torch.tensor(classes, device=parse.device))


def inside_loss(flow: Tensor, inside: Tensor, drawn: Tensor, weight: Tensor) -> Tensor:
    """Where the garment is drawn its flow points into the garment's picture, beside it out of it.

    A hinge on the distance from the garment's edge in its own picture, so that hems and cuffs are
    placed by the flow, as sharp as the garment's own edge, and not by an undecided mask.

    Args:
        flow: (N, 2, h, w) in 0..1 of the canvas, at any size.
        inside: (N, 1, H, W) pixels from the edge in the garment's picture, positive inside.
        drawn: (N, 1, H, W) where the garment is; weight: (N, 1, H, W).
    """
    factor = drawn.shape[2] // flow.shape[2]
    if factor > 1:
        drawn, weight = drawn[:, :, ::factor, ::factor], weight[:, :, ::factor, ::factor]
    depth = warp(inside, flow)
    # Beyond the picture's edge the distance goes on growing.
    size = flow.new_tensor([NET_WIDTH, NET_HEIGHT])[None, :, None, None]
    depth = depth - ((flow - flow.clamp(0, 1)).abs() * size).sum(1, keepdim=True)
    miss = F.relu(1 - (2 * drawn - 1) * depth)
    return (miss * weight).sum() / weight.sum().clamp(min=1.0)


def widened(mask: Tensor, reach: int) -> Tensor:
    """A mask (N, 1, H, W) of zeros and ones grown by `reach` pixels to all sides; as float.

    Shifted copies, each twice as far as the one before: a tenth of max pooling's time.
    """
    grown = mask > 0.5
    for axis in (2, 3):
        length, done = grown.shape[axis], 0
        while done < min(reach, length - 1):
            step = min(reach - done, done + 1, length - 1)
            near, far = (grown.narrow(axis, start, length - step) for start in (0, step))
            wider = grown.clone()
            wider.narrow(axis, step, length - step).logical_or_(near)
            wider.narrow(axis, 0, length - step).logical_or_(far)
            grown, done = wider, done + step
    return grown.to(mask.dtype)


def ahead(parse_after: Tensor, category: Tensor, tucked: Tensor) -> Tensor:
    """What can stand in front of the new garment, but for arms; bool (N, H, W).

    Hair, head and what is carried; the trousers that a top is tucked into, and the top that hangs
    over trousers.

    Args:
        parse_after: int64 (N, H, W); category: int64 (N,); tucked: bool (N,).
    """
    top, trousers = (category == CATEGORIES.index(c) for c in ("upper", "lower"))
    lower, upper = (parse_after == PARSE.index(c) for c in ("lower", "upper"))
    over = lower & (top & tucked)[:, None, None] | upper & (trousers & ~tucked)[:, None, None]
    return _among(parse_after, _AHEAD) | over


class Front(NamedTuple):
    """What the mask learns: whether something stands in front of the garment, not where it ends.

    Its own edge in its picture, brought over by the flow, is sharper than any mask: where that
    alone ends the garment the mask is told to be open, and the picture's losses don't reach it.

    truth, weight: float (N, 1, H, W); told: bool (N, 1, H, W), where those losses reach it.
    """

    truth: Tensor
    weight: Tensor
    told: Tensor


_DEEP = 4.0
"""Pixels within the garment's picture beyond which the flow is not merely a little off."""


def front_truth(
    parse_after: Tensor, drawn: Tensor, in_front: Tensor, flow: Tensor, inside: Tensor
) -> Front:
    """What stands in front of the garment.

    Args:
        parse_after: int64 (N, H, W); drawn: bool (N, H, W); in_front: bool (N, H, W), of `ahead`.
        flow: (N, 2, h, w) predicted; inside: (N, 1, H, W) as for `inside_loss`. An arm is in front
            where the flow lays the garment's midst; where it lays a cuff, it may be beside it.
    """
    d, hides = drawn[:, None], in_front[:, None]
    arms = _among(parse_after, _ARMS)[:, None]
    with torch.no_grad():
        depth = warp(inside, flow.detach())
        if depth.shape != inside.shape:
            depth = up2(depth)
        deep = arms & ~d & (depth > _DEEP)
    near = widened(d.float(), 12) > 0
    told = d | hides | deep
    open_ = near & ~told & ~arms
    weight = torch.where(open_, 0.25, 1.0) * (told | ~arms | ~near)
    # The midst of a garment behind a chin or hair: few pixels, and the inside of a neckline that
    # lies across the throat is the first that anyone sees.
    face = _among(parse_after, _AHEAD)[:, None]
    weight = torch.where((face | deep) & ~d & (depth > 0), 3.0, weight)
    return Front((d | open_).float(), weight, told)


def beside_weight(parse_after: Tensor, drawn: Tensor, in_front: Tensor) -> Tensor:
    """Where `inside_loss` counts: on the garment and around it, but not on what hides it."""
    d = drawn.float()[:, None]
    around = widened(d, 30)
    bare = _among(parse_after, _ARMS)[:, None]
    return around * torch.where(in_front[:, None], 0.0, torch.where(bare, 0.5, 1.0))


_CLASS_WEIGHT = torch.ones(len(PARSE))
_CLASS_WEIGHT[PARSE.index("background")] = 0.6


def parse_loss(logits: Tensor, parse: Tensor) -> Tensor:
    """Cross-entropy of the parse at half size; logits (N, C, h, w), parse int64 (N, H, W)."""
    return F.cross_entropy(logits, parse[:, ::2, ::2], _CLASS_WEIGHT.to(logits))


def outlined_loss(logits: Tensor, top: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy of what is an upper garment, where an outline tells.

    Args:
        logits: (N, C, h, w) of the parse at half size; a dress is an upper garment here, too.
        top, known: float (N, H, W), 1 inside the outline, and where that is known.
    """
    top, known = top[:, ::2, ::2], known[:, ::2, ::2]
    all_classes = logits.float().logsumexp(1)
    cloth = [PARSE.index(name) for name in ("upper", "dress")]
    rest = [i for i in range(len(PARSE)) if i not in cloth]
    inside = logits[:, cloth].float().logsumexp(1) - all_classes
    outside = logits[:, rest].float().logsumexp(1) - all_classes
    loss = -(top * inside + (1 - top) * outside)
    return (loss * known).sum() / known.sum().clamp(min=1.0)


_BROAD = [PARSE.index(n) for n in ("background", "face_neck")]
_RIM = 1
"""Network pixels beside the old garment that are painted, too."""


def beneath_truth(
    parse_before: Tensor, parse_after: Tensor, drawn: Tensor, old: Tensor, under: Tensor
) -> Tensor:
    """What is beneath the new garment: 0 keep, 1 + index of the paint, -1 unknown; int64 (N, H, W).

    Where the old garment was and the new one now is, nobody knows what is beneath, except that it
    isn't to be kept; `beneath_loss` treats that case by itself. Walls, faces and necks beside the
    old garment are mixed with it, in photos more than in renders: a rim of it stays unless they go
    with it. Hair, hands and what is carried are narrower than that rim.

    Args:
        parse_before, parse_after: int64 (N, H, W); drawn, old, under: bool (N, H, W), as
            `compose.compose` has them.
    """
    paint = class_index().to(parse_after.device)[parse_after]
    beside = (widened(old.float()[:, None], _RIM)[:, 0] > 0) & _among(parse_before, _BROAD) & ~under
    same = (parse_before == parse_after) & ~old & ~beside
    target = torch.where(same, torch.zeros_like(paint), paint + 1)
    target = torch.where(paint < 0, torch.full_like(paint, -1), target)
    return torch.where(drawn, torch.full_like(paint, -1), target)


def beneath_loss(logits: Tensor, truth: Tensor, drawn: Tensor, old: Tensor) -> Tensor:
    """Cross-entropy of keep or paint where the new garment is not, and no keeping of the old one.

    Args:
        logits: (N, 1 + paints, H, W); truth: of `beneath_truth`; drawn, old: bool (N, H, W).
    """
    known = F.cross_entropy(logits, truth, ignore_index=-1, reduction="none")
    weight = torch.where(truth > 0, 4.0, 1.0)  # few pixels, and the ones that show
    known = (known * weight * (truth >= 0)).sum() / (weight * (truth >= 0)).sum().clamp(min=1)
    away = -torch.log1p(-logits.softmax(1)[:, 0].clamp(max=0.999))
    hidden = drawn & old
    return known + 0.5 * (away * hidden).sum() / hidden.sum().clamp(min=1)


def picture_loss(picture: Tensor, truth: Tensor, region: Tensor) -> Tensor:
    """L1, weighted to the region that changes; (N, 3, H, W), region (N, 1, H, W)."""
    error = (picture - truth).abs().mean(1, keepdim=True)
    inside = (error * region).sum() / region.sum().clamp(min=1.0)
    return inside + 0.5 * error.mean()


def gradient_loss(picture: Tensor, truth: Tensor, region: Tensor) -> Tensor:
    """L1 of horizontal and vertical differences inside a region: stripes, letters, edges."""
    total = picture.new_zeros(())
    for axis in (2, 3):
        error = (picture.diff(dim=axis) - truth.diff(dim=axis)).abs().mean(1, keepdim=True)
        part = region.narrow(axis, 1, region.shape[axis] - 1)
        total = total + (error * part).sum() / part.sum().clamp(min=1.0)
    return total


def feature_distance(ours: list[Tensor], truth: list[Tensor]) -> Tensor:
    """L1 of normalised features, (N,) of lists of (N, C, h, w): as LPIPS (Zhang et al., 2018), with
    the ImageNet trunk EfficientNet-Lite0."""
    total = ours[0].new_zeros((), dtype=torch.float32)
    for a, b in zip(ours, truth, strict=True):
        a, b = F.normalize(a.float(), dim=1), F.normalize(b.float(), dim=1)
        total = total + (a - b).abs().sum(1).mean((1, 2)) / len(ours) ** 0.5
    return total


def perceptual_loss(ours: list[Tensor], truth: list[Tensor]) -> Tensor:
    """Mean of `feature_distance`."""
    return feature_distance(ours, truth).mean()


def smoothness_loss(flow: Tensor) -> Tensor:
    """Second differences of a flow in network pixels: folds cost, stretching does not."""
    scale = float(NET_HEIGHT)
    return scale * (flow.diff(n=2, dim=2).abs().mean() + flow.diff(n=2, dim=3).abs().mean())


def adversarial_losses(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's hinge loss (Lim and Ye, 2017)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_adversarial(fake: Tensor) -> Tensor:
    """The generator's side of the hinge loss."""
    return -fake.mean()


def contrastive_loss(z_image: Tensor, z_text: Tensor, weight: Tensor) -> Tensor:
    """InfoNCE between E^I(I) and E^T(T) of the same garments (CLIP's, Radford et al., 2021).

    Args:
        z_image, z_text: (N, D); weight: (N,) 0 where a garment has no caption of its own.
    """
    keep = weight > 0
    if keep.sum() < 2:
        return z_image.sum() * 0 + z_text.sum() * 0
    own = torch.eye(int(keep.sum()), device=z_image.device)
    return matching_loss(z_image[keep], z_text[keep], own)


_TEMPERATURE = 0.1


def matching_loss(a: Tensor, b: Tensor, same: Tensor) -> Tensor:
    """Symmetric InfoNCE: each of `a` finds what is the same as it among `b`, and back.

    Args:
        a, b: (N, D) codes, of any length; same: (N, N) 1 where a row of `a` and one of `b` belong
            together, its own among them: what several share is right for each (UniCL, Yang et al.,
            2022).
    """
    logits = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / _TEMPERATURE
    forth, back = same / same.sum(1, keepdim=True), same.T / same.sum(0)[:, None]
    return 0.5 * (F.cross_entropy(logits, forth) + F.cross_entropy(logits.T, back))
