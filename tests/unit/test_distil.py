"""Narrower networks taught by wider ones: what is cut, and that the rest learns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from training import distil, narrow
from training.captions import Vocabulary
from training.data.compose import Options
from training.dataset import Pairs, loader, scene_files
from training.step import assemble
from tryon.assets import asset_path
from tryon.models import generator, system
from tryon.models.blocks import Residual
from tryon.models.efficientnet import load_trunk


def widened(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same networks with as many hidden channels again in each block, which do nothing."""
    wide = dict(state)
    for name, value in state.items():
        if not name.endswith(".first.0.weight"):
            continue
        block = name.removesuffix(".first.0.weight")
        hidden = len(value)
        wide[name] = torch.cat([value, torch.randn_like(value) * value.std()])
        for key, fill in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            own = f"{block}.first.1.{key}"
            wide[own] = torch.cat([state[own], torch.full((hidden,), float(fill))])
        second = f"{block}.second.0.weight"
        wide[second] = torch.cat([state[second], torch.zeros_like(state[second])], 1)
    return wide


def test_cutting_keeps_what_the_silent_channels_said() -> None:
    torch.manual_seed(0)
    wide, slim = Residual(8, 4).eval(), Residual(8, 4).eval()
    slim.first[0] = torch.nn.Conv2d(8, 2, 3, padding=1, bias=False)
    slim.first[1] = torch.nn.BatchNorm2d(2).eval()
    slim.second[0] = torch.nn.Conv2d(2, 8, 3, padding=1, bias=False)
    with torch.no_grad():
        norm = wide.first[1]
        assert isinstance(norm, torch.nn.BatchNorm2d)
        norm.weight.fill_(1)
        norm.weight[[0, 2]] = 1e-7  # channels that always say the same
        norm.bias.copy_(torch.rand(4) + 0.2)
    state = {f"net.{k}": v.clone() for k, v in wide.state_dict().items()}
    narrow.cut(state, "net.first", "net.second.0", 2)
    slim.load_state_dict({k.removeprefix("net."): v for k, v in state.items()})
    x = torch.rand(1, 8, 12, 12)
    inner = (..., slice(2, -2), slice(2, -2))  # beyond the edge the silent channels are zero
    with torch.no_grad():
        assert torch.allclose(slim(x)[inner], wide(x)[inner], atol=1e-4)
    before = dict(state)
    narrow.cut(state, "net.first", "net.second.0", 3)  # already narrower
    assert all(torch.equal(state[k], before[k]) for k in before)


def test_mean_and_spread_behind_a_rectifier() -> None:
    mean, spread = torch.tensor([0.0, 1.0, -2.0]), torch.tensor([1.0, 0.5, 1.0])
    drawn = (mean + spread * torch.randn(200_000, 3, generator=torch.manual_seed(0))).relu()
    first, second = narrow.rectified(mean, spread)
    assert torch.allclose(first, drawn.mean(0), atol=0.01)
    assert torch.allclose(second, drawn.std(0), atol=0.01)


def test_a_teacher_may_have_any_width() -> None:
    student = system.load_models()
    own = system.trained_state(student)
    given = widened(own)
    teacher = system.build()
    with pytest.raises(system.WeightsError):
        system.load_state(teacher, given, "wide")
    narrow.fit(teacher, given)
    system.load_state(teacher, given, "wide")
    cut = narrow.student_state(given, student, {})
    assert all(torch.equal(cut[k], own[k]) for k in own if not k.endswith("running_mean"))
    assert all(torch.allclose(cut[k].float(), own[k].float(), atol=1e-5) for k in own)
    x = torch.rand(1, 64, 16, 12)
    wide, slim = teacher["generator"].in_4[1].eval(), student["generator"].in_4[1]
    assert wide.first[0].weight.shape[0] == 2 * slim.first[0].weight.shape[0]
    with torch.no_grad():
        assert torch.allclose(wide(x), slim(x), atol=1e-5)


def test_divergence() -> None:
    one, other = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    assert abs(float(distil.divergence(one, one))) < 1e-6 < float(distil.divergence(one, other))
    sure, unsure = torch.full((1, 1, 2, 2), 9.0), torch.full((1, 1, 2, 2), -9.0)
    assert abs(float(distil.divergence(sure, sure))) < 1e-6 < 8 < distil.divergence(unsure, sure)


def test_the_mask_of_the_image_encoder_is_cut_too() -> None:
    """Its last level: a merge, a convolution, and a head whose bias is the inside of a garment."""
    own, student = system.load_models(), system.build()
    state = system.trained_state(own)
    wide, name = dict(state), "image_encoder.merge_2"
    for first, second in ((f"{name}.0", f"{name}.1.0"), (f"{name}.1", "image_encoder.mask")):
        kernel = wide[f"{first}.0.weight"]
        wide[f"{first}.0.weight"] = torch.cat([kernel, torch.randn_like(kernel[:8])])
        for key, fill in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            norm = f"{first}.1.{key}"
            wide[norm] = torch.cat([wide[norm], torch.full((8,), float(fill))])
        kernel = wide[f"{second}.weight"]
        wide[f"{second}.weight"] = torch.cat([kernel, torch.zeros_like(kernel[:, :8])], 1)
    system.load_state(student, narrow.student_state(wide, student, {}), "wide")
    picture, condition = torch.rand(1, 3, 256, 192), torch.tensor([[1.0, 0, 0, 1, 0]])
    with torch.no_grad():
        one, two = (
            m["image_encoder"].eval().encode(picture, condition)["mask"] for m in (own, student)
        )
    assert torch.allclose(one, two, atol=1e-3)


