"""Pairs keep their truth through composition; every loss knows right from wrong; runs resume."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import shutil
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from training import losses, parallel, train
from training.captions import (
    COLOURS,
    STYLINGS,
    Vocabulary,
    recolour_request,
    sample_caption,
    styled,
    styling_request,
)
from training.data import compose as compose_module
from training.data import preview
from training.data.compose import Options, compose
from training.data.outfits import pairs_of
from training.data.preview import pairs_sheet, warp
from training.data.shards import Scene, is_test, scene_path
from training.data.shop import inside_distance, tuck
from training.data.styling import SIZES
from training.dataset import SHARED, Pairs, loader, scene_files
from training.evaluate import PAIRS_SEED, evaluate
from training.journal import Journal
from training.shapes import named
from training.step import (
    Weights,
    assemble,
    discriminator_loss,
    picture_terms,
    run,
    see,
    stopped,
    styling_loss,
    text_terms,
)
from tryon.contract import CATEGORIES, LANDMARKS, NET_HEIGHT, NET_WIDTH, PARSE, STYLING
from tryon.models import system
from tryon.models.blocks import pixel_coordinates
from tryon.models.shapes import SHAPES, shape_of


def _pair(scene: Scene, strength: float, seed: int = 0) -> dict:
    before, after, category = pairs_of(scene)[0]
    options = Options(strength=strength, text=0.0)
    return compose(scene, before, after, category, np.random.default_rng(seed), None, options)


def test_pairs_differ_in_one_garment(scenes: list[Scene]) -> None:
    kinds = {category for scene in scenes for _, _, category in pairs_of(scene)}
    assert kinds == set(CATEGORIES)


@pytest.mark.parametrize("seed", range(4))  # half of them are mirrored
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_truth_holds_after_composition(scenes: list[Scene], strength: float, seed: int) -> None:
    for scene in scenes:
        pair = _pair(scene, strength, seed)
        drawn, valid = pair["drawn"] > 0, pair["valid"] > 0
        assert drawn.any() and not (valid & ~drawn).any()
        assert (pair["parse_after"][drawn] == PARSE.index(CATEGORIES[int(pair["category"])])).all()
        view = slice(32, 32 + NET_WIDTH)
        after = pair["after"][:, view].astype(np.float32)
        before = pair["before"][:, view].astype(np.float32)
        same = ~drawn & (pair["old"] == 0) & (pair["parse_before"] == pair["parse_after"])
        inner = cv2.erode(same.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        assert np.abs(after - before)[inner].mean() < 6, "what stays the same must look the same"
        if valid.sum() < 400:
            continue
        flow = pair["flow"]
        mask = cv2.remap(pair["shop_mask"], flow[0] * NET_WIDTH - 0.5, flow[1] * NET_HEIGHT - 0.5,
                         cv2.INTER_LINEAR)  # fmt: skip
        assert np.median(mask[valid]) > 200, "the flow must lead onto the garment"


def test_tucked_top_keeps_what_is_seen_of_it() -> None:
    picture = np.full((NET_HEIGHT, NET_WIDTH, 3), 90, np.uint8)
    mask = np.zeros((NET_HEIGHT, NET_WIDTH), np.uint8)
    mask[60:200, 50:140] = 255
    landmarks = np.zeros((len(LANDMARKS), 3), np.float32)
    for name, x, y in (
        ("armpit_left", 140, 100), ("armpit_right", 50, 100), ("hem_left", 140, 200),
        ("hem_right", 50, 200), ("hem_front", 95, 200), ("neck_front", 95, 65),
    ):  # fmt: skip
        landmarks[LANDMARKS.index(name)] = x / NET_WIDTH, y / NET_HEIGHT, 1
    seen, before = mask.copy(), picture.copy()
    hidden = tuck(np.random.default_rng(3), picture, mask, landmarks, None)
    assert hidden[199, 95] and not hidden[:120].any()
    np.testing.assert_array_equal(mask, np.where(hidden, 0, seen))
    np.testing.assert_array_equal(picture[~hidden], before[~hidden])
    visible = {n for n, mark in zip(LANDMARKS, landmarks, strict=True) if mark[2] > 0}
    assert visible == {"armpit_left", "armpit_right", "neck_front"}


def test_top_without_a_hem_is_not_tucked() -> None:
    mask = np.full((NET_HEIGHT, NET_WIDTH), 255, np.uint8)
    picture = np.zeros((NET_HEIGHT, NET_WIDTH, 3), np.uint8)
    marks = np.zeros((len(LANDMARKS), 3), np.float32)
    assert not tuck(np.random.default_rng(3), picture, mask, marks, None).any()
    assert mask.all()


def test_mirrored_landmarks_keep_their_side(scenes: list[Scene]) -> None:
    """The wearer's left is on the viewer's right, mirrored or not."""
    left, right = LANDMARKS.index("shoulder_left"), LANDMARKS.index("shoulder_right")
    for seed in range(6):
        pair = _pair(scenes[0], 0.0, seed)
        marks = pair["shop_landmarks"]
        assert marks[left, 2] and marks[right, 2]
        assert marks[left, 0] > marks[right, 0]


def test_the_same_number_gives_the_same_pair(folder: Path) -> None:
    files = sorted(folder.glob("*.npz"))
    one, two = Pairs(files, None, Options(), 5), Pairs(files, None, Options(), 5)
    for number in (0, 9, 123_456):
        a, b = one[number], two[number]
        assert all(np.array_equal(a[k], b[k]) for k in a)  # type: ignore[arg-type]
    assert not np.array_equal(one[0]["after"], one[9]["after"])  # type: ignore[arg-type]


def test_marks_on_the_skin_are_on_limbs_alone_and_in_both_pictures(
    scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = next(s for s in scenes if s.meta["kind"] == "lower")
    before, after, category = pairs_of(scene)[0]
    ink = np.full((*scene.parse[before].shape, 3), 0.2, np.float32)
    monkeypatch.setattr(compose_module, "_skin_marks", lambda rng, parse: ink)
    wanted = np.isin(scene.parse[before], compose_module._SKIN)
    seen = 0
    for i in range(30):
        rng = np.random.default_rng(i)
        pair = compose(scene, before, after, category, rng, None, Options(1.0, text=0))
        plain = pair["before"][wanted].mean()
        seen += plain < 50
    assert 2 <= seen <= 18  # a quarter of the pairs
    monkeypatch.undo()
    for i in range(8):
        gain = compose_module._skin_marks(np.random.default_rng(i), scene.parse[before])
        assert 0.1 < gain.min() < 0.95 and gain.max() == 1 and (gain == 1).mean() > 0.5


def test_missing_scenes_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make pairs"):
        scene_files(tmp_path, "train")


def test_scenes_of_an_earlier_renderer_are_refused(folder: Path, tmp_path: Path, capsys) -> None:
    paths = sorted(folder.glob("*.npz"))[:2]
    arrays = dict(np.load(paths[0]))
    meta = json.loads(str(arrays["meta"])) | {"renderer": 5}
    np.savez(tmp_path / paths[0].name, **{**arrays, "meta": np.array(json.dumps(meta))})
    shutil.copy(paths[1], tmp_path)
    with pytest.raises(ValueError, match="1 of 2 scenes are of an earlier renderer"):
        scene_files(tmp_path, "train")
    assert train.main(["--pairs", str(tmp_path), "--out", str(tmp_path / "out")]) != 0
    assert "error: " in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_captions_and_requests() -> None:
    rng = np.random.default_rng(0)
    attributes = {"colour": "red", "kind": "t-shirt", "pattern": "dots", "sleeve": "short"}
    assert all("t-shirt" in sample_caption(attributes, rng) for _ in range(10))
    asked = [recolour_request(attributes, rng) for _ in range(200)]
    assert {colour is None for _, colour in asked} == {True, False}
    for sentence, colour in asked:
        if colour is not None:
            assert any(name in sentence and COLOURS[name] == colour for name in COLOURS)
    words = Vocabulary.of(["a red t-shirt"])
    assert Vocabulary.from_json(words.to_json()).words == words.words
    assert words.encode("a purple t-shirt").tolist()[:6] == [1, 4, 3, 7, 6, 2]


@pytest.mark.parametrize(("was", "now"), [(True, False), (False, True), (False, False)])
def test_words_say_how_a_top_is_worn_where_it_is_worn_another_way(
    scenes: list[Scene], was: bool, now: bool
) -> None:
    scene = next(s for s in scenes if s.meta["kind"] == "upper")
    before, after, category = pairs_of(scene)[0]
    garments = copy.deepcopy(scene.meta["garments"])
    new = garments[int(scene.outfit_upper[after])]
    tucked = [was if i == before else now for i in range(len(scene.albedo))]
    options = Options(strength=0.0, text=0.0)

    def said(kind: str) -> list[dict]:
        new["kind"] = kind
        meta = scene.meta | {"tucked": tucked, "garments": garments}
        other = dataclasses.replace(scene, meta=meta)
        pairs = [
            compose(other, before, after, category, np.random.default_rng(i), None, options)
            for i in range(40)
        ]
        return [pair for pair in pairs if pair["caption"]]

    spoken = said("t-shirt")
    assert len(spoken) == 40 if was != now else 0 < len(spoken) < 15
    for pair in spoken:
        assert pair["caption"] in STYLINGS
        assert (str(pair["caption"]) in _words(tucked=True)) == now
        assert pair["truth_caption"].rsplit(", ", 1)[-1] in _words(tucked=now)
        assert pair["restyle"].tolist() == [0, 0, 0, 0, 1]  # they ask for no colour
        assert pair["styling"].tolist() == [0, 0, 0, 1 if now else -1]
    assert len(said("jacket")) < 15  # never tucked in: nothing needs to be said


def test_words_say_in_what_size_a_garment_is_worn_and_whether_sleeves_are_rolled_up(
    scenes: list[Scene],
) -> None:
    scene = next(s for s in scenes if s.meta["kind"] == "upper")
    before, after, category = pairs_of(scene)[0]
    how = [{"size": 0, "rolled": False, "open": False} for _ in scene.albedo]
    how[after] = {"size": 2, "rolled": True, "open": False}
    meta = scene.meta | {"stylings": how, "tucked": [False] * len(how)}
    other = dataclasses.replace(scene, meta=meta)
    for i in range(20):
        rng = np.random.default_rng(i)
        pair = compose(other, before, after, category, rng, None, Options(strength=0.0, text=0.5))
        for sentence in (str(pair["caption"]), str(pair["truth_caption"])):
            parts = sentence.split(", ")
            assert len(_words(size=2).intersection(parts)) == 1
            assert len(_words(rolled=True).intersection(parts)) == 1
        assert pair["restyle"][4] == 1
        assert pair["styling"][:3].tolist() == [2, 1, 0]


@lru_cache
def _words(**how: bool | int) -> set[str]:
    return {styled("", np.random.default_rng(i), **how) for i in range(90)}  # type: ignore[arg-type]


def test_stylings_are_told_apart_and_join_what_is_said() -> None:
    hows = [{"tucked": True}, {"tucked": False}, {"rolled": True}, {"open": True},
            *({"size": s} for s in SIZES)]  # fmt: skip
    words = [_words(**how) for how in hows]
    assert sum(map(len, words)) == len(set().union(*words)) == len(STYLINGS)
    assert set().union(*words) == set(STYLINGS)
    rng = np.random.default_rng(0)
    assert styled("in red", rng, tucked=True).startswith("in red, ")
    assert styled("", rng) == "" and styled("in red", rng) == "in red"


def test_requests_say_how_a_garment_is_worn_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    attributes = {"kind": "shirt", "colour": "red", "pattern": "plain"}
    drawn = [styling_request(attributes, rng) for _ in range(300)]
    for sentence, how in drawn:
        assert sentence and set(how) == set(STYLING)
        assert all(how[name] in values for name, values in STYLING.items())
        asked = {"size": how["size"], "rolled": bool(how["rolled"]), "open": bool(how["open"]),
                 "tucked": {-1: False, 0: None, 1: True}[how["tucked"]]}  # fmt: skip
        silent = {"size": 0, "rolled": False, "open": False, "tucked": None}
        said = set(re.split(", | and ", sentence)).intersection(STYLINGS)
        wanted = [_words(**{**silent, name: value})  # type: ignore[arg-type]
                  for name, value in asked.items() if value != silent[name]]  # fmt: skip
        assert all(any(word in sentence for word in words) for words in wanted), sentence
        assert all(any(word in words for words in wanted) for word in said), sentence
    for name, values in STYLING.items():
        assert {how[name] for _, how in drawn} == set(values)


def test_losses_are_lowest_at_the_truth() -> None:
    torch.manual_seed(0)
    marks = torch.cat([torch.rand(2, 23, 2), torch.ones(2, 23, 1)], 2)
    assert losses.landmark_loss(marks[..., :2], marks) < 0.11
    assert losses.landmark_loss(marks[..., :2] + 0.1, marks) > 10
    flow, valid = torch.rand(2, 2, 64, 48), torch.ones(2, 1, 64, 48)
    assert losses.flow_loss(flow, flow, valid) < 0.11
    assert losses.flow_loss(flow + 0.1, flow, valid) > 10
    assert losses.flow_loss(flow + 0.1, flow, valid * 0) == 0
    truth = (torch.rand(2, 1, 32, 32) > 0.5).float()
    sure = truth * 20 - 10
    assert losses.mask_loss(sure, truth) < 0.01 < losses.mask_loss(-sure, truth)
    picture = torch.rand(2, 3, 32, 32)
    region = torch.ones(2, 1, 32, 32)
    shifted = picture.roll(3, 3)
    for loss in (losses.picture_loss, losses.gradient_loss):
        assert loss(picture, picture, region) == 0 < loss(shifted, picture, region)
    z = torch.randn(8, 16)
    every = torch.ones(8)
    right = losses.contrastive_loss(z, z, every)
    assert right < losses.contrastive_loss(z, z.flip(0), every)
    assert losses.perceptual_loss([picture], [picture]) == 0
    assert losses.perceptual_loss([picture], [shifted]) > 0.1
    straight = torch.linspace(0, 1, 16).expand(1, 2, 16, 16)
    crumpled = torch.rand(1, 2, 16, 16)
    assert losses.smoothness_loss(straight) < 1e-3 < losses.smoothness_loss(crumpled)
    high, low = torch.full((1,), 3.0), torch.full((1,), -3.0)
    assert losses.adversarial_losses(high, low) == 0 < losses.adversarial_losses(low, high)
    assert losses.generator_adversarial(high) < losses.generator_adversarial(low)


def test_what_is_beneath_the_new_garment() -> None:
    arm, upper, back = (PARSE.index(n) for n in ("arm_left", "upper", "background"))
    before = torch.tensor([[[upper, upper, back, back, arm]]])
    after = torch.tensor([[[upper, arm, back, back, arm]]])
    drawn = after == upper
    old = before == upper
    truth = losses.beneath_truth(before, after, drawn, old, torch.zeros_like(old))
    skin, wall = (1 + list(losses_paints()).index(name) for name in ("skin", "background"))
    # The wall beside the old garment is mixed with it, and goes with it.
    assert truth.tolist() == [[[-1, skin, wall, 0, 0]]]
    right = torch.full((1, 7, 1, 5), -5.0)
    for place, paint in enumerate((skin, skin, wall, 0, 0)):
        right[0, paint, 0, place] = 5.0
    keeps_old = right.clone()
    keeps_old[0, :, 0, 0] = -5.0
    keeps_old[0, 0, 0, 0] = 5.0
    best = losses.beneath_loss(right, truth, drawn, old)
    assert best < 0.01 < losses.beneath_loss(keeps_old, truth, drawn, old)


def losses_paints() -> dict[str, tuple[str, ...]]:
    from tryon.models.inpaint import PAINT

    return PAINT


@pytest.mark.filterwarnings("ignore")
def test_one_batch_is_learned_and_a_wrong_garment_costs(folder: Path) -> None:
    """Twenty-five steps on one batch lower the total and its main terms; wrong words raise L^T."""
    torch.manual_seed(0)
    vocabulary = Vocabulary.of([*COLOURS, "a t-shirt shirt dress with sleeves"])
    nets, models = train.networks(vocabulary, None, parallel.CPU)
    pairs = Pairs(sorted(folder.glob("*.npz")), None, Options(text=0.0, strength=0.3), 1)
    batch = torch.utils.data.default_collate([pairs[n] for n in (0, 4, 8)])
    learned = [p for m in models.values() for p in m.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learned, 2e-3)
    judge = torch.optim.AdamW(nets.discriminator.parameters(), 2e-3)
    history = []
    for _ in range(25):  # which landmarks there are is forgotten first, then learned
        result = run(nets, batch, Weights(), "joint", perceptual=True)
        optimiser.zero_grad()
        result.total.backward()
        optimiser.step()
        verdict = discriminator_loss(nets, batch, result)
        judge.zero_grad()
        verdict.backward()
        judge.step()
        history.append({**result.terms, "discriminator": float(verdict)})
    places, whole = (
        run(nets, batch, Weights(), phase, perceptual=False) for phase in ("places", "truth")
    )
    assert "flow_parts" in places.terms and "mask" not in places.terms
    assert abs(places.terms["landmarks"] - whole.terms["landmarks"]) < 1e-3
    first, last = history[0], history[-1]
    # At one rate for all; `test_losses.py` has every loss of places and pictures by itself.
    for name in ("garment_landmarks", "landmarks", "garment_mask", "visible", "mask", "parse",
                 "beneath", "flow_parts", "flow_8", "flow_4", "flow", "confidence",
                 "caption", "painter", "styling", "perceptual",
                 "discriminator"):  # fmt: skip
        assert last[name] < first[name], f"{name} rose from {first[name]} to {last[name]}"
    own = result.terms["styling"]
    with torch.no_grad():
        others = {**batch, "how": (batch["how"] + 1) % torch.tensor([6, 2, 2, 3])}
        assert float(styling_loss(nets, others)) > own
    described = [bool(c) for c in batch["truth_caption"]]
    if any(described):
        right = nets.discriminator.caption_loss
        from training.step import caption_tokens

        real = F.avg_pool2d(result.truth, 2)[described]
        said = [c for c in batch["truth_caption"] if c]
        own = right(real, caption_tokens(vocabulary, said))
        other = right(real, caption_tokens(vocabulary, ["dress turquoise olive"] * len(said)))
        assert own < other


@pytest.mark.filterwarnings("ignore")
def test_a_colour_that_is_asked_for_is_learned_and_another_costs(folder: Path) -> None:
    torch.manual_seed(0)
    nets, _ = train.networks(Vocabulary([]), None, parallel.CPU)
    pairs = Pairs(sorted(folder.glob("*.npz")), None, Options(text=0.0, strength=0.3), 1)
    batch = torch.utils.data.default_collate([pairs[n] for n in (0, 4, 8)])
    batch["restyle"] = torch.tensor([[1.0, 0.8, 0.1, 0.1, 1.0]] * 3)  # all in red
    learned = [*nets.generator.fusion.parameters(), *nets.text_encoder.project.parameters()]
    optimiser = torch.optim.AdamW(learned, 4e-3)
    history = []
    for _ in range(60):  # from 16 on it swings about its floor, 0.48 of its beginning
        loss = text_terms(nets, batch, Weights(), see(nets, batch))["restyle"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(float(loss.detach()))
    assert history[-1] < 0.5 * history[0], history
    batch["restyle"][:, 1:4] = torch.tensor([0.1, 0.1, 0.8])
    with torch.no_grad():
        assert text_terms(nets, batch, Weights(), see(nets, batch))["restyle"] > 2 * history[-1]


@pytest.mark.parametrize(
    "device, able, expected",
    [("cpu", {"avx2": True, "avx512_f": True}, False), ("cpu", {"avx512_bf16": True}, True),
     ("cpu", {"amx_bf16": True}, True), ("cuda", {}, True)],
)  # fmt: skip
def test_bfloat16_is_used_where_it_is_fast(monkeypatch, device, able, expected) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert parallel.computes_bfloat16(torch.device(device)) is expected


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(folder: Path, tmp_path: Path) -> None:
    def go(out: Path, *more: str) -> None:
        arguments = ["--pairs", str(folder), "--out", str(out), "--steps", "3", "--batch", "2",
                     "--workers", "0", "--joint-at", "0.5", "--precision", "float32"]  # fmt: skip
        assert train.main([*arguments, *more]) == 0

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        go(tmp_path / "whole")
        go(tmp_path / "parts", "--stop-after", "1e-9")
        assert torch.load(tmp_path / "parts" / "last.pt", weights_only=True)["step"] == 1
        go(tmp_path / "parts")
    finally:
        torch.set_num_threads(threads)
    torch.manual_seed(1)
    start = system.trained_state(train.networks(Vocabulary(["a"]), None, parallel.CPU)[1])
    whole = torch.load(tmp_path / "whole" / "last.pt", weights_only=True)["models"]
    parts = torch.load(tmp_path / "parts" / "last.pt", weights_only=True)["models"]
    apart = moved = 0.0
    for name, value in whole.items():
        apart += float((value.double() - parts[name].double()).abs().sum())
        moved += float((value.double() - start[name].double()).abs().sum())
        assert ".trunk." not in name or torch.equal(value, start[name])
    # Sentences are encoded in other batches, which rounds differently; nothing else may differ.
    assert moved > 0 and apart < 0.01 * moved, (apart, moved)
    assert system.load_models(tmp_path / "whole")
    assert json.loads((tmp_path / "whole" / "vocabulary.json").read_text())


@pytest.mark.filterwarnings("ignore")
def test_checkpoints_are_measured_on_unseen_pairs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes, made = tmp_path / "scenes", sorted(folder.glob("*.npz"))
    scenes.mkdir()
    unseen = next(n for i in range(999) if is_test(n := scene_path(scenes, 3, i)))
    unseen.symlink_to(made[1])
    arguments = ["--steps", "1", "--batch", "2", "--workers", "0", "--validate", "8",
                 "--precision", "float32"]  # fmt: skip
    assert train.main(["--pairs", str(scenes), "--out", str(tmp_path / "no"), *arguments]) == 2
    seen = next(n for i in range(999) if not is_test(n := scene_path(scenes, 3, i)))
    seen.symlink_to(made[0])
    out = tmp_path / "run"
    assert train.main(["--pairs", str(scenes), "--out", str(out), *arguments]) == 0
    lines = [json.loads(line) for line in (out / "validation.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1]
    ours = evaluate(out, scenes, None, 8, 1.0, PAIRS_SEED)[0]["ours"]
    assert {name: value for name, value in lines[0].items() if name != "step"} == ours
    assert train.main(["--pairs", str(folder), "--out", str(tmp_path / "none"), *arguments]) == 0
    assert "no validation" in capsys.readouterr().err
    assert not (tmp_path / "none" / "validation.jsonl").read_text()


def test_fresh_networks_have_the_learned_trunks_and_all_goes_to_the_device() -> None:
    nets, models = train.networks(Vocabulary(["a"]), None, torch.device("meta"))
    parts = (*models.values(), nets.discriminator, nets.features)
    assert all(value.is_meta for part in parts for value in part.state_dict().values())
    models, learned = train.networks(Vocabulary(["a"]), None, parallel.CPU)[1], system.load_models()
    own, kept = system.trained_state(models), system.trained_state(learned)
    trunks = [name for name in own if ".trunk." in name]
    assert len(trunks) > 100 and all(torch.equal(own[name], kept[name]) for name in trunks)
    assert not torch.equal(own["generator.in_4.0.0.weight"], kept["generator.in_4.0.0.weight"])


def test_trunks_that_are_not_there_are_named(tmp_path: Path) -> None:
    models = system.build()
    with pytest.raises(system.WeightsError, match="check it out"):
        system.load_trunks(models, tmp_path)
    state = system.trained_state(models)
    name = "generator.trunk.blocks.3.project.weight"
    for wrong in ({}, {**state, name: state[name][:, :-1].clone()}):
        save_file(wrong, tmp_path / system.FILE)
        with pytest.raises(system.WeightsError, match="NARROW"):
            system.load_trunks(models, tmp_path)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(system.WeightsError, match="make train"):
        system.load_models(tmp_path)
    models = system.build()
    state = system.trained_state(models)
    name = next(iter(state))
    with pytest.raises(system.WeightsError, match=name):
        system.load_state(models, {k: v for k, v in state.items() if k != name}, "a file")
    kept = state[name].clone()
    fewer = {k: v for k, v in state.items() if k != name}
    system.load_state(models, fewer, "a file", grown=True)
    assert torch.equal(system.trained_state(models)[name], kept)
    with pytest.raises(system.WeightsError, match="1 unknown"):
        system.load_state(models, {**fewer, "image_encoder.other": kept}, "a file", grown=True)


def test_inside_loss_pulls_the_flow_to_the_garment_s_edge() -> None:
    mask = np.zeros((256, 192), np.uint8)
    mask[60:200, 40:150] = 255
    inside = torch.from_numpy(inside_distance(mask)).float()[None, None]
    drawn = torch.from_numpy(mask > 0).float()[None, None]
    own = pixel_coordinates(256, 192, drawn)
    everywhere = torch.ones_like(drawn)
    right = losses.inside_loss(own, inside, drawn, everywhere)
    off = (own + torch.tensor([0.0, 12 / 256])[None, :, None, None]).requires_grad_()
    wrong = losses.inside_loss(off, inside, drawn, everywhere)
    assert right < 0.02 < 0.2 < wrong
    wrong.backward()
    # Downhill is back towards the truth: the step along -gradient lowers the flow's y.
    assert off.grad is not None
    assert off.grad[:, 1].sum() > 0


def test_trousers_hide_a_top_that_is_tucked_in_and_a_top_hides_trousers() -> None:
    after = torch.tensor([[[PARSE.index(n) for n in ("upper", "lower", "hair", "arm_left")]]] * 4)
    category = torch.tensor([CATEGORIES.index(c) for c in ("upper", "upper", "lower", "dress")])
    tucked = torch.tensor([True, False, False, True])
    assert losses.ahead(after, category, tucked)[:, 0].tolist() == [
        [False, True, True, False],
        [False, False, True, False],
        [True, False, True, False],
        [False, False, True, False],
    ]


def test_the_mask_learns_what_is_in_front_and_leaves_the_edge_to_the_flow() -> None:
    after = torch.zeros(1, 64, 64, dtype=torch.long)
    after[:, 20:40, 20:40] = PARSE.index("upper")
    after[:, 10:20, 20:40] = PARSE.index("hair")
    after[:, 25:35, 32:50] = PARSE.index("arm_left")  # before the garment, and beside it
    drawn = after == PARSE.index("upper")
    in_front = after == PARSE.index("hair")
    flow = pixel_coordinates(64, 64, torch.zeros(1))  # the garment lies where it is drawn
    inside = torch.full((1, 1, 64, 64), -9.0)
    inside[..., 20:40, 20:40] = 9.0
    truth, weight, told = (
        x[0, 0] for x in losses.front_truth(after, drawn, in_front, flow, inside)
    )
    for y, x, is_open, counts, reached in (
        (22, 22, 1, 1.0, True),  # the garment
        (15, 30, 0, 1.0, True),  # hair
        (43, 22, 1, 0.25, False),  # beside its edge, which the flow draws
        (30, 34, 0, 3.0, True),  # the arm before it, where the flow lays its midst
        (30, 46, 0, 0.0, False),  # the arm beside it
        (60, 60, 0, 1.0, False),  # far away
    ):
        assert (truth[y, x], weight[y, x], told[y, x]) == (is_open, counts, reached), (y, x)


def test_the_pictures_losses_reach_the_mask_where_it_is_told() -> None:
    packed = torch.randn(1, 4, 8, 8, requires_grad=True)
    told = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    told[..., :5] = True
    shown = F.pixel_shuffle(stopped(packed, told), 2)
    shown.sum().backward()
    assert torch.equal(F.pixel_shuffle(packed.grad, 2) > 0, told)
    assert torch.equal(shown, F.pixel_shuffle(packed, 2))


def test_what_is_seen_at_a_landmark_is_told_by_the_flow_beside_it() -> None:
    here = torch.tensor(
        [[[0.5, 0.25, 1.0], [0.5, 0.9, 1.0], [0.5, 0.25, 0.0], [0.2, 0.1, 1.0]]]
    )  # fmt: skip
    there = here.clone()
    there[:, 3, 0] = 0.9
    flow = pixel_coordinates(NET_HEIGHT, NET_WIDTH, torch.zeros(1)) + 0.05
    valid = torch.zeros(1, 1, NET_HEIGHT, NET_WIDTH)
    # The second is far from it, the third isn't there, before the fourth is another part.
    valid[..., :100, :] = 1

    def at(moved: torch.Tensor) -> torch.Tensor:
        return losses.turned_loss(moved, here, there, flow, valid)

    right = torch.full((1, 4, 2), 0.05)
    assert at(right) < 1.5 < at(right * 0)
    assert at(right + torch.tensor([[0.0], [0.3], [0.3], [0.3]])) == at(right)
    assert losses.turned_loss(right * 0, here, there, flow, valid * 0) == 0


def test_votes_cost_least_at_the_landmark_and_beyond_the_frame_nothing() -> None:
    pixels = pixel_coordinates(32, 24, torch.zeros(1))
    truth = torch.tensor([[[0.5, 0.25, 1.0], [0.5, 1.2, 1.0], [0.5, 0.5, 0.0]]])
    voted = pixels.reshape(1, 1, 2, -1).expand(1, 3, 2, -1)

    def at(x: float, y: float) -> torch.Tensor:
        here = torch.tensor([x, y])[:, None]
        votes = -(((pixels.reshape(2, -1) - here) * 30).square().sum(0))[None, None]
        return losses.vote_loss(votes.expand(1, 3, -1), voted, pixels, truth)

    right, wrong = at(0.5, 0.25), at(0.7, 0.6)
    assert right < wrong
    truth[0, 0, 2] = 0  # only the one below the frame and the one that isn't there are left
    assert at(0.7, 0.6) == 0


def test_masks_are_widened_to_all_sides() -> None:
    mask = torch.zeros(1, 1, 20, 20)
    mask[..., 10, 10] = 1
    wide = losses.widened(mask, 3)
    assert wide.sum() == 49 and wide[0, 0, 7, 13] == 1
    torch.manual_seed(0)
    spots = (torch.rand(2, 1, 40, 30) > 0.99).float()
    for reach in (1, 2, 5, 8, 30):  # the edge of the picture too
        assert torch.equal(
            losses.widened(spots, reach), F.max_pool2d(spots, 2 * reach + 1, 1, reach)
        )


def test_sentences_name_every_drawing_with_its_truth() -> None:
    rng = np.random.default_rng(0)
    said = [named(rng) for _ in range(2000)]
    assert {int(item["words_shape"]) for item in said} == set(range(len(SHAPES)))
    assert {int(item["words_pattern"]) for item in said} == set(range(6)), "all but prints"
    for item in said:
        category, name = SHAPES[int(item["words_shape"])]
        assert name in item["words"] and item["category"] == category
        colours = [c for c in COLOURS if re.search(rf"\b{c}\b", str(item["words"]))]
        truth = {tuple(np.float32(COLOURS[c])) for c in colours} or {(0.5, 0.5, 0.5)}
        assert {tuple(item["words_colours"][:3]), tuple(item["words_colours"][3:])} <= truth


def test_every_garment_that_can_be_rendered_has_a_drawing() -> None:
    found = {shape_of({"category": "upper", "kind": kind, "sleeve": sleeve, "neck": neck,
                       "length": length})
             for kind in ("t-shirt", "long-sleeve top", "shirt", "sweater", "hoodie", "jacket",
                          "tank top")
             for sleeve in ("sleeveless", "short", "elbow", "long")
             for neck in ("crew", "V") for length in ("cropped", "regular", "long")}  # fmt: skip
    assert {SHAPES[i][0] for i in found} == {"upper"} and len(found) == 14
    assert SHAPES[shape_of({"category": "dress", "kind": "dress", "sleeve": "short",
                            "length": "knee"})] == (
        "dress", "knee-length short-sleeve dress")  # fmt: skip


def test_the_sheet_of_pairs_puts_the_surest_body_first(folder: Path) -> None:
    class Order:
        def features(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"pose_score": images.mean((1, 2, 3))[:, None]}  # lightest first

    pairs: list[dict] = [preview.TruePairs(sorted(folder.glob("*.npz")), None, Options(), 3)[i]
                         for i in range(0, 3 * SHARED, SHARED)]  # fmt: skip
    sheet = pairs_sheet(pairs, Order())  # type: ignore[arg-type]
    assert sheet.shape == (2 * NET_HEIGHT, 2 * 5 * NET_WIDTH, 3)
    lightest = max(pairs, key=lambda p: float(p["after"].mean()))
    margin = (lightest["after"].shape[1] - NET_WIDTH) // 2
    shown = sheet[:NET_HEIGHT, 2 * NET_WIDTH : 3 * NET_WIDTH]
    assert np.array_equal(shown, lightest["after"][:, margin:-margin])
    laid = sheet[:NET_HEIGHT, 3 * NET_WIDTH : 4 * NET_WIDTH].astype(int)
    true = warp(lightest["shop"], np.moveaxis(lightest["flow"], 0, -1))
    same = np.abs(laid - true).max(-1) <= 1  # all but the landmarks' dots
    assert same[lightest["valid"] > 0].mean() > 0.8
    over = sheet[:NET_HEIGHT, 4 * NET_WIDTH : 5 * NET_WIDTH].astype(int)
    nobody = lightest["parse_after"] == 0
    assert np.abs(over - shown)[nobody].mean() < 3, "the ground stays, but for a joint's dot"
    assert np.abs(over - shown)[~nobody].mean() > 15, "the parse lies over the person"
    assert (sheet[NET_HEIGHT:, 5 * NET_WIDTH :] == 255).all(), "a missing cell is white"


def test_joints_lie_on_the_person_mirrored_or_not(folder: Path, scenes: list[Scene]) -> None:
    pairs = preview.TruePairs(sorted(folder.glob("*.npz")), None, Options(), 3)
    plain = Pairs(sorted(folder.glob("*.npz")), None, Options(), 3)
    own = [scene.joints - [32, 0] for scene in scenes]
    turned = 0
    for number in range(12):
        pair = pairs[number]
        assert np.array_equal(pair["after"], plain[number]["after"])
        joints, parse = pair["joints"], pair["parse_after"]
        mirrored = joints * [-1, 1] + [NET_WIDTH, 0]
        assert any(np.allclose(j, o, atol=1e-3) for j in (joints, mirrored) for o in own)
        turned += any(np.allclose(mirrored, o, atol=1e-3) for o in own)
        # Shoulders, hips and knees of the one way lie within the person more surely.
        x, y = np.floor(joints[[11, 12, 23, 24, 25, 26]]).astype(int).T
        seen = (x >= 0) & (x < NET_WIDTH) & (y >= 0) & (y < NET_HEIGHT)
        near = cv2.dilate((parse > 0).astype(np.uint8), np.ones((9, 9), np.uint8))
        assert near[y[seen], x[seen]].mean() > 0.9
    assert 0 < turned < 12


def test_a_sheet_of_scenes_is_drawn_and_none_names_the_command(
    folder: Path, tmp_path: Path, capsys
) -> None:
    sheet = tmp_path / "out" / "sheet.png"
    assert preview.main([str(folder), "--out", str(sheet), "--rows", "2"]) == 0
    assert capsys.readouterr().out == f"{sheet}\n"
    picture = cv2.imread(str(sheet))
    assert picture is not None and picture.shape == (512, 256 * 3 + 2 * 192, 3)
    assert preview.main([str(tmp_path), "--out", str(sheet)]) == 2  # it holds other things
    assert "`make pairs`" in capsys.readouterr().err
    assert preview.main([str(folder), "--out", str(sheet), "--pairs", "1", "--photos", "no"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    for wrong in (["--pairs", "0"], ["--plain"], ["--pairs", "1", "--rows", "1"]):
        with pytest.raises(SystemExit, match="2"):
            preview.main([str(folder), *wrong])
        assert "error: " in capsys.readouterr().err


def test_an_ending_of_no_picture_is_told_and_nothing_is_left(tmp_path: Path, capsys) -> None:
    with pytest.raises(ValueError, match=r"sheet\.zip could not be written"):
        preview.write(tmp_path / "sheet.zip", np.zeros((4, 4, 3), np.uint8))
    assert not list(tmp_path.iterdir())
    preview.write(tmp_path / "sheet.png", np.zeros((4, 4, 3), np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]


@pytest.mark.parametrize("there", [False, True])
def test_32_pairs_are_drawn_by_default_of_scenes_that_are_rendered_first(
    folder: Path, tmp_path: Path, monkeypatch, capsys, there: bool
) -> None:
    scenes, sheet = tmp_path / "pairs", tmp_path / "sheet.png"
    if there:
        scenes.mkdir()
    asked = []

    def render(out: Path, first: int, count: int, seed: int, processes: int) -> None:
        asked.append((out, first, count, seed))
        shutil.copytree(folder, out, dirs_exist_ok=True)

    shown: list[int] = []
    monkeypatch.setattr("training.data.render.render", render)
    monkeypatch.setattr(preview, "Pose", torch.nn.Identity)
    monkeypatch.setattr(preview, "pairs_sheet", lambda pairs, pose: shown.append(len(pairs))
                        or preview.cell(pairs[0]))  # fmt: skip
    assert preview.main([str(scenes), "--out", str(sheet)]) == 0
    assert asked == [(scenes, 0, preview.RENDERED, 0)] and shown == [32]
    assert f"no scenes in {scenes} yet" in capsys.readouterr().err
    assert preview.main([str(scenes), "--out", str(sheet), "--pairs", "3"]) == 0
    assert len(asked) == 1 and shown == [32, 3], "they are kept"


def test_pairs_leave_out_what_they_are_asked_to() -> None:
    from types import SimpleNamespace
    from typing import cast

    def scene(phone: str = "", bag: str = "") -> Scene:
        made = SimpleNamespace(
            albedo=[0, 1, 2], outfit_upper=[0, 1, 2], outfit_lower=[3, 3, 3],
            outfit_dress=[-1, -1, -1],
            meta={"phone": phone, "bag": bag, "beneath": [-1, -1, -1],
                  "garments": [{"neck": n} for n in ("crew", "collar", "V")] + [{}]},
        )  # fmt: skip
        return cast(Scene, made)

    everything = pairs_of(scene("R"))
    assert len(everything) == 6 and all(category == "upper" for *_, category in everything)
    assert pairs_of(scene("R"), ["carried"]) == pairs_of(scene(bag="strap"), ["carried"]) == []
    assert pairs_of(scene(), ["carried"]) == everything
    over = scene()
    over.meta["beneath"] = [-1, -1, 0]  # the third is open over the first
    assert pairs_of(over) == [p for p in everything if p[:2] != (1, 2)]
    # The collar may be what is taken off, not what is put on.
    assert pairs_of(scene(), ["collar"]) == [p for p in everything if p[1] != 1]


def test_pairs_that_no_scene_holds_are_an_error_not_a_wait(folder: Path) -> None:
    pairs = Pairs(sorted(folder.glob("*.npz"))[:1], None, Options(), 3, without=["collar"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.dataset.pairs_of", lambda scene, without: [])
        with pytest.raises(ValueError, match="hold no pair without collar"):
            pairs[0]


def test_a_journal_writes_the_means_of_ten_steps_and_goes_on(tmp_path: Path) -> None:
    # Killed at step 27, and begun again from what was kept at 20.
    for begin, end in ((0, 27), (20, 40)):
        with (tmp_path / "log.jsonl").open("a") as file:
            file.write('{"step": 3' if begin else "")
        journal = Journal(tmp_path, begin)
        for step in range(begin + 1, end + 1):
            means = journal.add(step, {"loss": float(step), **({"odd": 1.0} if step % 2 else {})})
            assert (means is None) == bool(step % 10)
            if step % 5 == 0:
                journal.validated(step, {"iou": step / 100})
        journal.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30, 40]
    assert [line["loss"] for line in lines] == [5.5, 15.5, 25.5, 35.5] and lines[0]["odd"] == 1
    lines = [json.loads(s) for s in (tmp_path / "validation.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(5, 45, 5)) and lines[3]["iou"] == 0.2


def test_the_picture_keeps_its_levels_under_autocast(folder: Path) -> None:
    """A product in bfloat16 would make every garment a level brighter."""
    nets = assemble(system.load_models(), Vocabulary([]))
    batch = next(iter(loader(Pairs(scene_files(folder, "train"), None, Options(), 5), 2, 0, 1, 0)))
    pictures = []
    with torch.no_grad():
        seen = see(nets, batch)
        pose = nets.pose.features(seen.before)
        z = nets.generator.fusion(seen.garment["z_image"], seen.z_text, seen.condition)
        out = nets.generator.predict(
            seen.before, pose, seen.garment, z, seen.condition, batch["styling"], seen.shop
        )
        for half in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                pictures.append(picture_terms(nets, Weights(), seen, out, False)[0])
    assert (pictures[0] - pictures[1]).abs().max() * 255 < 0.1
