"""The networks' closed-form parts: transforms, composite, recolouring, inpainting, patterns."""

from __future__ import annotations

import math

import pytest
import torch

from tryon.contract import LANDMARKS, NET_HEIGHT, NET_WIDTH, PARSE
from tryon.models.blocks import Merge, grown, pixel_coordinates, shrunk, shuffled, up2, warp
from tryon.models.composite import (
    Maps,
    changed_box,
    composite,
    enlarge,
    layers,
    lit,
    recolour,
    to_bytes,
)
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
from tryon.models.image_encoder import whole
from tryon.models.inpaint import PAINT, class_colours, class_index, mirrored
from tryon.models.patterns import PATTERNS, pattern_bank


def test_warp_repeats_the_edge() -> None:
    torch.manual_seed(0)
    image, flow = torch.rand(1, 2, 24, 18), torch.rand(1, 2, 30, 20) * 2 - 0.5
    grid = flow.permute(0, 2, 3, 1) * 2 - 1
    expected = torch.nn.functional.grid_sample(
        image, grid, padding_mode="border", align_corners=False
    )
    assert (flow < 0).any() and (flow > 1).any()
    assert torch.allclose(warp(image, flow), expected, atol=1e-5)


def test_shuffled_is_a_pixel_shuffle() -> None:
    packed = torch.rand(2, 12, 5, 7)
    assert torch.equal(shuffled(packed), torch.nn.functional.pixel_shuffle(packed, 2))