def test_weights_without_trunks_have_the_whole_one(tmp_path: Path) -> None:
    """So had all before the trunks were taught; their students' trunks are cut out of it."""
    student = system.load_models()
    state = {k: v for k, v in system.trained_state(student).items() if ".trunk." not in k}
    save_file(state, tmp_path / system.FILE)
    given = narrow.read(tmp_path, "--teacher")
    whole = load_trunk(asset_path("efficientnet_lite0.pth"))
    teacher = system.build()
    narrow.fit(teacher, given)
    system.load_state(teacher, given, "wide")
    picture = torch.rand(1, 3, 64, 48)
    with torch.no_grad():
        for name in ("image_encoder", "generator"):
            for one, other in zip(
                teacher[name].get_submodule("trunk")(picture), whole(picture), strict=True
            ):
                assert torch.allclose(one, other, atol=1e-4)
    seen = {name: torch.randint(0, 256, (2, 3, 64, 48), dtype=torch.uint8)
            for name in ("image_encoder", "generator")}  # fmt: skip
    cut = narrow.student_state(given, student, seen)
    system.load_state(student, cut, "the student")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of twice the width inside, where what was added speaks, and whole trunks."""
    torch.manual_seed(0)
    own = system.trained_state(system.load_models())
    given = widened({name: value for name, value in own.items() if ".trunk." not in name})
    for name, value in given.items():
        if name.endswith(".second.0.weight"):
            half = value.shape[1] // 2
            value[:, half:] = value[:, :half].abs().mean() * torch.randn_like(value[:, half:])
    out = tmp_path_factory.mktemp("teacher")
    save_file(given, out / system.FILE, {"seed": "1"})
    return out


@pytest.fixture(scope="module")
def seen(folder: Path) -> dict[str, Tensor]:
    return distil.sights(Pairs(scene_files(folder, "train"), None, Options(), 9), None, 2, False)


def test_trunks_see_what_their_networks_see(folder: Path, seen: dict[str, Tensor]) -> None:
    pairs = Pairs(scene_files(folder, "train"), None, Options(), 9)
    assert {name: tuple(value.shape) for name, value in seen.items()} == {
        "image_encoder": (2, 3, 256, 192), "generator": (4, 3, 256, 192)
    }  # fmt: skip
    for index in (0, 1):
        pair = pairs[index]
        assert np.array_equal(seen["image_encoder"][index].permute(1, 2, 0), pair["shop_seen"])
        for place, name in enumerate(("before", "after")):
            view = generator.centre(torch.from_numpy(pair[name]).permute(2, 0, 1)[None])[0]
            assert torch.equal(seen["generator"][2 * index + place], view)


def test_a_trunk_that_is_too_narrow_is_named(teacher: Path) -> None:
    given = narrow.read(teacher, "--teacher")
    assert narrow.to_cut(given) == ["image_encoder", "generator"]
    name = "generator.trunk.blocks.9.depthwise.weight"
    given[name] = given[name][:100]
    with pytest.raises(system.WeightsError, match=r"trunk of generator .* are wanted"):
        narrow.student_state(given, system.build(), {})


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_a_student_nears_its_teacher(folder: Path, teacher: Path, seen: dict[str, Tensor]) -> None:
    wide, student = distil.pair_up(*[narrow.read(teacher, "--teacher")] * 2, seen)
    for name in narrow.STUDENTS:
        student[name].get_submodule("trunk").requires_grad_(True)
    ours, theirs = (assemble(m, Vocabulary.of(["a"])) for m in (student, wide))
    sums = (distil.Sums(student), distil.Sums(wide))
    batch = next(iter(loader(Pairs(scene_files(folder, "train"), None, Options(), 9), 2, 0, 1, 0)))
    met = next(iter(distil.meetings(batch, None, np.random.default_rng(0))))
    optimiser = torch.optim.Adam(distil._groups(student), 1e-4)
    for group in optimiser.param_groups:
        group["lr"] *= group["share"]
    totals = []
    for _ in range(10):
        terms = distil.lesson(ours, theirs, sums, met)
        optimiser.zero_grad()
        terms["total"].backward()
        optimiser.step()
        totals.append(float(terms["total"].detach()))
    assert totals[-1] < 0.9 * totals[0], totals


@pytest.mark.usefixtures("one_thread")
@pytest.mark.filterwarnings("ignore")
def test_a_run_goes_on_where_it_stopped(
    folder: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--pairs", str(folder), "--teacher", str(teacher), "--out", str(tmp_path),
                 "--batch", "2", "--workers", "0", "--pictures", "2",
                 "--trunk-steps", "2"]  # fmt: skip
    assert distil.main([*arguments, "--steps", "2"]) == 0
    first = torch.load(tmp_path / "last.pt", weights_only=True)
    assert first["step"] == 2
    assert distil.main([*arguments, "--steps", "3"]) == 0
    assert "resuming" in capsys.readouterr().out
    assert system.metadata(tmp_path)["distilled_steps"] == "4", "rounded up to even"
    moved = {
        name.split(".trunk.")[0] + ".trunk" if ".trunk." in name else name.split(".")[0]
        for name, value in torch.load(tmp_path / "last.pt", weights_only=True)["models"].items()
        if not torch.equal(value, first["models"][name])
    }
    assert moved == {"image_encoder", "generator", "image_encoder.trunk", "generator.trunk"}
    assert distil.main([*arguments, "--steps", "3"]) == 0
    assert "has reached step 4" in capsys.readouterr().out


def test_what_is_no_teacher_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--pairs", str(tmp_path), "--teacher", str(tmp_path), "--out", str(tmp_path)]
    assert distil.main(arguments) == 2
    said = capsys.readouterr().err
    assert "--teacher" in said and "is missing: name a folder" in said
    (tmp_path / system.FILE).write_bytes(b"no weights")
    assert distil.main(arguments) == 2
    assert "can't be read" in capsys.readouterr().err
