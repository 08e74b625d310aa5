"""The parse, told a second time by the colours that each class has nearby in the photo itself.

What the network is sure of gives each class its local colours (normalised convolution, as
`inpaint.spread` does for paint): a mean and a spread. Where it errs, on a hood beside a neck or on
hair before a pale top, the pixel's own colour often says so: one round of what GrabCut does (Rother
et al., 2004), with models that are local and no cut.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tryon.contract import PARSE
from tryon.models.blocks import constant, grown, shrunk, up2
from tryon.models.composite import LUMA
from tryon.models.inpaint import PAINT, certain, class_index, spread

_NOISE = 0.08
"""Standard deviation, in 0..1, that a class's colours have at least."""
_MOST = 4.0
"""By how much (log odds) colours alone speak against a class at most."""
SEEN = 0.003
"""Share of the view that is surely a class's, for its colours to be known; less are in part."""
_UNKNOWN = 1.0
"""The same as `_MOST`, against a class whose colours aren't known."""
_NO_HAIR, _BALD = 6.0, 0.2
"""The same, against hair, and the share of `SEEN` below which somebody has none: sides of a hood or
a collar are taken for it."""
_RIM = 5
"""Pixels across: nearer to its edge by half of it a face's colours don't count, since what is taken
for a neck there may be a collar."""
_BESIDE = 11
"""Pixels across: so near to the top it is the top's, there."""
_HAIR = PARSE.index("hair")
_TOP, _SKIN = list(PAINT).index("upper"), list(PAINT).index("skin")
_FACE = PARSE.index("face_neck")
_UPPER, _DRESS = PARSE.index("upper"), PARSE.index("dress")


def by_colour(logits: Tensor, rgb: Tensor) -> Tensor:
    """The parse's logits with the colours' log likelihood in them: float (N, classes, h, w).

    Args:
        logits: (N, len(PARSE), h, w); rgb: (N, 3, 2h, 2w) in 0..1.
    """
    h, w = int(logits.shape[2]), int(logits.shape[3])
    half = F.avg_pool2d(rgb, 2)
    odds = logits.clamp(-30, 30).exp()
    shares = certain(odds)
    face = odds[:, _FACE : _FACE + 1] / odds.sum(1, keepdim=True)
    rim = face - shrunk(face, _RIM)
    skin = shares[:, _SKIN : _SKIN + 1] * (1 - rim)
    # A dress is a top here: there is no paint of its own, and photos' tops may be either.
    top = (odds[:, _UPPER] + odds[:, _DRESS])[:, None] / odds.sum(1, keepdim=True)
    beside_top = grown((2.5 * top - 1.5).clamp(0, 1), _BESIDE)
    top = (2.5 * top - 1.5).clamp(0, 1).square() + 1e-6
    # A jacket over a shirt has two colours, and their mean is neither's: light and dark apart.
    luma = (rgb.new_tensor(LUMA) @ half.flatten(2)).reshape(-1, 1, h, w)
    level = (luma * top).sum((2, 3), keepdim=True) / top.sum((2, 3), keepdim=True)
    light = ((luma - level) / 0.05 + 0.5).clamp(0, 1)
    shares = torch.cat([
        shares[:, :_SKIN], skin, top * light, shares[:, _TOP + 1 :], top * (1 - light)
    ], 1)  # fmt: skip
    count = len(PAINT) + 1
    found = spread(torch.cat([half, half * half], 1), shares + 1e-6).flatten(1, 2)
    found = up2(found).reshape(-1, count, 6, h, w)
    mean, variance = found[:, :, :3], found[:, :, 3:]
    variance = (variance - mean * mean).clamp(min=0) + _NOISE**2
    told = (half[:, None] - mean).square() / variance + variance.log()
    told = -0.5 * (told[:, :, 0] + told[:, :, 1] + told[:, :, 2])
    known = (shares.mean((2, 3), keepdim=True) / SEEN).clamp(0, 1)
    told = told - 1e3 * (1 - known)
    # What each class is told by: hair and a face by the likelier of both, since they are told apart
    # by shape. So is a bare arm from the sleeve above it: cloth's colours don't speak against it.
    wall, hair, skin, light_top, lower, shoes, dark_top = told.split(1, 1)
    cloth, head = torch.maximum(light_top, dark_top), torch.maximum(hair, skin)
    told = torch.cat([wall, head, head, cloth, lower, shoes, torch.maximum(cloth, skin)], 1)
    told = (told - told.amax(1, keepdim=True)).clamp(min=-_MOST)
    wall, hair, skin, light_top, lower, shoes, dark_top = known.split(1, 1)
    cloth = torch.maximum(light_top, dark_top)
    known = torch.cat([wall, hair, skin, cloth, lower, shoes, torch.maximum(cloth, skin)], 1)
    none = torch.zeros_like(known)
    none[:, 1] = _NO_HAIR * (1 - known[:, 1] / _BALD).clamp(min=0)
    told = known * told - _UNKNOWN * (1 - known) - none
    place = class_index()
    place[_DRESS] = _TOP
    for name in ("arm_left", "arm_right"):
        place[PARSE.index(name)] = len(PAINT)
    told = told.index_select(1, constant(place.to(told.device)))
    # What the network takes for hair beside the top of somebody without any is the top's, and a
    # beard is not.
    others = odds[:, :1] + odds[:, _UPPER : _UPPER + 1]
    likelier = others / (others + odds[:, _FACE : _FACE + 1])
    taken = (none[:, 1:2] / _NO_HAIR) * beside_top * likelier * odds[:, _HAIR : _HAIR + 1]
    upper = (logits + told)[:, _UPPER : _UPPER + 1].clamp(-30, 30)
    more = (upper.exp() + taken).log() - upper
    told = torch.cat(
        [told[:, :_UPPER], told[:, _UPPER : _UPPER + 1] + more, told[:, _UPPER + 1 :]], 1
    )
    return logits + told.detach()