def test_light_darkens_as_a_product_and_never_blows_out() -> None:
    cloth = torch.tensor([0.05, 0.3, 0.7, 0.95, 1.0]).reshape(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert torch.allclose(lit(cloth, torch.full_like(cloth, 0.6)), 0.6 * cloth)
    assert torch.allclose(lit(cloth, torch.ones_like(cloth)), cloth)
    bright = lit(cloth, torch.full_like(cloth, 1.5))[0, 0, 0]
    assert (bright[1:] > bright[:-1]).all(), "what was lighter stays lighter: folds are kept"
    assert (bright <= 1).all() and torch.isclose(bright[0], torch.tensor(0.075), rtol=0.02)


@pytest.mark.parametrize("seed", range(6))
def test_the_box_of_change_gives_the_whole_windows_picture(seed: int) -> None:
    """Blobs anywhere, nothing at all, or all of it: composing the box alone loses nothing."""
    torch.manual_seed(seed)
    n, h, w = 2, 150, 110
    y, x = pixel_coordinates(NET_HEIGHT, NET_WIDTH, torch.zeros(1))[0].flip(0)
    place, size = torch.rand(n, 2, 1, 1), torch.rand(n, 1, 1) * 0.2
    blob = ((size - torch.hypot(y - place[:, 0], x - place[:, 1])) * 20).sigmoid()[:, None]
    garment, keep = {4: (0 * blob, 0 * blob + 1), 5: (0 * blob + 1, 0 * blob)}.get(
        seed, (blob, 1 - blob.flip(3))
    )
    half = (NET_HEIGHT // 2, NET_WIDTH // 2)
    maps = Maps(
        garment, keep, keep.flip(2), torch.rand(n, 2, *half), torch.rand(n, 3, *half),
        torch.rand(n, 1, *garment.shape[2:]) + 0.5, torch.rand(n, 3, *garment.shape[2:]),
        torch.rand(n, 3, *half) + 0.5, torch.zeros(n, 1), torch.zeros(n, 3), torch.zeros(n, 3),
        torch.rand(n, 2, *garment.shape[2:]), torch.rand(n, 3, *half) * 0.5,
    )  # fmt: skip
    window = torch.randint(0, 256, (n, h, w, 3), dtype=torch.uint8)
    placement = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.1, -0.05, 0.9, 1.02]])
    canvas = torch.rand(n, 4, 64, 48) * 255

    def drawn(part: torch.Tensor, where: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        photo = part.float().permute(0, 3, 1, 2)
        return to_bytes(photo, layers(photo, where, maps, canvas, white=255.0))

    whole = drawn(window, placement)
    corners, where = changed_box(maps, placement, window)
    left, top, right, bottom = corners.tolist()
    part = window[:, top:bottom, left:right]
    found = (window.clone(), torch.zeros(n, h, w, dtype=torch.uint8))
    for all_of_it, patch in zip(found, drawn(part, where), strict=True):
        all_of_it[:, top:bottom, left:right] = patch
    for a, b in zip(found, whole, strict=True):
        off = (a.int() - b.int()).abs()
        assert a.shape == b.shape and off.max() <= 1 and (off > 0).float().mean() < 1e-3
    if seed >= 4:
        assert (right - left) * (bottom - top) == {4: 1, 5: h * w}[seed]
    else:
        assert (whole[1] > 0).any()


def test_the_box_of_change_is_the_least() -> None:
    """Of two pictures with a patch each: around both, and three pixels, which masks are carried."""
    garment = torch.zeros(2, 1, NET_HEIGHT, NET_WIDTH)
    garment[0, :, 40:60, 30:50] = 1
    garment[1, :, 100:110, 45:90] = 1
    rest = torch.zeros(2, 3)
    maps = Maps(garment, torch.ones_like(garment), *(11 * [rest]))
    window = torch.zeros(2, NET_HEIGHT, NET_WIDTH, 3)
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(2, 4)
    corners, where = changed_box(maps, whole, window)
    assert (corners - torch.tensor([27, 37, 93, 113])).abs().max() <= 1
    size = torch.tensor([NET_WIDTH, NET_HEIGHT, NET_WIDTH, NET_HEIGHT])
    assert torch.allclose(where * size, corners.float().expand(2, 4), atol=1e-3)


def test_small_holes_of_a_garment_are_filled_and_outlines_stay() -> None:
    mask = torch.zeros(1, 1, 256, 192)
    mask[..., 40:220, 40:150] = 1  # a body
    mask[..., 40:200, 158:176] = 1  # a sleeve beside it, 8 pixels away
    holed = mask.clone()
    holed[..., 100:107, 80:90] = 0.1
    holed[..., 204:209, 60:70] = 0.1  # near the hem
    filled = whole(holed)
    assert filled[..., 100:107, 80:90].min() > 0.9 and filled[..., 204:209, 60:70].min() > 0.9
    # Beside it at most the corners are rounded.
    assert (filled - mask).clamp(min=0).sum() < 40
    assert (filled - mask)[..., 60:190, 150:158].max() < 0.3, "the gap stays"
    assert (whole(torch.zeros_like(mask)) == 0).all() and (whole(mask) >= mask).all()


@pytest.mark.parametrize("side", [3, 5, 9, 15])
def test_squares_are_grown_and_shrunk_by_rows_and_columns(side: int) -> None:
    x = torch.rand(2, 3, 20, 14)
    whole = torch.nn.functional.max_pool2d(x, side, 1, side // 2)
    assert torch.equal(grown(x, side), whole)
    assert torch.equal(shrunk(-x, side), -whole)


def test_warp_with_own_coordinates_is_the_identity() -> None:
    image = torch.rand(2, 3, 24, 18)
    flow = pixel_coordinates(24, 18, image).expand(2, -1, -1, -1)
    assert torch.allclose(warp(image, flow), image, atol=1e-5)


def test_parts_recover_a_similarity_of_all_landmarks() -> None:
    torch.manual_seed(0)
    person = torch.rand(1, len(LANDMARKS), 2) * 0.6 + 0.2
    angle, scale = 0.3, 1.2
    unit = torch.tensor([NET_WIDTH / NET_HEIGHT, 1.0])
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    turn = torch.tensor([[cos, -sin], [sin, cos]])
    garment = ((person * unit) @ turn.T + 0.05) / unit
    pixels = pixel_coordinates(32, 24, person)
    flows, near = PartTransforms()(person, garment, torch.ones(1, len(LANDMARKS)), pixels)
    expected = ((pixels[0].permute(1, 2, 0) * unit) @ turn.T + 0.05) / unit
    assert flows.shape == (1, len(PARTS), 2, 32, 24)
    error = (flows[0].permute(0, 2, 3, 1) - expected).abs().max()
    assert error < 0.03, f"a similarity should come back whole, off by {error:.3f}"
    assert near.shape == (1, len(PARTS), 32, 24)


def test_a_part_without_landmarks_follows_the_garment_as_a_whole() -> None:
    torch.manual_seed(0)
    person = torch.rand(1, len(LANDMARKS), 2)
    visible = torch.zeros(1, len(LANDMARKS))
    for name in PARTS["torso_upper"]:
        visible[0, LANDMARKS.index(name)] = 1
    flows, near = PartTransforms()(person, person, visible, pixel_coordinates(16, 12, person))
    assert torch.isfinite(flows).all()
    legs = list(PARTS).index("leg_lower_left")
    torso = list(PARTS).index("torso_upper")
    assert near[0, legs].max() < near[0, torso].max() - 2


def test_transforms_keep_their_precision_under_autocast() -> None:
    place, pixels = torch.rand(2, 23, 2), pixel_coordinates(32, 24, torch.zeros(1))
    seen = torch.ones(2, 23)
    exact, near = PartTransforms()(place, place.flip(0), seen, pixels)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, near_mixed = PartTransforms()(place, place.flip(0), seen, pixels)
    assert torch.equal(exact, mixed) and torch.equal(near, near_mixed)


def test_styled_landmarks_follow_the_pose_and_stay_without_styling() -> None:
    styled = StyledLandmarks()
    marks, visible = torch.rand(2, len(LANDMARKS), 2), torch.ones(2, len(LANDMARKS))
    rolled = torch.tensor([[0.0, 1.0, 0.0, 0.0]]).expand(2, -1)
    assert torch.equal(styled(marks, visible, rolled), marks), "nothing is learned yet"
    cuff, elbow = LANDMARKS.index("cuff_left"), LANDMARKS.index("elbow_left")
    with torch.no_grad():
        styled.pull[1, cuff, elbow] = 0.5
    moved = styled(marks, visible, rolled)
    assert torch.allclose(moved[:, cuff], (marks[:, cuff] + marks[:, elbow]) / 2, atol=1e-6)
    others = [k for k in range(len(LANDMARKS)) if k != cuff]
    assert torch.equal(moved[:, others], marks[:, others])
    assert torch.equal(styled(marks, visible, 0 * rolled), marks)
    short = visible.clone()
    short[:, elbow] = 0  # a garment without elbows: nothing to go to
    assert torch.equal(styled(marks, short, rolled), marks)
    # Turned and enlarged, the person's landmarks take the garment's along.
    with torch.no_grad():
        styled.pull.normal_()
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]]) * 1.5
    there = styled(marks @ turn + 0.1, visible, rolled)
    assert torch.allclose(there, styled(marks, visible, rolled) @ turn + 0.1, atol=1e-4)


