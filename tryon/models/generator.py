"""G, the generator: where the garment goes, what it covers, how it is lit, what it uncovers.

It sees the person at 256x192 and paints nothing itself: it predicts maps from which
`composite.py` takes the picture at the photo's own size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tryon.contract import (
    CATEGORIES,
    CONDITION,
    EMBEDDING,
    GARMENT_CHANNELS,
    LANDMARKS,
    NET_HEIGHT,
    NET_WIDTH,
    OLD_GARMENTS,
    PARSE,
    POSE_CHANNELS,
    POSE_POINTS,
    STYLING,
)
from tryon.models.arms import standing_off
from tryon.models.blocks import (
    Conv,
    FiLM,
    Merge,
    Residual,
    constant,
    grown,
    head,
    pixel_coordinates,
    shrunk,
    shuffled,
    up2,
    warp,
)
from tryon.models.by_colour import SEEN, by_colour
from tryon.models.composite import Maps, changed_box, layers, lit, to_bytes
from tryon.models.cuffs import straightened
from tryon.models.efficientnet import CHANNELS, EfficientNetTrunk
from tryon.models.folds import creases
from tryon.models.fusion import Fusion
from tryon.models.geometry import (
    PARTS,
    LandmarkVote,
    OpenFront,
    PartTransforms,
    RolledSleeves,
    StyledLandmarks,
    TuckedHem,
    TurnedLandmarks,
)
from tryon.models.inpaint import PAINT, certain, class_colours, mirrored
from tryon.models.lengths import lengthened
from tryon.models.light import (
    believed,
    beyond_old,
    cloth_beside_skin,
    half_luma,
    led_by,
    one_tone,
    read_off,
    rounded,
)
from tryon.models.limbs import Relief, beside_arms, outlines, places
from tryon.models.outline import widened
from tryon.models.strands import strands
from tryon.models.zones import collar_scraps, neckline, throat, waist_and_hem

WIDTH_16, WIDTH_8, WIDTH_4, WIDTH_2 = 128, 96, 64, 32
HIDDEN_16, HIDDEN_8, HIDDEN_4, HIDDEN_2 = 48, 32, 16, 16
"""Channels within the residual blocks: the larger the maps, the dearer each is."""


def centre(x: Tensor) -> Tensor:
    """The generator's 3:4 view out of a square map; a 3:4 one as it is."""
    margin = int(x.shape[-1] - x.shape[-2] * 3 // 4) // 2
    return x[..., margin:-margin] if margin else x


_REACH = 1.5
"""How much further than its mask a garment reaches, where its alpha lets it: at 1 its mask alone
ends it, at 3 the shadows that lie beside it in its own photo come along."""
_NEAR = 1
"""Pixels of the parse by which the old garment's rim may lie beside it."""


_GONE = 6.0
"""By how much (logits) what of the old garment isn't covered is likelier painted over than the
network says: a collar that stays beside the new one is worse than a wall painted too far. Hands
and straps before it are narrower than its rim, and are not."""
_SKIN, _HAIR_PAINT = tuple(PAINT).index("skin"), tuple(PAINT).index("hair")
_LOWER, _HAIRS, _WALL = (
    torch.tensor([float(name == only) for name in PAINT])[None, :, None, None, None]
    for only in ("lower", "hair", "background")
)
_OFF_THE_ARM = 12.0
"""By how much (logits) a wall is likelier where an old sleeve stood off the arm (`arms.py`,
`limbs.beside_arms`)."""
_BALD = 12.0
"""By how much (logits) hair is painted the less where nobody has any."""
_NEAR_HAIR = 3.0
"""Served, in place of `_GONE`, by how much hair is likelier near hair: of dark lapels beside it
more became drips of hair."""
_WORN = 3.0
"""By how much (logits) the new garment is likelier before what surely is the old one, and around
its own neck: necklines of real garments are higher than the network, taught on rendered ones, says,
and its mask bites into them."""
_NO_BELLY = 12.0
"""By how much (logits) trousers and walls are likelier than skin where a top ends, and trousers
than walls where the body is: nobody sees where they end beneath the old top, and a strip of belly
is worse than a waistband too high."""
_TEXTURED = [tuple(PAINT).index(name) for name in ("background", "lower")]
_BROAD, _TROUSERS, _HAIR, _FACE, _CARRIED = (
    torch.tensor([[float(name in names) for name in PARSE]])
    for names in (("background", "face_neck"), ("lower",), ("hair",), ("face_neck",), ("other",))
)
_BEFORE_A_NECK = torch.tensor(
    [[float(name in ("hair", "arm_left", "arm_right", "other")) for name in PARSE]]
)
_EACH_ARM = [torch.tensor([[float(name == side) for name in PARSE]])
             for side in ("arm_left", "arm_right")]  # fmt: skip
_SLEEVES = torch.tensor([[float(name.startswith("sleeve")) for name in PARTS]])
_OTHERS = torch.tensor([[float(name != "skin") for name in PAINT]])


_AHEAD = ("hair", "face_neck", "arm_left", "arm_right", "other")
"""Classes that can stand in front of a top's lower half."""


def share_of(odds: Tensor, chosen: Tensor) -> Tensor:
    """How likely each pixel is one of the chosen classes: float (N, 1, h, w) in 0..1.

    Args:
        odds: float (N, classes, h, w), positive: probabilities up to a factor.
        chosen: (N or 1, classes), 1 for those chosen.
    """
    c, h, w = (int(size) for size in odds.shape[1:])
    # Sums over channels, as a product: ONNX Runtime's are slow there.
    both = torch.stack([chosen, torch.ones_like(chosen)], 1) @ odds.reshape(-1, c, h * w)
    return (both[:, :1] / both[:, 1:]).reshape(-1, 1, h, w)


def old_share(odds: Tensor, condition: Tensor) -> Tensor:
    """How likely each pixel is the garment that is replaced: float (N, 1, h, w) in 0..1.

    Args:
        odds: as for `share_of`; condition: (N, 5) as `contract.CONDITION`.
    """
    replaced = torch.tensor([[float(p in OLD_GARMENTS[k]) for p in PARSE] for k in CATEGORIES])
    chosen = condition[:, : len(CATEGORIES)].float() @ constant(replaced.to(odds.device))
    return share_of(odds, chosen)


def near_old(share: Tensor) -> Tensor:
    """Where the garment that is replaced may be: nothing else of the photo is painted over, but,
    served, forearms beside a long sleeve and rests of a collar.

    Args:
        share: (N, 1, h, w) of `old_share`.

    Returns:
        float (N, 1, h, w) in 0..1: over 0 within `_NEAR` pixels of where it is likelier than not.
    """
    return grown((4 * share - 2).clamp(0, 1), 2 * _NEAR + 1)


class Generator(nn.Module):
    """Fusion, landmarks-first flow, masks, parse, shading, paint, confidence."""

    bounded: bool = True
    """Compose the box in which the picture changes, and no more: half of a CPU's time for pixels.
    Its size depends on the data, which engines for GPUs don't take: they are traced without."""
    pixels_8: Tensor
    pixels_4: Tensor
    pixels_2: Tensor
    pixels: Tensor

    def __init__(self, trunk: EfficientNetTrunk) -> None:
        super().__init__()
        self.trunk = trunk
        self.fusion = Fusion()
        g4, g8, g16, g32 = GARMENT_CHANNELS
        s2, s4, s8, s16 = CHANNELS
        marks = 3 * len(LANDMARKS)
        given = EMBEDDING + g16 + g32 + marks + len(CONDITION) + len(STYLING)
        self.code = nn.Sequential(
            nn.Linear(given, 192), nn.ReLU(), nn.Linear(192, 128), nn.ReLU()
        )  # fmt: skip
        self.in_16 = nn.Sequential(
            Conv(POSE_CHANNELS + s16, WIDTH_16, 1), Residual(WIDTH_16, HIDDEN_16)
        )
        self.film_16 = FiLM(128, WIDTH_16)
        self.mix_16 = nn.Sequential(Residual(WIDTH_16, HIDDEN_16), Residual(WIDTH_16, HIDDEN_16))
        self.heat_8 = Conv(POSE_POINTS, 32, 3, 2)
        self.in_8 = nn.Sequential(Merge(WIDTH_16 + POSE_CHANNELS + s8 + 32, WIDTH_8),
                                  Residual(WIDTH_8, HIDDEN_8))  # fmt: skip
        self.film_8 = FiLM(128, WIDTH_8)
        self.mix_8 = Residual(WIDTH_8, HIDDEN_8)
        self.in_4 = nn.Sequential(Merge(WIDTH_8 + POSE_CHANNELS + s4 + POSE_POINTS, WIDTH_4),
                                  Residual(WIDTH_4, HIDDEN_4))  # fmt: skip
        # Landmarks of this garment on this person, and the parts' transforms from them.
        self.landmarks = LandmarkVote(WIDTH_8)
        self.styled = StyledLandmarks()
        self.turned = TurnedLandmarks(WIDTH_8)
        self.rolled = RolledSleeves()
        self.opened = OpenFront()
        self.tucked = TuckedHem()
        self.transforms = PartTransforms()
        self.part_logits = head(WIDTH_8, len(PARTS))
        # Residual flow, coarse to fine.
        self.flow_8 = nn.Sequential(Merge(WIDTH_8 + g8 + 3, WIDTH_8), Residual(WIDTH_8, HIDDEN_8))
        self.delta_8 = head(WIDTH_8, 2, 0.002)
        self.flow_4 = nn.Sequential(
            Merge(WIDTH_4 + WIDTH_8 + g4 + 3, WIDTH_4), Residual(WIDTH_4, HIDDEN_4)
        )
        self.delta_4 = head(WIDTH_4, 2, 0.002)
        self.film_4 = FiLM(128, WIDTH_4)
        self.mix_4 = nn.Sequential(Merge(WIDTH_4 + g4 + 4, WIDTH_4), Residual(WIDTH_4, HIDDEN_4))
        self.shade = head(WIDTH_4, 3)
        self.fine = nn.Sequential(Merge(WIDTH_4 + s2 + 3 + 4, WIDTH_2), Residual(WIDTH_2, HIDDEN_2))
        self.delta_2 = head(WIDTH_2, 2, 0.002)
        self.mask = head(WIDTH_2, 4)
        self.beneath = head(WIDTH_2, 4 * (1 + len(PAINT)))
        self.parse = head(WIDTH_2, len(PARSE))
        self.shade_fine = head(WIDTH_2, 1)
        self.confidence = nn.Linear(WIDTH_16 + WIDTH_8, 1)
        self.relief = Relief()
        like = torch.zeros(1)
        self.register_buffer(
            "pixels_8", pixel_coordinates(NET_HEIGHT // 8, NET_WIDTH // 8, like), persistent=False
        )
        self.register_buffer(
            "pixels_4", pixel_coordinates(NET_HEIGHT // 4, NET_WIDTH // 4, like), persistent=False
        )
        self.register_buffer(
            "pixels_2", pixel_coordinates(NET_HEIGHT // 2, NET_WIDTH // 2, like), persistent=False
        )
        self.register_buffer(
            "pixels", pixel_coordinates(NET_HEIGHT, NET_WIDTH, like), persistent=False
        )

    def predict(
        self,
        view: Tensor,
        pose: dict[str, Tensor],
        garment: dict[str, Tensor],
        z: Tensor,
        condition: Tensor,
        styling: Tensor,
        garment_rgb: Tensor,
        placed: tuple[Tensor, Tensor] | None = None,
        places_only: bool = False,
        joints: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """All maps at the network's size, as training uses them.

        Args:
            view: float (N, 3, 256, 256), sRGB in 0..1, or its middle (N, 3, 256, 192).
            pose: `heatmaps`, `features_64/32/16` of `Pose`, square, or their middles.
            garment: of what `ImageEncoder.encode` returns: features, landmarks, shares.
            z: (N, EMBEDDING) fused code; condition: (N, 5); styling: (N, len(STYLING)).
            garment_rgb: float (N, 3, NET_HEIGHT, NET_WIDTH), what `garment` was encoded from.
            placed: landmarks on the person and in the garment's picture to lay it by in place of
                the predicted ones, (N, K, 3) each: x, y and 1 where to do so (teacher forcing).
            places_only: stop at `landmarks`, their votes, `turned` and `flow_parts`.
            joints: (N, 39, 5) of `Pose`, where what is served is wanted: cuffs are straightened
                (`cuffs.py`), ends and sides led to the old top's (`lengths.py`, `outline.py`); what
                is taught is the flow itself.

        Returns:
            `landmarks` (N, K, 2) on the person, `votes` and `voted` as `LandmarkVote` has them;
            `turned` (N, K, 2), how far what is seen there is from them in the canvas; `parts`
            (N, len(PARTS), H/8, W/8), how likely each pixel follows each part, up to a factor;
            `flow_parts` to `flow` (N, 2, h, w), coarse to fine, in 0..1 of the canvas; `mask`
            logits (N, 1, H, W) of the garment drawn, and `mask_packed` the same with each 2x2
            pixels as channels; `covered`, the garment's own mask at `flow_2`, without what is
            rolled up, open or tucked in; of (N, 1, H/2, W/2) each `fold`, the shadow of a roll,
            `stays`, between the edges of an open front, and `ahead`, where nothing is in front of
            a top tucked in, of a roll or of an open front's sides;
            `beneath` logits (N, 1 + paints, H, W): keep, which is 0, or which paint, and
            `beneath_packed` those of the paints with each 2x2 pixels as channels; `parse` logits
            (N, classes, H/2, W/2);
            `shade` (N, 3, H/4, W/4) and `shade_fine` (N, 1, H/2, W/2) log gains; `confidence`
            logits (N, 1); served, `sleeved` (N, 2, H/2, W/2), where the left and the right long
            sleeve hide their forearms, and `told`, the parse's logits told by colours, too.
        """
        rgb = centre(view)
        heat = centre(pose["heatmaps"])
        m2, m4, m8, m16 = self.trunk(rgb)
        visible = garment["visible_share"].float()
        shape = torch.cat([garment["landmarks"], visible[..., None]], 2)
        summary = torch.cat(
            [garment["garment_16"].mean((2, 3)), garment["garment_32"].mean((2, 3))], 1
        )
        code = self.code(
            torch.cat([z, summary, shape.flatten(1).to(z.dtype), condition, styling.to(z.dtype)], 1)
        )
        f16 = self.in_16(torch.cat([centre(pose["features_16"]), m16], 1))
        f16 = self.mix_16(self.film_16(f16, code))
        f8 = self.in_8([[f16], [centre(pose["features_32"]), m8, self.heat_8(heat)]])
        f8 = self.mix_8(self.film_8(f8, code))
        landmarks, votes, voted = self.landmarks(f8, self.pixels_8)
        landmarks = self.styled(landmarks, visible, styling)
        marks = landmarks, garment["landmarks"]
        if placed is not None:
            mine, its = (
                torch.where(true[..., 2:] > 0.5, true[..., :2], own)
                for true, own in zip(placed, marks, strict=True)
            )
            marks = mine, its
        turned = self.turned(f8, votes, *marks, visible)
        coarse, odds = self.laid(f8, garment, marks[0], marks[1] + turned, visible)
        places = {"landmarks": landmarks, "votes": votes, "voted": voted, "turned": turned,
                  "flow_parts": coarse}  # fmt: skip
        if places_only:
            return places

        f4 = self.in_4([[f8], [centre(pose["features_64"]), m4, heat]])
        own_mask = garment["mask_share"].float()
        small_2 = F.avg_pool2d(torch.cat([own_mask, garment_rgb.float()], 1), 2)
        small_4 = F.avg_pool2d(small_2, 2)
        inside = F.avg_pool2d(small_4[:, :1], 2)
        seen = warp(torch.cat([garment["garment_8"].float(), inside], 1), coarse)
        here = coarse - self.pixels_8
        h8 = self.flow_8([[f8], [seen, here]])
        flow_8 = coarse + 0.25 * self.delta_8(h8).float().tanh()

        flow = up2(flow_8)
        seen = warp(torch.cat([garment["garment_4"].float(), small_4[:, :1]], 1), flow)
        here = flow - self.pixels_4
        h4 = self.flow_4([[f4], [h8], [seen, here]])
        flow_4 = flow + 0.15 * self.delta_4(h4).float().tanh()

        seen = warp(torch.cat([garment["garment_4"].float(), small_4], 1), flow_4)
        h4 = self.mix_4([[self.film_4(h4, code)], [seen]])
        flow = up2(flow_4)
        seen = warp(small_2, flow)
        half = F.avg_pool2d(rgb, 2)
        h2 = self.fine([[h4], [m2], [half, seen]])
        flow_2 = flow + 0.05 * self.delta_2(h2).float().tanh()
        parse = self.parse(h2).float()
        classes = parse.clamp(-30, 30).exp()
        if joints is not None:
            arms = [share_of(classes, constant(one.to(classes.device))) for one in _EACH_ARM]
            # Sleeves that are rolled up end elsewhere.
            rolled = styling[:, list(STYLING).index("rolled")].float()[:, None].clamp(0, 1)
            flow_2, places["sleeved"] = straightened(
                flow_2, odds, torch.cat(arms, 1), *marks, visible * (1 - rolled), own_mask, joints,
                self.pixels_2,
            )  # fmt: skip
            places["told"] = by_colour(parse, rgb.float())
            old = old_share(places["told"].clamp(-30, 30).exp(), condition)
            flow_2 = lengthened(
                flow_2, odds, old, own_mask, *marks, visible, condition, styling, joints,
                self.pixels_2,
            )  # fmt: skip
            flow_2 = widened(
                flow_2, old, own_mask, marks[0], visible, condition, styling, self.pixels_2
            )  # fmt: skip
        flow = up2(flow_2)
        left, fold, roll = self.rolled(*marks, visible, styling, self.pixels_2, flow_2)
        mask, beneath = self.mask(h2).float(), self._beneath(h2).float()
        chosen = torch.tensor([[float(name in _AHEAD) for name in PARSE]], device=parse.device)
        front = share_of(classes, chosen)
        opened, stays, apart = self.opened(marks[1], visible, styling, flow_2, front)
        covered = warp(own_mask, flow_2) * left * (1 - opened)
        gone, ahead = self.tucked(
            marks[1], visible, styling, flow_2, covered, mask.sigmoid().mean(1, keepdim=True),
            front,
        )  # fmt: skip
        covered = up2(covered * (1 - gone))
        return {
            **places,
            "parts": odds,
            "flow_8": flow_8,
            "flow_4": flow_4,
            "flow_2": flow_2,
            "flow": flow,
            "covered": covered,
            "fold": fold,
            "stays": stays,
            "ahead": torch.maximum(torch.maximum(ahead, roll), apart),
            "mask": shuffled(mask),
            "mask_packed": mask,
            "beneath": shuffled(torch.cat([torch.zeros_like(beneath[:, :4]), beneath], 1)),
            "beneath_packed": beneath,
            "parse": parse,
            "shade": self.shade(h4).float(),
            "shade_fine": self.shade_fine(h2).float(),
            "confidence": self.confidence(
                torch.cat([f16.mean((2, 3)), f8.mean((2, 3))], 1)
            ).float(),
        }

    def laid(
        self, f8: Tensor, garment: dict[str, Tensor], here: Tensor, there: Tensor, visible: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Where the garment goes by its landmarks: each pixel follows the parts' transforms.

        Args:
            f8: (N, WIDTH_8, H/8, W/8), of the person; garment: as in `predict`.
            here, there: (N, K, 2) landmarks on the person and in the garment's picture; visible:
                (N, K) in 0..1, whether the garment has each.

        Returns:
            The flow (N, 2, H/8, W/8) in 0..1 of the canvas, and `parts` of `predict`.
        """
        flows, near = self.transforms(here, there, visible, self.pixels_8)
        # A softmax over channels, written out here and in `maps`: ONNX Runtime's is slow there.
        odds = (self.part_logits(f8).float() + near).clamp(-60, 30).exp()
        return (odds[:, :, None] * flows).sum(1) / odds.sum(1, keepdim=True), odds

    def _beneath(self, features: Tensor) -> Tensor:
        """Logits of the paints against the photo's own, each 2x2 pixels as channels."""
        weight, bias = self.beneath.weight, self.beneath.bias
        assert bias is not None
        return F.conv2d(
            features,
            constant(weight[4:] - weight[:4].repeat(len(PAINT), 1, 1, 1)),
            constant(bias[4:] - bias[:4].repeat(len(PAINT))),
        )

    def maps(
        self, out: dict[str, Tensor], view: Tensor, restyle: tuple[Tensor, Tensor],
        garment_rgb: Tensor, garment_mask: Tensor, condition: Tensor, joints: Tensor | None = None,
    ) -> Maps:  # fmt: skip
        """What the composite needs, from what `predict` returned.

        Args:
            out: of `predict`; view, condition: as there; restyle: of `Fusion.recolour`;
            garment_rgb: as there; garment_mask: (N, 1, H, W) in 0..1.
            joints: (N, 39, 5) of `Pose`, where what is served is wanted (then `out` is, too), with
                all that photos ask for and rendered pictures don't: the parse told by colours, too,
                the mask likelier before the old garment, sleeves' own outlines, no bare forearm
                beside a long sleeve, rests of collars painted over, less hair beside hair, none on
                the bald, strands of hair before the garment, less belief in old cloth's light but
                where it can be read off. What learns would make up for it.
        """
        rgb = centre(view).float()
        # Each 2x2 pixels are channels still, which only the masks need apart.
        h, w = NET_HEIGHT // 2, NET_WIDTH // 2
        parse = out.get("told", out["parse"]) if joints is not None else out["parse"]
        classes = parse.clamp(-30, 30).exp()
        old = old_share(classes, condition)
        near = near_old(old) * (1 - out["stays"])
        broad = share_of(classes, constant(_BROAD.to(classes.device)))
        sure = torch.maximum((4 * old - 2).clamp(0, 1) * (1 - out["stays"]), near * broad)
        gone = _GONE * sure
        if joints is not None:
            face = share_of(classes, constant(_FACE.to(classes.device)))
            luma = half_luma(rgb)
            scraps = collar_scraps(luma, face, old, throat(joints, condition, self.pixels_2))
            scraps = scraps * (1 - out["stays"])
            near, gone = torch.maximum(near, scraps), torch.maximum(gone, 2 * _GONE * scraps)
        odds = (out["beneath_packed"].clamp(max=30) + gone.detach()).exp()
        # Sums over channels, as products: ONNX Runtime's are slow there.
        every = torch.ones(1, len(PAINT), device=odds.device)
        total = every @ odds.reshape(-1, len(PAINT), 4 * h * w)
        kept = 1 / (1 + total.reshape(-1, 4, h, w))
        kept = 1 - (1 - kept) * near
        odds = odds.reshape(-1, len(PAINT), 4, h, w)
        ends = waist_and_hem(out["landmarks"], condition, self.pixels_2)
        waist, hem = ends[:, :, None].split(1, 1)
        hair = share_of(classes, constant(_HAIR.to(classes.device))).detach()
        beside_hair = grown((4 * hair - 2).clamp(0, 1), 5)
        below = constant((_LOWER + _WALL).to(odds.device)) * hem
        likelier = _NO_BELLY * (below + constant(_LOWER.to(odds.device)) * waist)
        near_hair = _GONE if joints is None else _NEAR_HAIR
        hairs = near_hair * beside_hair[:, :, None]
        if joints is not None:
            # Nobody without hair has some behind the neck.
            seen = (certain(classes)[:, _HAIR_PAINT].mean((1, 2)) / SEEN).clamp(0, 1)
            hairs = hairs - _BALD * (1 - seen)[:, None, None, None, None]
        likelier = likelier + constant(_HAIRS.to(odds.device)) * hairs
        left, right = (share_of(classes, constant(one.to(classes.device))) for one in _EACH_ARM)
        arms, held, on_arms = left + right, kept, None
        mask, shown = out["mask_packed"], torch.ones(1, device=odds.device)
        if joints is not None:
            mask = mask + _WORN * (4 * old - 3).clamp(min=0) * (1 - out["stays"])
            cloth = F.avg_pool2d(out["covered"], 2) * mask.sigmoid().mean(1, keepdim=True)
            painted = (odds[:, _SKIN] / (total.reshape(-1, 4, h, w) + 1e-4)) * (1 - kept)
            before = torch.maximum(hair, arms * kept.mean(1, keepdim=True))
            as_skin = painted.mean(1, keepdim=True)
            before = torch.maximum(before, as_skin)
            slack = standing_off(joints, cloth, before, old, arms, self.pixels_2)
            on_arms = places(joints, self.pixels_4)
            beside = torch.maximum(slack, beside_arms(on_arms))[:, :, None]
            wall = constant(_WALL.to(odds.device)) * beside
            likelier = likelier + _OFF_THE_ARM * wall
            shown = 1 - slack
            before = share_of(classes, constant(_BEFORE_A_NECK.to(classes.device)))
            neck = neckline(joints, out["landmarks"], condition, self.pixels_2)
            mask = mask + _WORN * neck * (1 - 2 * before).clamp(min=0)
            # Beside a sleeve its arm is not seen, whether the photo's or a painted one.
            sleeved = out["sleeved"]
            bare = sleeved * (4 * torch.cat([left, right], 1) - 1).clamp(0, 1)
            bare = bare.amax(1, keepdim=True)
            kept = kept * (1 - bare)
            sleeved = sleeved.amax(1, keepdim=True)[:, :, None]
            nothing = constant((_LOWER + _WALL).to(odds.device)) * sleeved
            likelier = likelier + _NO_BELLY * nothing
            # Where the network would paint nothing it has no say in what.
            odds = odds + constant(_WALL.to(odds.device)) * (1e-3 * bare[:, :, None])
        odds = odds * likelier.exp()
        total = (every @ odds.reshape(-1, len(PAINT), 4 * h * w)).reshape(-1, 4, h, w)
        mask = torch.maximum(mask.sigmoid(), out["ahead"]) * shown
        masks = shuffled(torch.cat([mask, kept, (odds[:, _SKIN] + 1e-4) / (total + 2e-4)], 1))
        colours = up2(class_colours(rgb, classes).flatten(1, 2)).reshape(-1, len(PAINT), 3, h, w)
        skin = colours[:, _SKIN]
        # Squared: edges, not ramps, as far as half a size has any; skin has its own share.
        paints = (odds * held[:, None]).mean(2).clamp(max=1e15) + 1e-4
        paints = paints.square().reshape(-1, len(PAINT), 1, h * w)
        others = constant(_OTHERS.to(odds.device))
        painted = (others @ (paints * colours.flatten(3)).flatten(2)).reshape(-1, 3, h, w)
        weight = (others @ paints[:, :, 0]).reshape(-1, 1, h, w)
        # What is the wall's is told by the parse's own loss; a place in a photo is a poor teacher.
        sure = certain(classes)[:, _TEXTURED].detach()
        shares = paints[:, _TEXTURED, 0].reshape(-1, len(_TEXTURED), h, w) / weight
        # By its inner pixels: mixed with jeans beside it, a wall's last ones are a ghost of them.
        inner = shrunk(sure, 3)
        texture, own = mirrored(rgb, inner, shares.detach(), self.pixels, sure)
        plain = colours[:, _TEXTURED].flatten(1, 2)
        large = up2(torch.cat([painted / weight, shares, plain], 1))
        painted, shares, plain = large.split([3, len(_TEXTURED), 3 * len(_TEXTURED)], 1)
        own = own * shares
        for i in range(len(_TEXTURED)):
            painted = painted + own[:, i : i + 1] * (texture - plain[:, 3 * i : 3 * i + 3])
        top = condition[:, CATEGORIES.index("upper"), None, None, None].float()
        lower = top * share_of(classes, constant(_TROUSERS.to(classes.device)))
        sleeves = up2(up2(share_of(out["parts"], constant(_SLEEVES.to(classes.device)))))
        shade, fine = out["shade"].tanh(), out["shade_fine"].tanh()
        folds = torch.zeros_like(masks[:, :2])
        if joints is not None:
            belief = believed(rgb, old)
            folds = creases(rgb, old, belief)
            shade, fine = F.avg_pool2d(belief, 2) * shade, belief * fine
        gain, fine = beyond_old(
            shade, fine, old.detach(), lower.detach(), arms.detach(), sleeves.detach(),
            photo=joints is not None,
        )  # fmt: skip
        shade = cloth_shade = self._gain(gain, fine)
        if joints is not None:
            # By the network's own mask, not by what was made likelier since.
            drawn = out["mask_packed"].sigmoid().mean(1, keepdim=True)
            drawn = drawn * F.avg_pool2d(out["covered"], 2)
            gain, fine = cloth_beside_skin(gain, fine, old, as_skin * (1 - drawn))
            cloth_shade = self._gain(gain, fine)
            even = one_tone(luma, old)
            light, read = read_off(luma, old, arms, even)
            cloth_shade = led_by(cloth_shade, light, read, old)
        cloth_shade = cloth_shade * (1 - out["fold"])
        strength, colour = restyle
        inside = garment_mask.float().reshape(-1, NET_HEIGHT * NET_WIDTH, 1)
        mean = (garment_rgb.float().flatten(2) @ inside)[..., 0] / inside.sum(1).clamp(min=1.0)
        # Bare skin has the light's shape too: without it an arm is a flat cut-out.
        covers = masks[:, :1] * out["covered"]
        keep, bare = masks[:, 1:2], masks[:, 2:]
        line = torch.zeros_like(skin)
        if joints is not None:
            carried = share_of(classes, constant(_CARRIED.to(classes.device)))
            where, inside_hair, line = strands(
                hair, old, face + arms + carried, colours[:, _HAIR_PAINT], luma,
                F.avg_pool2d(out["covered"], 2), even,
            )  # fmt: skip
            where, inside_hair = up2(torch.cat([where, inside_hair], 1)).split(1, 1)
            covers = torch.maximum(covers, where * out["covered"])
            keep = torch.maximum(keep, torch.maximum(where, inside_hair))
        relief = torch.ones(1, 1, NET_HEIGHT, NET_WIDTH, device=skin.device)
        shape = rounded(bare, sleeves)
        if on_arms is not None:
            free = 1 - F.avg_pool2d(covers, 2)
            fresh = free * F.avg_pool2d(bare * (1 - keep), 2)
            drawn = torch.maximum(fresh, free * arms * kept.mean(1, keepdim=True))
            outline = outlines(on_arms, drawn, fresh)
            keep = keep * (1 - outline.rest * up2((4 * arms - 1).clamp(0, 1)))
            # Beside a sleeve that hides its arm nothing is bare.
            shaped = outline.near * (1 - up2(out["sleeved"].amax(1, keepdim=True)))
            bare = bare + shaped * (outline.inside - bare)
            arm, relief = self.relief(on_arms, outline)
            shape = shape + arm * (1 - shape)
        return Maps(
            garment=covers,
            keep=keep,
            bare=bare,
            flow=out["flow_2"],
            skin=lit(skin, shade * shape),
            relief=relief.expand_as(covers),
            paint=painted,
            shade=cloth_shade,
            strength=strength,
            colour=colour,
            garment_mean=mean,
            creases=folds,
            strands=line,
        )

    @staticmethod
    def _gain(shade: Tensor, fine: Tensor) -> Tensor:
        """(N, 3, H/2, W/2) of log gains as `predict` has them, limited to -1..1.

        Broad light within a factor of 1.5, its tint within a tenth: more is not the light. Folds,
        at twice the size, have another factor of 1.65.
        """
        level = shade.mean(1, keepdim=True)
        return up2((0.4 * level + 0.1 * (shade - level)).exp()) * (0.5 * fine).exp()

    def forward(
        self, window: Tensor, placement: Tensor, view: Tensor, landmarks: Tensor, heatmaps: Tensor,
        features_64: Tensor, features_32: Tensor, features_16: Tensor,
        garment_4: Tensor, garment_8: Tensor, garment_16: Tensor, garment_32: Tensor,
        garment_landmarks: Tensor, garment_mask: Tensor, z_image: Tensor, z_text: Tensor,
        styling: Tensor, condition: Tensor, garment_net: Tensor, canvas: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """Contract tensors of the served model `generator`."""
        # Bytes are made floats before anything else: TensorRT takes no uint8 but into a Cast.
        rgb = centre(view.float().permute(0, 3, 1, 2)) / 255
        pose = {"heatmaps": centre(heatmaps).float(), "features_64": centre(features_64).float(),
                "features_32": centre(features_32).float(),
                "features_16": centre(features_16).float()}  # fmt: skip
        own_mask = garment_mask.float()
        garment = {
            "garment_4": garment_4.float(), "garment_8": garment_8.float(),
            "garment_16": garment_16.float(), "garment_32": garment_32.float(),
            "landmarks": garment_landmarks[..., :2], "visible_share": garment_landmarks[..., 2],
            "mask_share": own_mask,
        }  # fmt: skip
        small = garment_net.float().permute(0, 3, 1, 2) / 255
        z = self.fusion(z_image, z_text, condition)
        out = self.predict(rgb, pose, garment, z, condition, styling, small, joints=landmarks)
        restyle = self.fusion.recolour(z_image, z_text, condition)
        # The canvas's alpha ends the garment at its own pixels; its mask, as coarse as the view,
        # would round off the corners of cuffs and hems.
        out["covered"] = (_REACH * out["covered"]).clamp(max=1)
        maps = self.maps(out, rgb, restyle, small, own_mask, condition, landmarks)
        if self.bounded:
            corners, placement = changed_box(maps, placement, window)
            part = window[:, corners[1] : corners[3], corners[0] : corners[2]]
        else:
            part, size = window, torch._shape_as_tensor(window)
            corners = torch.cat([torch.zeros(2, dtype=torch.int64), size[2:3], size[1:2]])
        photo = part.float().permute(0, 3, 1, 2)
        picture, mask = to_bytes(photo, layers(photo, placement, maps, canvas.float(), white=255.0))
        inner = corners.to(torch.int32).expand(window.shape[0], 4)
        score = out["confidence"].sigmoid() * landmarks[:, 11:25, 3].mean(1, keepdim=True)
        return picture, mask, inner, score
