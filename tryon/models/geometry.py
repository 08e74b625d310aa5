"""Landmarks first: each garment part's own transform from the person into the garment's picture.

Every part (torso, sleeves, legs) owns a few garment landmarks. Where they lie on the person and
where they lie in the garment's picture gives the part's affine transform in closed form: weighted
least squares, a similarity first and a damped affine correction on top, so that two points of a
sleeve give a stable rotation and scale. Everything stays in float32; grids lose decibels in fp16.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tryon.contract import LANDMARKS, NET_HEIGHT, NET_WIDTH, STYLING

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
        with torch.autocast(person.device.type, enabled=False):  # products in bfloat16 lose pixels
            return self._forward(person.float(), garment.float(), visible.float(), pixels)

    def _forward(
        self, person: Tensor, garment: Tensor, visible: Tensor, pixels: Tensor
    ) -> tuple[Tensor, Tensor]:
        unit = torch.tensor([ASPECT, 1.0], device=person.device)
        own = self.weights[None] * visible[:, None, :]
        # A little of every landmark keeps a part with none of its own at the garment's overall
        # transform instead of a division by nothing.
        w = own + 0.01 * visible[:, None, :] + 1e-4
        w = w / w.sum(2, keepdim=True)
        # Everything below is products of small matrices, a part in each: as numbers by themselves
        # they were 170 operators, whose calls alone took a millisecond.
        p, g = person * unit, garment * unit
        mean_p, mean_g = (w @ p)[..., None], (w @ g)[..., None]  # (N, P, 2, 1)
        p = p.transpose(1, 2)[:, None] - mean_p  # (N, P, 2, K)
        g = g.transpose(1, 2)[:, None] - mean_g
        weighted = (p * w[:, :, None]).transpose(2, 3)
        pp, gp = p @ weighted, g @ weighted  # (N, P, 2, 2) second moments
        one = torch.eye(2, device=person.device)
        # The similarity: [[a, -b], [b, a]], a and b from the moments' sums and differences.
        spread = (pp * one).sum((2, 3), keepdim=True) + 1e-4
        turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], device=person.device)
        similar = (gp - turn @ gp @ turn) / spread
        # Affine correction: what it leaves of g = M p, damped by a share of the spread.
        damped = pp + (0.08 * spread + 2e-4) * one
        matrix = similar + (gp - similar @ pp) @ inverse(damped)
        grid = pixels.reshape(2, -1)
        x, y = grid[0] * ASPECT, grid[1]
        ones = torch.ones_like(x)
        rows = torch.cat([matrix, mean_g - matrix @ mean_p], 3) / unit[:, None]
        flows = rows.reshape(person.shape[0], -1, 3) @ torch.stack([x, y, ones])
        # Mahalanobis distance from the part's own landmarks, at least a twentieth of the view wide:
        # -1/2 (x - mean)' A (x - mean), its terms apart so that one product does for all pixels.
        nearness = -0.5 * inverse(pp + 0.05**2 * one)
        towards = nearness @ mean_p
        rows = torch.cat([
            nearness.flatten(2), -2 * towards.flatten(2), (mean_p * towards).sum(2)
        ], 2)  # fmt: skip
        near = rows @ torch.stack([x * x, x * y, x * y, y * y, x, y, ones])
        presence = (own.sum(2) / self.weights.sum(1)[None]).clamp(1e-3, 1).log()
        near = near.clamp(-8, 0) + 2 * presence[:, :, None]
        size = pixels.shape[2:]
        return flows.reshape(*presence.shape, 2, *size), near.reshape(*presence.shape, *size)


def inverse(matrices: Tensor) -> Tensor:
    """Inverses of symmetric matrices (..., 2, 2) whose determinant is not 0."""
    # [[d, -b], [-b, a]] of [[a, b], [b, d]], by a turn on either side.
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], device=matrices.device)
    adjugate = turn @ matrices @ turn.T
    # A matrix times its adjugate is the determinant on the diagonal, twice.
    return adjugate / (0.5 * (matrices * adjugate).sum((-2, -1), keepdim=True))


class StyledLandmarks(nn.Module):
    """Where landmarks move when a garment is worn in another size, or tucked in.

    Each moves along the lines to the others, by shares that are learned for each of
    `contract.STYLING`: a larger hem away from the waist, in whatever pose. Without styling nothing
    moves. Rolled sleeves and open fronts keep the landmarks of the garment as it is shown.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pull = nn.Parameter(torch.zeros(len(STYLING), len(LANDMARKS), len(LANDMARKS)))

    def forward(self, marks: Tensor, visible: Tensor, styling: Tensor) -> Tensor:
        """float32 (N, K, 2), in 0..1 of the view.

        Args:
            marks: (N, K, 2) in 0..1; visible: (N, K) in 0..1, whether this garment has them: others
                pull nothing.
            styling: (N, len(STYLING)) as `contract.STYLING`.
        """
        with torch.autocast(marks.device.type, enabled=False):
            count = len(LANDMARKS)
            shares = (styling.float() @ self.pull.float().flatten(1)).reshape(-1, count, count)
            shares = shares * visible.float()[:, None, :]
            return marks + shares @ marks - shares.sum(2, keepdim=True) * marks