def test_rolled_sleeves_end_below_the_elbow_and_the_body_stays() -> None:
    here = torch.full((1, len(LANDMARKS), 2), 0.5)
    there = here.clone()
    for name, x, y in (("elbow_left", 0.8, 0.5), ("cuff_left", 0.8, 0.8),
                       ("elbow_right", 0.2, 0.5), ("cuff_right", 0.2, 0.8)):  # fmt: skip
        here[0, LANDMARKS.index(name)] = torch.tensor([x, y])
        # In its own picture the sleeves are spread.
        out = 0.15 if x > 0.5 else -0.15
        there[0, LANDMARKS.index(name)] = torch.tensor([x + out * (y - 0.5) / 0.3, y - 0.1])
    visible = torch.ones(1, len(LANDMARKS))
    rolled, none = torch.tensor([[0.0, 1, 0, 0]]), torch.zeros(1, 4)
    pixels = pixel_coordinates(128, 96, here)
    flow = pixels.clone()
    arm = (pixels[:, :1] - 0.5).abs() > 0.2
    sleeve = torch.sign(pixels[:, 0] - 0.5) * 0.15 * ((pixels[:, 1] - 0.5) / 0.3)
    flow[:, 0] += torch.where(arm[:, 0], sleeve, 0)
    flow[:, 1] -= torch.where(arm[:, 0], 0.1, 0.0)
    ends = RolledSleeves()
    silent, *flat = ends(here, there, visible, none, pixels, flow)
    assert torch.equal(silent, torch.ones(1, 1, 128, 96))
    assert all(torch.equal(part, 1 - silent) for part in flat)
    left, fold, sure = (part[0, 0] for part in ends(here, there, visible, rolled, pixels, flow))
    column = sure[:, int(0.2 * 96)]
    assert column[int(0.48 * 128)] > 0.8 and column[: int(0.3 * 128)].max() < 0.05
    assert column[int(0.65 * 128) :].max() < 0.05 and sure[:, 40:56].max() < 0.05
    lines = (fold[:, int(0.2 * 96)] > 0.1).nonzero()[:, 0] / 128
    assert len(lines) and 0.4 < lines.min() < 0.48 and 0.5 < lines.max() < 0.58
    assert fold[:, 36:60].max() < 0.03 and fold[int(0.35 * 128)].max() < 0.03

    def at(x: float, y: float) -> float:
        return float(left[int(y * 128), int(x * 96)])

    for x in (0.2, 0.8):
        assert at(x, 0.45) > 0.98 and at(x, 0.52) > 0.9, "down to the elbow it is there"
        assert at(x, 0.6) < 0.05 and at(x, 0.78) < 0.02 and at(x, 0.9) < 0.02
    assert left[:, 36:60].min() > 0.9, "the body beside the arms stays"
    short = visible.clone()
    short[:, LANDMARKS.index("elbow_left")] = 0
    left = ends(here, there, short, rolled, pixels, flow)[0][0, 0]
    assert at(0.8, 0.7) == 1 and at(0.2, 0.7) < 0.02


