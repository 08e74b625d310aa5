"""The networks, with their weights: what they answer does not hang on how it is reckoned."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from export.parity import laid
from export.samples import samples
from export.trace import trace
from training.listen import listening
from tryon.assets import asset_path
from tryon.contract import CATEGORIES, LANDMARKS, NET_HEIGHT, NET_WIDTH, PARSE, model
from tryon.models.blocks import pixel_coordinates
from tryon.models.generator import _GONE, Generator, near_old, old_share
from tryon.models.geometry import PARTS
from tryon.models.inpaint import PAINT, class_colours
from tryon.models.light import believed, beyond_old, rounded
from tryon.models.text_encoder import TextEncoder
from tryon.models.zones import neckline, waist_and_hem
from tryon.pipeline import TryOn, TryOnPipeline

SAMPLE = next(sample for sample in samples() if sample.name == "photo, upper")
HALF = (NET_HEIGHT // 2, NET_WIDTH // 2)


@pytest.fixture(scope="module")
def pipeline() -> TryOnPipeline:
    return TryOnPipeline()


@pytest.fixture(scope="module")
def generator(pipeline: TryOnPipeline) -> Generator:
    found = pipeline.models["generator"]
    assert isinstance(found, Generator)
    return found


@pytest.fixture(scope="module", params=[True, False], ids=["garment", "words alone"])
def request_of(request: pytest.FixtureRequest, pipeline: TryOnPipeline) -> TryOn:
    garment = SAMPLE.garment if request.param else None
    return pipeline(SAMPLE.person, garment, "a red striped t-shirt", "upper")


WISHES = {
    "": [0, 0, 0, 0], "in dark green": [0, 0, 0, 0], "a red striped t-shirt": [0, 0, 0, 0],
    "show me this one": [0, 0, 0, 0], "tucked in": [0, 0, 0, 1], "worn untucked": [0, 0, 0, -1],
    "sleeves rolled up": [0, 1, 0, 0], "worn open": [0, 0, 1, 0],
    "two sizes larger": [2, 0, 0, 0], "three sizes larger": [3, 0, 0, 0],
    "one size larger": [1, 0, 0, 0], "one size smaller": [-1, 0, 0, 0],
    "two sizes smaller": [-2, 0, 0, 0], "in red, two sizes larger": [2, 0, 0, 0],
    "two sizes larger, tucked in": [2, 0, 0, 1], "a blue shirt, sleeves rolled up": [0, 1, 0, 0],
}  # fmt: skip


@pytest.mark.parametrize("words", WISHES)
def test_words_say_how_a_garment_is_worn(pipeline: TryOnPipeline, words: str) -> None:
    ids, seen = pipeline.tokenizer(words)
    condition = np.array([1, 0, 0, 1, bool(words)], np.float32)
    tensors = {"input_ids": ids, "attention_mask": seen, "condition": condition}
    batch = {name: value[None] for name, value in tensors.items()}
    assert pipeline.network("text_encoder", batch)["styling"][0].tolist() == WISHES[words]


def answers(pipeline: TryOnPipeline, name: str, tensors: dict[str, np.ndarray]) -> dict:
    return laid(pipeline.network(name, tensors), tensors)


def test_engines_get_the_same_picture(
    pipeline: TryOnPipeline, request_of: TryOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced for a GPU, E^T always draws and G composes its whole window."""
    tensors = request_of.tensors
    ours = answers(pipeline, "generator", tensors)
    drawn = pipeline.network("text_encoder", tensors)["painted"]
    given = bool(tensors["condition"][0, 3])
    assert drawn.shape == ((1, 1, 1, 4) if given else (1, NET_HEIGHT, NET_WIDTH, 4))
    monkeypatch.setattr(Generator, "bounded", False)
    monkeypatch.setattr(TextEncoder, "bounded", False)
    box = pipeline.network("generator", tensors)["patch_box"]
    height, width = tensors["window"].shape[1:3]
    np.testing.assert_array_equal(box, [[0, 0, width, height]])
    theirs = answers(pipeline, "generator", tensors)
    for key, one in ours.items():
        off = np.abs(one.astype(float) - theirs[key].astype(float))
        assert off.max() <= 1 and (off > 0).mean() < 1e-3, key
    whole = pipeline.network("text_encoder", tensors)["painted"]
    assert whole.shape == (1, NET_HEIGHT, NET_WIDTH, 4)
    np.testing.assert_array_equal(whole[:, : drawn.shape[1], : drawn.shape[2]], drawn)