class RolledSleeves(nn.Module):
    """Where sleeves that are rolled up have ended, and the fold that they end in.

    Their landmarks are those of the sleeve at its length, on the person and in the garment's
    picture; what lies further than `END` along the line from elbow to cuff is rolled away.
    """

    END = 0.15
    """Share of the way from elbow to cuff: a quarter on average in rendered pairs, but a roll that
    ends at the elbow is told from a sleeve that is merely short."""
    WIDTHS = (0.33, 0.45)
    """Half of a sleeve, in lengths of elbow to cuff: on the person, and flat in its picture."""
    SOFT = 0.04
    ROLL, CREASE = 0.24, 0.03
    """How long the roll is, and half of the crease above it, in the same."""
    SHADOW = 0.3
    """By how much of the light the crease is darker; the roll's lower edge by half of that."""

    def forward(
        self, here: Tensor, there: Tensor, visible: Tensor, styling: Tensor, pixels: Tensor,
        flow: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """What is left of the garment, float32 (N, 1, h, w) in 0..1: 1 unless sleeves are rolled;
        the share of the light that the fold keeps off it, and where the roll surely is, no arm
        before it, the same size: 0 unless they are.

        Args:
            here, there: landmarks (N, K, 2) in 0..1 on the person and in the garment's picture.
            visible: (N, K); styling: (N, len(STYLING)).
            pixels: (1, 2, h, w) pixel centres of the person's view; flow: (N, 2, h, w) where each
                pixel comes from. A pixel is a sleeve's where both of its places are.
        """
        with torch.autocast(here.device.type, enabled=False):
            elbows, cuffs = (
                [LANDMARKS.index(f"{name}_{side}") for side in ("left", "right")]
                for name in ("elbow", "cuff")
            )
            sleeve = (visible[:, elbows] * visible[:, cuffs]).float()[:, :, None, None]
            past, lengths = sleeve, []
            places = ((here, pixels), (there, flow.float()))
            for (marks, place), width in zip(places, self.WIDTHS, strict=True):
                ends = marks.float()
                along, aside = along_and_aside(ends[:, elbows], ends[:, cuffs], place)
                beside = ((width - aside.abs()) / self.SOFT).sigmoid()
                sleeve = sleeve * beside
                past = past * beside * ((along - self.END) / self.SOFT).sigmoid()
                lengths.append(along)
            # On the person: where the roll is to be seen.
            crease, edge = (
                (-(((lengths[0] - at) / self.CREASE) ** 2)).exp()
                for at in (self.END - self.ROLL, self.END)
            )
            fold = self.SHADOW * sleeve * (crease + 0.5 * edge)
            rolled = styling[:, list(STYLING).index("rolled")].float()[:, None, None, None]
            sure = sleeve - past
            sure = sure * ((lengths[0] - self.END + 2 * self.ROLL) / self.SOFT).sigmoid()
            gone, fold, sure = (
                rolled * torch.maximum(part[:, :1], part[:, 1:]) for part in (past, fold, sure)
            )
            return 1 - gone, fold, sure.clamp(min=0)


class OpenFront(nn.Module):
    """Where a garment that is worn open is open: a strip along the line from between its shoulders
    to its hem in its own picture, which widens downwards, as `training.data.garments.front_field`
    cuts it. What was worn before is seen there."""

    GAP = 0.165
    """Half of what is open at the hem, in lengths of that line: a tenth of 0.6 metres. Above WIDENS
    it is a third of it."""
    WIDENS = 0.17
    SOFT = 0.012

    def forward(
        self, there: Tensor, visible: Tensor, styling: Tensor, flow: Tensor, front: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """How open it is, how surely what was worn before stays where the garment is not, and where
        on its trunk it surely is, float32 (N, 1, h, w) in 0..1 each, 0 unless it is worn open.

        What stays is as wide as the opening at the hem all the way: above, the garment's neck is
        wider than the opening below it. The mask, which has learned of open fronts too, would open
        it twice.

        Args:
            there: landmarks (N, K, 2) in 0..1 of the garment's picture; visible: (N, K).
            styling: (N, len(STYLING)); flow: (N, 2, h, w) where each pixel comes from.
            front: (N, 1, h, w), where arms, hair or a bag are in front of it.
        """
        with torch.autocast(flow.device.type, enabled=False):
            left, right, hem = (
                LANDMARKS.index(name) for name in ("neck_left", "neck_right", "hem_front")
            )
            asked = styling[:, list(STYLING).index("open")].float()
            asked = asked * visible[:, left] * visible[:, right] * visible[:, hem]
            asked = asked[:, None, None, None]
            neck = there[:, [left, right]].float().mean(1, keepdim=True)
            along, aside = along_and_aside(neck, there[:, hem : hem + 1].float(), flow.float())
            down = ((along - self.WIDENS) / (1 - self.WIDENS)).clamp(0, 1)
            half = self.GAP * (1 + 2 * down) / 3
            wide = _trunk(neck, there[:, hem : hem + 1].float(), there)
            widths = torch.cat([half, self.GAP * torch.ones_like(half), wide + 0 * half], 1)
            parts = asked * ((widths - aside.abs()) / self.SOFT).sigmoid()
            opened, stays, trunk = parts.split(1, 1)
            return opened, stays, (trunk - opened).clamp(min=0) * (1 - front.float())


class TuckedHem(nn.Module):
    """Where a top that is tucked in ends: a straight line across it in its own picture.

    How much of its lower half is seen is what the mask says on the whole; its edge, pixel by pixel,
    is a wave.
    """

    FROM = 0.45
    """Where the lower half begins, in lengths from neck to hem."""
    SOFT = 0.008

    def forward(
        self, there: Tensor, visible: Tensor, styling: Tensor, flow: Tensor, covered: Tensor,
        mask: Tensor, front: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """What of the garment is tucked away, and what of it surely is not: float32 (N, 1, h, w) in
        0..1 each, 0 unless it is tucked in.

        Args:
            there, visible, styling, flow: as for `OpenFront`.
            covered: (N, 1, h, w) where the whole garment would be; mask: the same, how surely
                nothing is in front of it; front: the same, where arms, hair or a bag are.
        """
        with torch.autocast(flow.device.type, enabled=False):
            neck, hem = (LANDMARKS.index(name) for name in ("neck_front", "hem_front"))
            asked = styling[:, list(STYLING).index("tucked")].float().clamp(min=0)
            asked = (asked * visible[:, neck] * visible[:, hem])[:, None, None, None]
            line = there[:, neck : neck + 1].float(), there[:, hem : hem + 1].float()
            along, aside = along_and_aside(*line, flow.float())
            trunk = ((_trunk(*line, there) - aside.abs()) / 0.02).sigmoid()
            lower = trunk * ((along - self.FROM) / self.SOFT).sigmoid()
            counted = lower * covered.float() * (1 - front.float())
            share = (counted * mask.float()).sum((1, 2, 3)) / counted.sum((1, 2, 3)).clamp(min=1)
            end = self.FROM + (1 - self.FROM) * share[:, None, None, None]
            above = ((end - along) / self.SOFT).sigmoid()
            gone = asked * trunk * (1 - above)
            return gone, asked * lower * above * (1 - front.float())


_WIDER = 0.05
"""By how much a hem may be wider to each side than the waist, in lengths from neck to hem."""


def _trunk(start: Tensor, end: Tensor, there: Tensor) -> Tensor:
    """Half of what of a top is no sleeve, in lengths of the line from start to end (N, 1, 2) each:
    (N, 1, 1, 1), of its landmarks (N, K, 2)."""
    sides = [LANDMARKS.index(name) for name in ("waist_left", "waist_right")]
    places = there[:, sides].float().transpose(1, 2)[:, :, None]
    return along_and_aside(start, end, places)[1].abs().mean(3, keepdim=True) + _WIDER


def along_and_aside(start: Tensor, end: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """How far places lie along and beside lines, in lengths of the line: (N, M, h, w) each.

    Args:
        start, end: (N, M, 2) in 0..1 of a 3:4 picture; place: (N or 1, 2, h, w), the same.
    """
    x0, y0 = start[:, :, 0] * ASPECT, start[:, :, 1]
    wx, wy = end[:, :, 0] * ASPECT - x0, end[:, :, 1] - y0
    length = (wx * wx + wy * wy).clamp(min=1e-4)
    # Both are linear in the place.
    ax, ay = (wx / length)[:, :, None, None], (wy / length)[:, :, None, None]
    x = place[:, :1] * ASPECT - x0[:, :, None, None]
    y = place[:, 1:] - y0[:, :, None, None]
    return x * ax + y * ay, x * ay - y * ax


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


class TurnedLandmarks(nn.Module):
    """Where in the garment's picture that lies which is seen at its landmarks on the person.

    A landmark is a place of the cloth: the end of a side seam, the axis of a leg. On a body that is
    turned, or that is round, the cloth that is seen there is another. Transforms are of what is
    seen. How the body is turned shows in how the landmarks lie to each other, on the person and in
    the garment's picture: three layers read it off them, and what the features add is summed.
    """

    WIDTHS = (192, 128)
    STEP = 0.05
    """Of the canvas: what an answer of 1 of the layers means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        count, (first, second) = len(LANDMARKS), self.WIDTHS
        self.offset = nn.Conv2d(channels, 2 * count, 1)
        self.layout = nn.Sequential(
            nn.Linear(5 * count, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(),
            nn.Linear(second, 2 * count),
        )  # fmt: skip
        for last in (self.offset, self.layout[4]):
            assert isinstance(last, nn.Conv2d | nn.Linear) and last.bias is not None
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self, features: Tensor, votes: Tensor, here: Tensor, there: Tensor, visible: Tensor
    ) -> Tensor:
        """How far that is from the landmarks in the garment's picture: float32 (N, K, 2), in 0..1
        of the canvas.

        Args:
            features: (N, C, h, w); votes: logits (N, K, h * w) of the landmarks on the person, see
                `LandmarkVote`. They have a truth of their own, and learn nothing from this.
            here, there: (N, K, 2) the landmarks on the person and in the garment's picture, in 0..1
                of the view and of the canvas; they learn nothing from this either.
            visible: (N, K) in 0..1, whether this garment has the landmark.
        """
        count = len(LANDMARKS)
        offset = self.offset(features).float().reshape(-1, count, 2, votes.shape[2])
        of_features = (votes.detach().softmax(-1)[:, :, None] * offset).sum(-1)
        with torch.autocast(features.device.type, enabled=False):  # bfloat16 loses pixels
            share = visible.detach().float()[..., None]
            here, there = here.detach().float(), there.detach().float()
            middle = (here * share).sum(1, keepdim=True) / (share.sum(1, keepdim=True) + 1e-3)
            unit = torch.tensor([ASPECT, 1.0], device=here.device)
            known = torch.cat(
                [4 * unit * (here - middle) * share, (2 * there - 1) * share, share], 2
            )
            of_layout = self.layout(known.flatten(1)).reshape(-1, count, 2)
            return of_features + self.STEP * of_layout