def test_an_open_front_shows_what_was_worn_before_and_nothing_else_changes() -> None:
    """A garment laid a tenth higher in its picture than on the person, its line leaning."""
    there = torch.zeros(1, len(LANDMARKS), 2)
    there[0, LANDMARKS.index("neck_left")] = torch.tensor([0.55, 0.15])
    there[0, LANDMARKS.index("neck_right")] = torch.tensor([0.35, 0.15])
    there[0, LANDMARKS.index("waist_left")] = torch.tensor([0.8, 0.5])
    there[0, LANDMARKS.index("waist_right")] = torch.tensor([0.2, 0.5])
    there[0, LANDMARKS.index("hem_front")] = torch.tensor([0.55, 0.75])
    visible = torch.ones(1, len(LANDMARKS))
    asked, none = torch.tensor([[0.0, 0, 1, 0]]), torch.zeros(1, 4)
    flow = pixel_coordinates(128, 96, there).clone()
    flow[:, 1] -= 0.1
    front = OpenFront()
    nothing = torch.zeros(1, 1, 128, 96)
    for seen, how in ((visible, none), (0 * visible, asked)):
        silent = front(there, seen, how, flow, nothing)
        assert all(torch.equal(part, nothing) for part in silent)
    arm = torch.zeros(1, 1, 128, 96)
    arm[..., :40] = 1
    opened, stays, apart = (part[0, 0] for part in front(there, visible, asked, flow, arm))
    assert (apart[:, :40] == 0).all() and (apart + opened).max() < 1.01
    assert apart[77, int(0.68 * 96)] > 0.9 and apart[77, int(0.97 * 96)] < 0.05
    assert (stays >= opened - 1e-6).all()

    def width(part: torch.Tensor, y: float) -> float:
        return float((part[int((y + 0.1) * 128)] > 0.5).float().mean())

    # Along the garment's own line, three times as wide at the hem as at the neck.
    assert opened[int(0.3 * 128), int(0.46 * 96)] > 0.9
    assert opened[int(0.8 * 128), int(0.54 * 96)] > 0.9
    assert opened[int(0.8 * 128), int(0.2 * 96)] < 0.01
    assert 2.2 < width(opened, 0.74) / width(opened, 0.16) < 3.8
    # In the collar, above the opening, what was worn before is seen from edge to edge.
    assert abs(width(stays, 0.16) - width(opened, 0.74)) < 0.04