def test_engines_get_bytes_that_are_cast_first(
    pipeline: TryOnPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT takes a uint8 input into a Cast and nowhere else."""
    tensors = pipeline(SAMPLE.person, SAMPLE.garment).tensors
    monkeypatch.setattr(Generator, "bounded", False)
    for name in ("image_encoder", "generator"):
        served = model(name)
        trace(served, pipeline.models[name], tensors, tmp_path / "net.onnx")
        graph = onnx.load(str(tmp_path / "net.onnx")).graph
        for tensor in (t for t in served.inputs if t.dtype == "uint8"):
            takers = {node.op_type for node in graph.node if tensor.name in node.input}
            assert takers <= {"Cast", "Shape"}, f"{name}: {tensor.name} goes into {takers}"


def test_masks_and_odds_are_what_the_heads_say(generator: Generator) -> None:
    torch.manual_seed(0)
    n = 2
    mask, odds = torch.randn(n, 4, *HALF), torch.randn(n, 4 * len(PAINT), *HALF) * 3
    inside = torch.zeros(n, 1, NET_HEIGHT, NET_WIDTH)
    inside[:, :, 40:120, 30:90] = 1
    rgb = torch.rand(n, 3, NET_HEIGHT, NET_WIDTH)
    out = {
        "mask_packed": mask, "beneath_packed": odds, "covered": torch.rand_like(inside),
        "parse": torch.randn(n, len(PARSE), *HALF), "flow_2": torch.rand(n, 2, *HALF),
        "landmarks": torch.rand(n, len(LANDMARKS), 2),
        "shade": torch.zeros(n, 3, NET_HEIGHT // 4, NET_WIDTH // 4),
        "parts": torch.rand(n, len(PARTS), NET_HEIGHT // 8, NET_WIDTH // 8),
        "shade_fine": torch.zeros(n, 1, *HALF),
        **{name: torch.zeros(n, 1, *HALF) for name in ("fold", "stays", "ahead")},
    }  # fmt: skip
    none = (torch.zeros(n, 1), torch.zeros(n, 3))
    out["parse"][:, PARSE.index("upper")] = 40  # all of it is the old garment's
    upper = torch.tensor([[1.0, 0, 0, 1, 0]]).expand(n, 5)
    maps = generator.maps(out, torch.rand(n, 3, 256, 256), none, rgb, inside, upper)
    # What of the old garment isn't covered is painted over, unless the head is very sure.
    shares = F.pixel_shuffle(torch.cat([0 * odds[:, :4], odds + _GONE], 1), 2).softmax(1)
    assert torch.allclose(maps.keep, shares[:, :1], atol=1e-6)
    assert torch.allclose(
        maps.garment, F.pixel_shuffle(mask, 2).sigmoid() * out["covered"], atol=1e-6
    )
    assert torch.allclose(maps.garment_mean, rgb[:, :, 40:120, 30:90].mean((2, 3)), atol=1e-5)
    # How it is worn: what stays is kept, nothing is in front where it is ahead, a fold is darker.
    for name, rows in (("stays", slice(0, 30)), ("ahead", slice(30, 60)), ("fold", slice(60, 90))):
        out[name][:, :, rows] = 0.5 if name == "fold" else 1.0
    worn = generator.maps(out, torch.rand(n, 3, 256, 256), none, rgb, inside, upper)
    assert (worn.keep[:, :, :60] == 1).all()
    assert torch.equal(worn.keep[:, :, 60:], maps.keep[:, :, 60:])
    assert torch.allclose(worn.garment[:, :, 60:120], out["covered"][:, :, 60:120])
    assert torch.equal(worn.garment[:, :, 120:], maps.garment[:, :, 120:])
    assert torch.allclose(worn.shade[:, :, 60:90], 0.5 * maps.shade[:, :, 60:90])
    assert torch.equal(worn.shade[:, :, :60], maps.shade[:, :, :60])


def test_skin_is_painted_by_itself_and_alone_has_the_cloths_light(generator: Generator) -> None:
    """A bare arm before a wall; the wall's colours have their light already."""
    view = torch.zeros(1, 3, NET_HEIGHT, NET_WIDTH)
    view[:, 0, :, : NET_WIDTH // 2] = 0.8  # a red arm, left of a blue wall
    view[:, 2, :, NET_WIDTH // 2 :] = 0.8
    parse = torch.zeros(1, len(PARSE), *HALF)
    parse[:, PARSE.index("arm_left"), :, : HALF[1] // 2] = 20
    parse[:, PARSE.index("background"), :, HALF[1] // 2 :] = 20
    odds = torch.full((1, len(PAINT), 4, *HALF), -20.0)
    odds[:, list(PAINT).index("background")] = 5
    odds[:, list(PAINT).index("skin")] = 5 + math.log(3)
    out = {
        "mask_packed": torch.zeros(1, 4, *HALF), "covered": torch.zeros(1, 1, *view.shape[2:]),
        "beneath_packed": odds.flatten(1, 2), "parse": parse,
        "flow_2": torch.full((1, 2, *HALF), 0.5), "shade_fine": torch.zeros(1, 1, *HALF),
        "landmarks": torch.zeros(1, len(LANDMARKS), 2),
        "parts": torch.ones(1, len(PARTS), NET_HEIGHT // 8, NET_WIDTH // 8),
        "shade": torch.zeros(1, 3, NET_HEIGHT // 4, NET_WIDTH // 4),
        **{name: torch.zeros(1, 1, *HALF) for name in ("fold", "stays", "ahead")},
    }  # fmt: skip
    none, upper = (torch.zeros(1, 1), torch.zeros(1, 3)), torch.tensor([[1.0, 0, 0, 1, 0]])
    args = view, none, view, torch.ones_like(view[:, :1]), upper
    maps = generator.maps(out, *args)
    assert torch.allclose(maps.bare, torch.full_like(maps.bare, 0.75), atol=1e-4)
    # A quarter is wall: as at an arm's side.
    sleeves = 4 / len(PARTS)
    red = torch.tensor([0.8 * (1 + 0.12 * sleeves - 0.45 / 4), 0, 0])
    blue = torch.tensor([0, 0, 0.8])
    assert torch.allclose(maps.skin[0].flatten(1).mean(1), red, atol=0.01)
    assert torch.allclose(maps.paint[0].flatten(1).mean(1), blue, atol=0.01)
    out["shade"] = out["shade"] - 1.0
    dark = generator.maps(out, *args)
    assert torch.equal(dark.paint, maps.paint) and dark.skin.mean() < 0.9 * maps.skin.mean()


def test_arms_are_seen_below_sleeves_that_are_rolled_up(pipeline: TryOnPipeline) -> None:
    """A long sleeve hides its forearm, as it is worn."""
    person = np.asarray(Image.open(asset_path("openvto") / "people" / "1_posture.jpg"))
    shirt = np.asarray(Image.open(asset_path("openvto") / "clothes" / "shirts" / "1_front.jpg"))
    hidden = []
    for words in ("", "sleeves rolled up"):
        with listening(pipeline) as seen:
            pipeline(person, shirt, words, "upper")
        hidden.append(float(seen["sleeved"].mean()))
    assert hidden[0] > 0.01 and hidden[1] < 0.1 * hidden[0]


def test_served_nothing_is_before_what_surely_is_the_old_top(generator: Generator) -> None:
    """A doubtful mask gives way there, and there alone; what is taught is the mask itself."""
    view = torch.full((1, 3, NET_HEIGHT, NET_WIDTH), 0.5)
    view[:, 0, 60:200, 40:150] = 0.9
    parse = torch.zeros(1, len(PARSE), *HALF)
    parse[:, PARSE.index("background")] = 20
    parse[:, :, 30:100, 20:75] = 0
    parse[:, PARSE.index("upper"), 30:100, 20:75] = 20
    out = {
        "mask_packed": torch.full((1, 4, *HALF), -1.0), "covered": torch.ones_like(view[:, :1]),
        "beneath_packed": torch.zeros(1, 4 * len(PAINT), *HALF), "parse": parse,
        "flow_2": torch.full((1, 2, *HALF), 0.5), "shade_fine": torch.zeros(1, 1, *HALF),
        "landmarks": torch.zeros(1, len(LANDMARKS), 2),
        "parts": torch.ones(1, len(PARTS), NET_HEIGHT // 8, NET_WIDTH // 8),
        "shade": torch.zeros(1, 3, NET_HEIGHT // 4, NET_WIDTH // 4),
        **{name: torch.zeros(1, 1, *HALF) for name in ("fold", "stays", "ahead")},
        "sleeved": torch.zeros(1, 2, *HALF),
    }  # fmt: skip
    none, upper = (torch.zeros(1, 1), torch.zeros(1, 3)), torch.tensor([[1.0, 0, 0, 1, 0]])
    args = out, view, none, view, torch.ones_like(view[:, :1]), upper
    taught, served = generator.maps(*args), generator.maps(*args, torch.full((1, 39, 5), 0.5))
    torch.testing.assert_close(taught.garment, torch.full_like(view[:, :1], -1.0).sigmoid())
    assert served.garment[..., 80:180, 60:130].min() > 0.8
    assert (served.garment[..., :40, :] - taught.garment[..., :40, :]).abs().max() < 1e-6


def test_an_arm_beside_its_own_sleeve_is_painted_as_the_wall_and_no_other(
    generator: Generator,
) -> None:
    """However sure the network is of it, and whatever it would paint."""
    view = torch.full((1, 3, NET_HEIGHT, NET_WIDTH), 0.6)
    parse = torch.zeros(1, len(PARSE), *HALF)
    parse[:, PARSE.index("background")] = 20
    for name, columns, level in (
        ("arm_left", slice(60, 70), 0.3),
        ("arm_right", slice(20, 30), 0.3),
        ("upper", slice(36, 54), 0.9),
    ):
        parse[:, :, 30:100, columns] = 0
        parse[:, PARSE.index(name), 30:100, columns] = 20
        view[:, :, 60:200, 2 * columns.start : 2 * columns.stop] = level
    for logit in (-30.0, 0.0, 30.0):
        out = {
            "mask_packed": torch.full((1, 4, *HALF), -9.0), "covered": torch.ones_like(view[:, :1]),
            "beneath_packed": torch.full((1, 4 * len(PAINT), *HALF), logit), "parse": parse,
            "flow_2": torch.full((1, 2, *HALF), 0.5), "shade_fine": torch.zeros(1, 1, *HALF),
            "landmarks": torch.zeros(1, len(LANDMARKS), 2), "sleeved": torch.zeros(1, 2, *HALF),
            "parts": torch.ones(1, len(PARTS), NET_HEIGHT // 8, NET_WIDTH // 8),
            "shade": torch.zeros(1, 3, NET_HEIGHT // 4, NET_WIDTH // 4),
            **{name: torch.zeros(1, 1, *HALF) for name in ("fold", "stays", "ahead")},
        }  # fmt: skip
        out["sleeved"][:, 0] = 1  # the left sleeve's own arm, wherever
        none, upper = (torch.zeros(1, 1), torch.zeros(1, 3)), torch.tensor([[1.0, 0, 0, 1, 0]])
        maps = generator.maps(
            out, view, none, view, torch.ones_like(view[:, :1]), upper,
            torch.full((1, 39, 5), 0.5),
        )  # fmt: skip
        assert all(part.isfinite().all() for part in maps)
        arm, other = np.s_[..., 100:160, 126:134], np.s_[..., 100:160, 44:56]
        assert maps.keep[arm].max() < 0.01 and maps.bare[arm].max() < 0.01
        assert (maps.paint[arm] - 0.6).abs().mean() < 0.02
        assert maps.keep[other].min() > 0.99, "the right arm is seen"


def test_a_waist_is_below_armpits_and_a_cropped_top_has_none() -> None:
    marks = torch.zeros(3, len(LANDMARKS), 2)
    for name, x, y in (("armpit_left", 0.7, 0.4), ("armpit_right", 0.3, 0.4),
                       ("hem_left", 0.72, 0.8), ("hem_right", 0.28, 0.8)):  # fmt: skip
        marks[:, LANDMARKS.index(name)] = torch.tensor([x, y])
    marks[1, LANDMARKS.index("hem_left"), 1] = marks[1, LANDMARKS.index("hem_right"), 1] = 0.55
    upper, lower = [1.0, 0, 0, 1, 0], [0, 1.0, 0, 1, 0]
    pixels = pixel_coordinates(*HALF, marks)
    waist = waist_and_hem(marks, torch.tensor([upper, upper, lower]), pixels)
    assert waist.shape == (3, 2, *HALF) and waist[1:].max() == 0
    for inside, first, last in zip(waist[0] > 0.5, (0.31, 0.29), (0.69, 0.71), strict=True):
        rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
        assert rows[0] / HALF[0] == pytest.approx(0.64, abs=0.03) and rows[-1] == HALF[0] - 1
        assert columns[0] / HALF[1] == pytest.approx(first, abs=0.015)
        assert columns[-1] / HALF[1] == pytest.approx(last, abs=0.015)


def test_a_neckline_begins_below_the_chin() -> None:
    pixels = pixel_coordinates(NET_HEIGHT // 2, NET_WIDTH // 2, torch.zeros(1))
    joints = torch.full((2, 39, 5), 0.5)
    marks = torch.full((2, len(LANDMARKS), 2), 0.5)
    joints[:, 0, 1], joints[:, 9:11, 1] = 0.2, 0.23
    joints[1, :, 1] += 0.3  # lower in the view, and so is all of it
    for name, place in {"left": (0.6, 0.33), "right": (0.4, 0.33), "front": (0.5, 0.4)}.items():
        index = LANDMARKS.index(f"neck_{name}")
        marks[0, index] = torch.tensor(place)
        marks[1, index] = torch.tensor(place) + torch.tensor([0.0, 0.3])
    top, trousers = (torch.eye(5)[[CATEGORIES.index(name)]] for name in ("upper", "lower"))
    zone = neckline(joints, marks, top.expand(2, -1), pixels)
    mixed = neckline(joints, marks, torch.cat([trousers, top]), pixels)
    assert mixed[0].max() == 0 and torch.equal(mixed[1], zone[1]), "trousers have no neck"
    assert zone.shape == (2, 1, NET_HEIGHT // 2, NET_WIDTH // 2)
    assert zone.min() >= 0 and zone.max() <= 1
    rows, columns = zone[0, 0].amax(1), zone[0, 0].amax(0)
    # The mouth is 3 hundredths below the nose: the chin has ended 6 to 7.5 below the mouth.
    seen = rows.nonzero()[[0, -1], 0] / (NET_HEIGHT // 2)
    assert 0.28 < seen[0] < 0.31 and 0.43 < seen[1] < 0.47
    seen = columns.nonzero()[[0, -1], 0] / (NET_WIDTH // 2)
    assert 0.33 < seen[0] < 0.37 and 0.63 < seen[1] < 0.67
    middle, row = NET_WIDTH // 4, int(0.35 * NET_HEIGHT // 2)
    assert zone[0, 0, row, middle] == 0, "the hole itself is none of it"
    assert zone[0, 0, row, [int(0.38 * NET_WIDTH // 2), int(0.62 * NET_WIDTH // 2)]].min() > 0.9
    assert zone[0, 0, int(0.42 * NET_HEIGHT // 2), middle] == 1, "the cloth below it is"
    assert torch.allclose(zone[0, 0, :-40], zone[1, 0, 38:-2], atol=0.35)
    faceless = neckline(torch.zeros(1, 39, 5), marks[:1], top, pixels)
    assert faceless.isfinite().all()


def test_a_bare_limb_is_darker_at_its_sides() -> None:
    bare = torch.zeros(1, 1, NET_HEIGHT, NET_WIDTH)
    bare[..., 80:110] = 1
    for arm, middle in ((1.0, 1.12), (0.0, 1.0)):
        row = rounded(bare, torch.full((1, 1, *HALF), arm))[0, 0, HALF[0] // 2, 40:55]
        assert row.shape == (15,) and torch.allclose(row[6:9], torch.full((3,), middle))
        assert (row[:3].diff() > 0).all() and torch.allclose(row, row.flip(0))
        assert 0.75 < row[0] / middle < 0.9


def test_trousers_drawing_is_no_light_on_the_top_over_them() -> None:
    """The old top's own light is led on; all else stays as it is."""
    top, trousers = torch.zeros(1, 1, *HALF), torch.zeros(1, 1, *HALF)
    top[:, :, :80], trousers[:, :, 80:] = 1, 1
    seams = torch.rand(1, 1, *HALF, generator=torch.Generator().manual_seed(3))
    fine = torch.where(top > 0, -0.3, seams)
    shade = torch.full((1, 3, HALF[0] // 2, HALF[1] // 2), -0.2)
    shade[:, :, 40:] = 0.7
    none = torch.zeros_like(top)
    led, led_fine = beyond_old(shade, fine, top, trousers, none, none)
    away = [row for row in range(HALF[0] // 2) if abs(row - 40) > 3]  # from where they meet
    assert (led[:, :, away] + 0.2).abs().max() < 0.03
    assert (led_fine[:, :, [2 * row for row in away]] + 0.3).abs().max() < 0.03
    same, same_fine = beyond_old(shade, fine, top, none, none, none)
    assert torch.equal(same, shade) and torch.equal(same_fine, fine)


def test_the_hem_of_an_old_sleeve_is_no_shadow_on_a_longer_one() -> None:
    """Nor is the step from cloth to skin; along an arm before the body, which is one, it stays."""
    top, arms = torch.zeros(1, 1, *HALF), torch.zeros(1, 1, *HALF)
    top[:, :, :60], arms[:, :, 60:] = 1, 1
    fine = torch.where(top > 0, 0.1, -0.1)
    fine[:, :, 58:60] = -0.8  # the hem
    shade = torch.zeros(1, 3, HALF[0] // 2, HALF[1] // 2)
    none, sleeve = torch.zeros_like(top), torch.ones_like(top)
    _, led = beyond_old(shade, fine, top, none, arms, sleeve)
    column = led[0, 0, :, HALF[1] // 2]
    assert column.min() > -0.15 and column.diff().abs().max() < 0.06
    assert (column[:50] == 0.1).all() and (column[70:] == -0.1).all()
    same, same_fine = beyond_old(shade, fine, top, none, arms, none)
    assert torch.equal(same, shade) and torch.equal(same_fine, fine)


def test_the_rim_of_old_cloth_is_no_light_on_photos() -> None:
    """There it is mixed with what is behind: the light within is led on to it, and beyond."""
    top, none = torch.zeros(1, 1, *HALF), torch.zeros(1, 1, *HALF)
    top[:, :, 30:90, 20:76] = 1
    fine = torch.where(top > 0, 0.2, 0.0)
    fine[:, :, 30:90, 18:21] = -0.9
    shade = torch.full((1, 3, HALF[0] // 2, HALF[1] // 2), 0.1)
    taught = beyond_old(shade, fine, top, none, none, none)
    assert torch.equal(taught[1], fine)
    _, led = beyond_old(shade, fine, top, none, none, none, photo=True)
    assert led[0, 0, 40:80, 18:78].min() > 0.15
    assert torch.equal(led[..., :17], fine[..., :17]) and torch.equal(
        led[..., 40:80, 60], fine[..., 40:80, 60]
    )


def test_dark_cloths_light_is_believed_the_less() -> None:
    """A black top's by 0.4, a white one's all of it; where no old garment is, all is as it was."""
    top = torch.zeros(1, 1, *HALF)
    top[:, :, 30:90, 20:76] = 1
    for level, share in ((0.05, 0.4), (0.25, 0.25 / 0.35), (0.8, 1.0)):
        rgb = torch.full((1, 3, NET_HEIGHT, NET_WIDTH), 0.7)
        rgb[..., 60:180, 40:152] = level
        found = believed(rgb, top)
        assert found.shape == top.shape and (found[top == 0] == 1).all()
        assert torch.allclose(found[:, :, 50:70, 40:56], torch.tensor(share), atol=0.02)


def test_a_white_shirt_between_dark_lapels_is_no_light() -> None:
    """Old cloth of one tone is believed, of two that no light makes hardly."""
    top = torch.zeros(1, 1, *HALF)
    top[:, :, 20:108, 20:76] = 1
    rgb = torch.full((1, 3, NET_HEIGHT, NET_WIDTH), 0.7)
    # Folds and a light from aside; then a jacket, grey enough to be believed by itself.
    rgb[..., 40:152] = torch.linspace(0.6, 0.85, 112)
    assert believed(rgb, top)[:, :, 50:70, 36:60].min() > 0.9
    rgb[..., 40:76], rgb[..., 116:152] = 0.36, 0.36
    rgb[..., 76:116] = 0.95
    assert believed(rgb, top)[:, :, 50:70, 36:60].max() < 0.5


def test_only_the_garment_that_is_replaced_is_painted_over() -> None:
    odds = torch.full((1, len(PARSE), *HALF), 1e-3)
    for name, rows in (
        ("arm_left", slice(0, 20)),
        ("upper", slice(20, 40)),
        ("lower", slice(40, 60)),
    ):
        odds[:, PARSE.index(name), rows] = 1
    for category, first, last in ((0, 20, 40), (1, 40, 60), (2, 20, 60)):
        condition = torch.zeros(1, 5)
        condition[0, category] = 1
        near = near_old(old_share(odds, condition))
        assert torch.allclose(near, near_old(old_share(odds * 7, condition)))
        assert (near[:, :, first - 1 : last + 1] > 0.9).all()  # and a pixel around it
        assert (near[:, :, : first - 1] == 0).all() and (near[:, :, last + 1 :] == 0).all()
    # What is as likely an arm as a sleeve is kept.
    odds[:, PARSE.index("arm_left"), 20:40] = 1
    assert (near_old(old_share(odds, torch.tensor([[1.0, 0, 0, 1, 0]]))) < 0.01).all()


def test_what_is_beneath_is_told_against_keeping(generator: Generator) -> None:
    features = torch.randn(1, 32, *HALF)
    with torch.no_grad():
        own, found = generator.beneath(features), generator._beneath(features)
    for paint in range(len(PAINT)):
        here = slice(4 * paint, 4 * paint + 4)
        expected = own[:, 4 * paint + 4 : 4 * paint + 8] - own[:, :4]
        assert torch.allclose(found[:, here], expected, atol=1e-4)


def test_colours_of_classes_need_odds_alone() -> None:
    torch.manual_seed(0)
    rgb, odds = torch.rand(1, 3, 256, 192), torch.randn(1, len(PARSE), *HALF).mul(4).exp()
    shares = odds / odds.sum(1, keepdim=True)
    assert torch.allclose(class_colours(rgb, odds), class_colours(rgb, shares), atol=1e-5)


def test_the_trunk_sees_what_it_was_trained_on(generator: Generator) -> None:
    """(image * 255 - 127) / 128 in the first convolution's own weights."""
    trunk, image = generator.trunk, torch.rand(1, 3, 64, 48)
    plain = F.conv2d(
        F.pad((image * 255 - 127) / 128, trunk.stem.same),
        trunk.stem.weight * (128 / 255), trunk.stem.bias, stride=2,
    )  # fmt: skip
    for block in trunk.blocks[:1]:
        expected = block(F.relu6(plain))
    assert torch.allclose(trunk(image)[0], expected, atol=1e-4)