def test_a_top_tucked_in_ends_in_a_straight_line_where_its_mask_does_on_the_whole() -> None:
    there = torch.zeros(1, len(LANDMARKS), 2)
    for name, place in {"neck_front": (0.5, 0.2), "hem_front": (0.5, 0.8), "waist_left": (0.7, 0.5),
                        "waist_right": (0.3, 0.5)}.items():  # fmt: skip
        there[0, LANDMARKS.index(name)] = torch.tensor(place)
    visible = torch.ones(1, len(LANDMARKS))
    flow = pixel_coordinates(128, 96, there).clone()
    x, y = flow[:, :1], flow[:, 1:]
    covered = ((y > 0.2) & (y < 0.8) & (x > 0.1) & (x < 0.9)).float()
    wave = 0.66 + 0.04 * (12 * x).sin()
    mask, front = (y < wave).float(), ((x - 0.5).abs() < 0.03).float() * (y > 0.6)
    mask = mask * (1 - front)
    hem = TuckedHem()

    def of(tucked: float) -> tuple[torch.Tensor, torch.Tensor]:
        styling = torch.tensor([[0.0, 0, 0, tucked]])
        return hem(there, visible, styling, flow, covered, mask, front)

    for silent in (0.0, -1.0):
        assert all(torch.equal(part, torch.zeros(1, 1, 128, 96)) for part in of(silent))
    gone, ahead = (part[0, 0] for part in of(1.0))
    left = (covered[0, 0] * (1 - gone) > 0.5) & (torch.maximum(mask[0, 0], ahead) > 0.5)
    ends = [
        int(left[:, c].nonzero().max()) for c in range(32, 64) if not front[0, 0, :, c].any()
    ]  # fmt: skip
    assert max(ends) - min(ends) <= 1, "a straight line, where the mask's edge has a wave"
    assert abs(sum(ends) / len(ends) / 128 - 0.66) < 0.02
    assert not left[90:, 46:50].any(), "what is in front of it stays"
    sleeve = int(0.15 * 96)
    assert torch.equal(left[:, sleeve], (covered * mask)[0, 0, :, sleeve] > 0.5)


def test_landmarks_may_lie_beyond_the_picture() -> None:
    vote = LandmarkVote(4)
    with torch.no_grad():
        vote.offset.weight.zero_()
        assert vote.offset.bias is not None
        vote.offset.bias.fill_(2.0)
    place, _, _ = vote(torch.rand(1, 4, 8, 6), pixel_coordinates(8, 6, torch.zeros(1)))
    assert (place > 1).all()


def test_what_is_seen_at_a_landmark_is_told_by_who_votes_for_it() -> None:
    turned = TurnedLandmarks(1)
    features, votes = torch.rand(1, 1, 4, 3), torch.zeros(1, len(LANDMARKS), 12)
    marks = (*torch.rand(2, 1, len(LANDMARKS), 2), torch.ones(1, len(LANDMARKS)))
    assert not turned(features, votes, *marks).any()
    with torch.no_grad():
        turned.offset.weight[0::2] = 1.0  # to the right, by the feature
    votes[:, 3, 7] = 40
    moved = turned(features, votes, *marks)
    assert torch.allclose(moved[0, 3, 0], features[0, 0, 2, 1], atol=1e-5)
    assert torch.allclose(moved[0, 4, 0], features.mean(), atol=1e-5)
    assert not moved[..., 1].any()


def test_what_is_seen_at_landmarks_is_told_by_how_they_lie() -> None:
    """A body that turns narrows: learned from places alone, wherever the person stands."""
    torch.manual_seed(0)
    turned, count = TurnedLandmarks(1), len(LANDMARKS)
    features, votes = torch.zeros(16, 1, 4, 3), torch.zeros(16, count, 12)
    there = torch.rand(count, 2).expand(16, -1, -1)
    narrow = torch.linspace(0.5, 1, 16)[:, None]
    here = there * torch.stack([narrow, torch.ones_like(narrow)], 2) * 0.4
    here = here.clone().requires_grad_()
    visible = torch.ones(16, count)
    visible[:, 5:] = 0
    truth = 0.1 * (1 - narrow)[:, :, None].expand(-1, count, 2)
    optimiser = torch.optim.AdamW(turned.layout.parameters(), 3e-3)
    for _ in range(150):
        loss = (turned(features, votes, here, there, visible) - truth).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert here.grad is None, "they have a truth of their own"
    with torch.no_grad():
        learned = turned(features, votes, here, there, visible)
        assert (learned - truth).abs().mean() < 0.2 * truth.abs().mean()
        moved = turned(features, votes, here + 0.2, there, visible)
        assert torch.allclose(moved, learned, atol=2e-3), "where they stand tells nothing"
        hidden = here.clone()
        hidden[:, 5:] += 0.3
        assert torch.equal(turned(features, votes, hidden, there, visible), learned)


@pytest.mark.parametrize("training", [False, True])
def test_merging_by_source_equals_one_convolution_of_all(training: bool) -> None:
    torch.manual_seed(0)
    merge = Merge(16 + 5 + 13 + 3, 8).train(training)
    norm = merge[1]
    assert isinstance(norm, torch.nn.BatchNorm2d)
    torch.nn.init.uniform_(norm.weight, 0.5, 2)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    small, one, two, few = (torch.rand(2, c, h, h) for c, h in ((16, 4), (5, 8), (13, 8), (3, 8)))
    together = torch.cat([up2(small), one, two, few], 1)
    expected = torch.relu(norm(torch.nn.functional.conv2d(together, merge[0].weight)))
    assert torch.allclose(merge([[small], [one, two], [few]]), expected, atol=1e-5)


def _maps(garment: float, keep: float, n: int = 1, bare: float = 0.0) -> Maps:
    full = torch.ones(n, 1, NET_HEIGHT, NET_WIDTH)
    half = torch.ones(n, 3, NET_HEIGHT // 2, NET_WIDTH // 2)
    return Maps(
        garment=full * garment, keep=full * keep, bare=full * bare,
        skin=half * 0.75, relief=full,
        flow=pixel_coordinates(NET_HEIGHT // 2, NET_WIDTH // 2, full).expand(n, -1, -1, -1),
        paint=full.expand(-1, 3, -1, -1) * 0.25, shade=half, strength=torch.zeros(n, 1),
        colour=torch.zeros(n, 3), garment_mean=torch.full((n, 3), 0.5),
        creases=full.expand(-1, 2, -1, -1) * 0, strands=half * 0,
    )  # fmt: skip


@pytest.mark.parametrize("size", [(256, 192), (100, 333), (65, 64)])
def test_nothing_changed_leaves_every_byte(size: tuple[int, int]) -> None:
    window = torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8)
    rgb = window.permute(0, 3, 1, 2).float()
    placement = torch.tensor([[0.1, 0.0, 0.9, 1.0]])
    over = layers(rgb, placement, _maps(0.0, 1.0), torch.rand(1, 4, 64, 48) * 255)
    shown, share = to_bytes(rgb, over)
    assert torch.equal(shown, window)
    assert share.max() == 0


def test_garment_and_paint_replace_what_they_cover() -> None:
    window = torch.zeros(1, 3, 256, 192)
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    canvas = torch.rand(1, 4, 256, 192) * 255
    canvas[:, 3] = 255
    picture = composite(window, whole, _maps(1.0, 1.0), canvas)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))  # a flow of half size has a rim
    assert torch.allclose(picture[inner], canvas[:, :3][inner] / 255, atol=1e-3)
    over = layers(window, whole, _maps(1.0, 1.0), canvas)
    assert (over.alpha + over.repaint).min() == 1 and to_bytes(window, over)[1].min() == 255
    picture = composite(window, whole, _maps(0.0, 0.0), canvas)
    assert torch.allclose(picture, torch.full_like(picture, 0.25), atol=1e-4)
    picture = composite(window, whole, _maps(0.0, 0.0, bare=0.8), canvas)
    assert torch.allclose(picture, torch.full_like(picture, 0.75), atol=1e-4)


def test_bare_skin_has_an_edge_as_sharp_as_the_photo() -> None:
    """An arm before a wall at four times the network's size: the ramp is a few pixels wide."""
    maps = _maps(0.0, 0.0)
    bare = torch.zeros_like(maps.bare)
    bare[..., NET_WIDTH // 2 :] = 1
    window = torch.zeros(1, 3, 4 * NET_HEIGHT, 4 * NET_WIDTH)
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    row = composite(window, whole, maps._replace(bare=bare), torch.zeros(1, 4, 64, 48))[0, 0, 500]
    middle = 4 * NET_WIDTH // 2
    assert (row[: middle - 4] == 0.25).all() and (row[middle + 4 :] == 0.75).all()
    assert ((row > 0.26) & (row < 0.74)).sum() <= 4


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_the_photos_creases_are_those_of_the_garment(white: float) -> None:
    """A dark line on pale cloth, finer than the network's pixels; none where it isn't believed."""
    window = torch.full((1, 3, 4 * NET_HEIGHT, 4 * NET_WIDTH), 0.8)
    window[..., 400:402] = 0.76
    whole, canvas = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.full((1, 4, 64, 48), 127.5)
    canvas[:, 3] = 255
    maps = _maps(1.0, 1.0)
    believed = torch.cat([torch.full_like(maps.bare, 0.8), torch.ones_like(maps.bare)], 1)
    believed[:, 1, : NET_HEIGHT // 2] = 0
    cloth = layers(window * white, whole, maps._replace(creases=believed), canvas, white=white)
    row, other = cloth.cloth[0, 0, 900], cloth.cloth[0, 0, 100]
    assert row[400] == pytest.approx(0.5 * (1 - 0.04 / 0.85), abs=1e-3)
    assert row[300] == pytest.approx(0.5, abs=1e-3) and other[400] == pytest.approx(0.5, abs=1e-3)


def test_transparent_canvas_shows_what_is_beneath() -> None:
    window = torch.rand(1, 3, 64, 48)
    canvas = torch.rand(1, 4, 64, 48) * 255
    canvas[:, 3] = 0
    where = torch.tensor([[0.0, 0, 1, 1]])
    assert torch.equal(composite(window, where, _maps(1.0, 1.0), canvas), window)
    over = layers(window, where, _maps(1.0, 1.0), canvas)
    assert (over.alpha + over.repaint).max() == 0 and to_bytes(window, over)[1].max() == 0


@pytest.mark.parametrize("box", [(0.0, 0.0, 1.0, 1.0), (0.2, 0.1, 0.7, 0.95)])
def test_enlarging_equals_sampling_at_a_grid(box: tuple[float, float, float, float]) -> None:
    maps, window = torch.rand(2, 5, 32, 24), torch.zeros(2, 3, 75, 50)
    placement = torch.tensor([box, (0.0, 0.0, 1.0, 1.0)])
    own = pixel_coordinates(75, 50, window)
    low, high = placement[:, :2, None, None], placement[:, 2:, None, None]
    expected = warp(maps, low + own * (high - low))
    assert torch.allclose(enlarge(maps, placement, window), expected, atol=1e-4)


def test_recolour_moves_the_mean_and_strength_zero_moves_nothing() -> None:
    cloth = torch.rand(1, 3, 16, 16) * 0.2 + 0.4
    mean = cloth.mean((2, 3))
    red = torch.tensor([[0.8, 0.1, 0.1]])
    out = recolour(cloth, torch.ones(1, 1), red, mean)
    assert (out.mean((2, 3)) - red).abs().max() < 0.08
    assert torch.equal(recolour(cloth, torch.zeros(1, 1), red, mean), cloth)


def test_uncovered_skin_takes_the_persons_own_colour() -> None:
    rgb = torch.zeros(1, 3, 256, 192)
    rgb[:, 0, :, :96] = 0.8  # the left half is red skin, the right half black background
    parse = torch.zeros(1, len(PARSE), 128, 96)
    parse[:, PARSE.index("arm_left"), :, :48] = 1
    parse[:, PARSE.index("background"), :, 48:] = 1
    colours = class_colours(rgb, parse)
    skin = list(PAINT).index("skin")
    assert colours.shape == (1, len(PAINT), 3, 64, 48)
    assert (colours[0, skin, 0] - 0.8).abs().max() < 0.1, "skin colour should spread everywhere"
    background = list(PAINT).index("background")
    assert colours[0, background, 0, :, 32:].max() < 0.1


def test_an_arms_colour_is_a_hands_where_one_is_seen() -> None:
    """A face, with its beard and its light, has little say then; alone it has all of it."""
    rgb = torch.zeros(1, 3, 256, 192)
    parse = torch.zeros(1, len(PARSE), 128, 96)
    parse[:, PARSE.index("background")] = 1
    skin = list(PAINT).index("skin")

    def seen(name: str, rows: slice, level: float) -> None:
        parse[:, :, rows, 40:60] = 0
        parse[:, PARSE.index(name), rows, 40:60] = 1
        rgb[:, :, 2 * rows.start : 2 * rows.stop, 80:120] = level

    seen("face_neck", slice(10, 30), 0.3)
    between = class_colours(rgb, parse)[0, skin, :, 30, 25]
    assert (between - 0.3).abs().max() < 0.02
    seen("arm_left", slice(100, 112), 0.7)
    between = class_colours(rgb, parse)[0, skin, :, 30, 25]
    assert (between > 0.55).all(), "halfway between them it is nearly the hand's"
    assert (class_colours(rgb, parse)[0, skin, :, 10, 25] < 0.4).all(), "a throat is the face's"


@pytest.mark.parametrize("edge", range(66, 129, 6))
def test_texture_goes_on_beyond_an_edge_wherever_that_is(edge: int) -> None:
    """Left of a hole: within it each pixel shows about what lies as far left of its edge."""
    pixels = pixel_coordinates(256, 192, torch.zeros(1))
    rgb = pixels[:, :1].repeat(1, 3, 1, 1)  # its column, in place of a colour
    weight = torch.full((1, 1, 128, 96), 1e-6)
    weight[..., : edge // 2] = 1
    shares = torch.ones_like(weight)
    found, own = mirrored(rgb, weight, shares, pixels)
    columns = torch.arange(edge, edge + 24)
    row = found[0, 0, 128, columns] * 192
    assert (row - (2 * edge - (columns + 0.5))).abs().max() < 6
    falls = (row[2] - row[20]) / 18
    assert 0.6 < falls < 1.3 and own[0, 0, 128, columns].min() > 0.9


def test_texture_goes_on_along_its_stripes_and_for_whom_it_is_asked() -> None:
    stripes = 0.5 + 0.4 * torch.sin(torch.arange(256.0) * 2 * math.pi / 24)
    rgb = stripes[None, None, :, None].repeat(1, 3, 1, 192)
    rgb[..., 100:] = 0
    weight = torch.full((1, 1, 128, 96), 1e-6)
    weight[..., :50] = 1
    shares, pixels = torch.ones_like(weight), pixel_coordinates(256, 192, rgb)
    alone = mirrored(rgb, weight, shares, pixels)[0]
    near = (slice(None), slice(None), slice(96, -96), slice(104, 116))
    assert (alone[near] - rgb[..., :1][near[:3]]).abs().mean() < 0.03
    both, one = torch.cat([weight, weight.flip(3)], 1), torch.cat([shares, 0 * shares], 1)
    assert torch.equal(mirrored(rgb, both, one, pixels)[0], alone)
    nowhere = mirrored(rgb, torch.full_like(weight, 1e-6), shares, pixels)
    assert torch.isfinite(nowhere[0]).all() and nowhere[1].max() < 1e-3


def test_every_parse_class_but_dress_has_a_paint() -> None:
    missing = [n for n, i in zip(PARSE, class_index().tolist(), strict=True) if i < 0]
    assert missing == ["dress"]


def test_patterns_differ_from_each_other() -> None:
    bank = pattern_bank(128, 96)
    assert bank.shape == (len(PATTERNS), 128, 96)
    assert bank.min() >= -1e-6 and bank.max() <= 1 + 1e-6
    assert bank[0].max() == 0
    for i in range(len(PATTERNS)):
        for j in range(i):
            assert (bank[i] - bank[j]).abs().mean() > 0.005


def test_the_weights_hold_a_drawing_of_every_garment_that_words_can_name():
    from tryon.models.shapes import SHAPES
    from tryon.models.system import load_models

    painter = load_models()["text_encoder"].painter
    covered = (painter.shapes > 128).float().mean((1, 2))
    assert len(covered) == len(SHAPES)
    assert (covered > 0.1).all() and (covered < 0.9).all()
