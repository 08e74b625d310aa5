"""The staged gate: each sabotage is caught, with the first tensor, node and module it touches."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from PIL import Image
from torch import nn

import tryon_client
from export import __main__ as command
from export import bisection, gate, grpc_stage, parity, precision
from export.chain import run_chain
from export.edges import TINY, edge_cases
from export.explain import explain, explain_onnx
from export.names import module_of
from export.precision import Loss, PrecisionError, picture_losses, require
from export.rounding import COMPOSITE, OWN, groups, rounded
from export.trace import trace
from tryon import contract
from tryon.contract import MODELS, Model, Tensor
from tryon.models.blocks import Conv, Residual

TOY = Model("toy", "onnx", "Filters.", (Tensor("x", "float32", (3, 16, 16)),),
            (Tensor("y", "float32", (8, 16, 16)),))  # fmt: skip
NODE = "/fine/fine.1/first/first.0/Conv"


class Toy(nn.Module):
    """Modules within modules, as the generator has them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        block = Residual(8, 4)
        nn.init.constant_(block.second[1].weight, 2.0)  # so that what is within counts
        self.fine = nn.Sequential(Conv(3, 8), block)

    def forward(self, x):
        return (self.fine(x) * 2,)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    return Toy().eval()


@pytest.fixture(scope="module")
def sets() -> dict[str, dict[str, np.ndarray]]:
    drawn = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    return {"drawn": {"x": drawn}}


@pytest.fixture
def source(tmp_path, module, sets) -> Path:
    path = tmp_path / "model.onnx"
    trace(TOY, module, sets["drawn"], path)
    return path


def sabotaged(path: Path, factor: float, node: str = NODE) -> Path:
    """A copy in which a node's weights are `factor` times as large."""
    graph = onnx.load(str(path))
    (name,) = (n.input[1] for n in graph.graph.node if n.name == node)
    (weight,) = (w for w in graph.graph.initializer if w.name == name)
    values = (numpy_helper.to_array(weight) * np.float32(factor)).astype(np.float32)
    weight.CopyFrom(numpy_helper.from_array(values, name))
    out = path.with_name("wrong.onnx")
    onnx.save(graph, str(out))
    return out


def halved(path: Path) -> Path:
    """A copy that computes as fp16."""
    graph = onnx.load(str(path))
    out = path.with_name("half.onnx")
    onnx.save(rounded(graph, [n.name for n in graph.graph.node]), str(out))
    return out


def test_a_healthy_half_passes_every_stage(source, module, sets):
    files = {"fp32": source, "fp16": halved(source)}
    rows = gate.staged(TOY, module, files, sets)
    assert [(r.stage, r.against) for r in rows] == [
        ("fp32", "torch"), ("fp16", "fp32"), ("fp16", "torch")
    ]  # fmt: skip
    assert 0 < rows[1].mean_abs < rows[1].max_abs < 0.01
    require(rows, explain(TOY, module, files, sets))
    assert bisection.first_parting(source, files["fp16"], sets["drawn"], "toy", module) is None
    further = Loss("toy", "y", "", "other", 0.005, 0.01, False)
    assert precision.worst_of([*rows, further])[1] is further
    said = precision.table(rows)
    assert "fp16" in said and "torch" in said


@pytest.mark.parametrize("factor", [0.5, 1e6])
def test_a_node_that_drifts_is_named_with_its_module(source, module, sets, factor):
    # Half of each weight, as a wrong cast leaves it; and weights that fp16 can't hold: infinite.
    files = {"fp32": source, "fp16": halved(sabotaged(source, factor))}
    with np.errstate(invalid="ignore", over="ignore"):
        rows = gate.staged(TOY, module, files, sets)
        with pytest.raises(PrecisionError) as caught:
            require(rows, explain(TOY, module, files, sets))
    said = str(caught.value)
    assert "toy: tensor 'y' in fp16 against fp32" in said and "inputs 'drawn'" in said
    assert "first tensor that leaves the band is '/fine/fine.1/first/first.0/Conv_output_0'" in said
    assert f"of node {NODE!r} (Conv), module toy.fine.1.first.0" in said


def test_a_set_that_is_another_one_to_this_network_is_run_once(source, module, sets):
    twice = {**sets, "edge: black garment": {**sets["drawn"], "other": np.zeros(1)},
             "further": {"x": sets["drawn"]["x"] * 2}}  # fmt: skip
    rows = parity.compare(TOY, module, source, twice)
    assert [row.inputs for row in rows] == ["drawn", "further"]
    rows = gate.staged(TOY, module, {"fp32": source}, twice)
    assert [row.inputs for row in rows] == ["drawn", "further"]


def test_what_is_not_finite_is_out_of_any_band():
    one = np.ones((1, 64), np.float32)
    two = one.copy()
    two[0, 3] = np.nan
    model = Model("toy", "onnx", "", (), (Tensor("y", "float32", (64,)),))
    rows = precision.differences(model, {"i": {"y": one}}, {"i": {"y": two}})
    with pytest.raises(PrecisionError, match="tensor 'y'"):
        require(rows)
    assert rows[0].as_dict()["measure"] is None  # JSON has no NaN
    assert bisection.spread_off(one, two) == np.inf


def test_a_file_that_leaves_torch_is_named_with_the_module(source, module, sets):
    wrong = sabotaged(source, 1.5)
    rows = parity.compare(TOY, module, wrong, sets)
    with pytest.raises(parity.DriftError) as caught:
        parity.require(rows, explain_onnx(TOY, module, wrong, sets))
    # The convolution's own answer is in no torch module (its normalisation is folded into it).
    assert "module toy.fine.1.first.2" in str(caught.value)
    parity.require(parity.compare(TOY, module, source, sets))


def test_a_float32_file_is_held_to_paritys_own_bounds(source, module, sets):
    # Within a hundredth of the tensor's spread, where lower precision may be; not within 1e-3.
    wrong = sabotaged(source, 1.03)
    looser = precision.differences(
        TOY, parity.run_torch(TOY, module, sets), parity.run_onnx(TOY, wrong, sets)
    )
    assert all(row.ok for row in looser)
    with pytest.raises(parity.DriftError, match=r"toy: tensor 'y' of the ONNX file"):
        gate.staged(TOY, module, {"fp32": wrong}, sets)


def test_a_drift_between_the_modules_is_named_by_its_output(source, module, sets):
    graph = onnx.load(str(source))
    last = graph.graph.node[-1]
    last.op_type = "Add"
    onnx.save(graph, str(source))
    rows = parity.compare(TOY, module, source, sets)
    with pytest.raises(parity.DriftError, match=r"between them, before node '/Mul' of module toy"):
        parity.require(rows, explain_onnx(TOY, module, source, sets))


def test_modules_are_found_by_their_nodes(module):
    assert module_of("toy", NODE, module) == "toy.fine.1.first.0"
    assert module_of("toy", "/Mul", module) == "toy"
    assert module_of("toy", "/gone/Mul", module) == "toy"
    layers = nn.Module()
    layers.encoder = nn.Module()
    layers.encoder.layer = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    # A list isn't called, so that its name is in no node's.
    assert module_of("t", "/layer.1/MatMul", layers) == "t.encoder.layer.1"


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, 64, 64, 3), np.uint8)


HERE = np.zeros((1, 64, 64), bool)
HERE[0, :40, :40] = True
WHERE = {"whole": np.ones((1, 64, 64), bool), "skin": HERE, "garment": ~HERE}


class TestRegions:
    def test_one_under_its_bound_is_named(self):
        one = np.full((1, 64, 64, 3), 100, np.uint8)
        two = one.copy()
        two[HERE] += 4  # as alike in structure as is asked for
        parts = {"skin": HERE, "garment": ~HERE}
        rows = picture_losses("generator", "photo", one, two, parts, "fp16", "fp32")
        assert {r.region: r.ok for r in rows} == {"skin": False, "garment": True}
        assert rows[0].ssim >= 0.98
        with pytest.raises(PrecisionError, match=r"is 36.1 dB \(least 40\) in region 'skin'"):
            require(rows)

    def test_the_whole_must_be_nearer_than_a_part(self):
        rows = picture_losses("g", "p", picture(), picture(), WHERE, "fp16", "fp32")
        assert {r.region: r.bound for r in rows} == {"whole": 45, "skin": 40, "garment": 40}

    def test_one_that_is_noisy_is_named(self):
        one = np.full((1, 64, 64, 3), 100, np.uint8)
        two = one + np.random.default_rng(0).integers(0, 2, one.shape, np.uint8) * 3
        rows = picture_losses("g", "p", one, two, {"skin": WHERE["whole"]}, "fp16", "fp32")
        assert rows[0].measure > 40 and rows[0].ssim < 0.98
        with pytest.raises(PrecisionError, match=r"has SSIM 0\.9\d+ .* in region 'skin'"):
            require(rows)

    def test_equal_pictures_pass_and_specks_are_not_judged(self):
        one = np.zeros_like(HERE)
        one[0, 0, 0] = True
        speck = {**WHERE, "skin": one, "background": np.zeros_like(HERE), "changed": one}
        rows = picture_losses("g", "p", picture(), picture(), speck, "fp16", "fp32")
        assert [r.region for r in rows] == ["whole", "garment", "changed"]
        require(rows)
        assert rows[0].as_dict()["measure"] is None


class Calls:
    """Networks that count how often they run, and answer zeros."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.networks = {m.name: self._network(m) for m in MODELS if m.kind == "onnx"}

    def _network(self, model):
        def run(tensors):
            self.ran.append(model.name)
            assert set(tensors) >= {t.name for t in model.inputs}
            return {t.name: np.zeros((1, *(max(d, 1) for d in t.shape)), t.dtype)
                    for t in model.outputs}  # fmt: skip

        return run


def request() -> dict[str, np.ndarray]:
    tensors = [t for m in MODELS for t in (*m.inputs, *m.outputs) if t.dtype != "bytes"]
    made = {t.name: np.zeros((1, *(d if d > 0 else 8 for d in t.shape)), t.dtype) for t in tensors}
    return {**made, "canvas": np.zeros((1, 4, 384, 288), np.uint8),
            "window": np.zeros((1, 120, 90, 3), np.uint8)}  # fmt: skip


def test_only_what_depends_on_a_change_runs_again():
    calls = Calls()
    run_chain(calls.networks, request(), ("garment_net",), without=("paste",))
    assert calls.ran == ["image_encoder", "generator"]
    calls.ran.clear()
    run_chain(calls.networks, request(), (), without=("paste",), first="pose")
    assert calls.ran == ["pose"]  # its zeros are those that were there


def test_edge_cases_reach_every_network():
    calls = Calls()
    cases = edge_cases(calls.networks, request())
    assert set(calls.ran) == {"detector", "pose", "image_encoder", "generator"}
    assert cases["edge: white person"]["view"].min() == 255
    assert cases["edge: tiny person"]["window"].shape[2] == TINY
    assert cases["edge: no garment seen"]["canvas"][:, 3].max() == 0
    assert all("confidence" in tensors for tensors in cases.values())


def test_groups_are_modules_and_the_networks_own(monkeypatch, source):
    monkeypatch.setattr(contract, "SERVED", (*MODELS, TOY))
    found = groups("toy", onnx.load(str(source)))
    assert set(found) == {"fine", OWN} and NODE in found["fine"]
    sized = Model("toy", "onnx", "", (Tensor("window", "float32", (3, 16, 16)),), TOY.outputs)
    monkeypatch.setattr(contract, "SERVED", (*MODELS, sized))
    graph = onnx.load(str(source))
    graph.graph.node[-1].input[0] = "window"
    assert set(groups("toy", graph)) == {"fine", OWN, COMPOSITE}


def test_rounding_is_of_the_named_nodes_alone(source, sets):
    graph = onnx.load(str(source))

    def answer(nodes):
        model = rounded(graph, nodes)
        onnx.checker.check_model(model)
        path = source.with_name("rounded.onnx")
        onnx.save(model, str(path))
        return parity.run_onnx(TOY, path, sets)["drawn"]["y"]

    exact = answer([])
    np.testing.assert_array_equal(exact, parity.run_onnx(TOY, source, sets)["drawn"]["y"])
    some, all_nodes = answer([NODE]), answer([n.name for n in graph.graph.node])
    assert 0 < np.abs(some - exact).mean() < np.abs(all_nodes - exact).mean() < 1e-2
    np.testing.assert_array_equal(all_nodes, all_nodes.astype(np.float16))


class TestServed:
    @pytest.fixture
    def ask(self, monkeypatch):
        truth = np.full((40, 40, 3), 100, np.uint8)
        tensors = {"box": np.array([[8, 8, 32, 32]], np.int32)}

        def run(found: np.ndarray) -> list[Loss]:
            class Client:
                def __init__(self, url):
                    pass

                def __enter__(self):
                    return self

                def __exit__(self, *exception):
                    pass

                def try_on(self, *wish):
                    return SimpleNamespace(image=Image.fromarray(found))

            monkeypatch.setattr(tryon_client, "TryOnClient", Client)
            monkeypatch.setattr(grpc_stage, "onnx_network", lambda model, path: None)
            monkeypatch.setattr(grpc_stage, "run_chain", lambda *a: {"picture": truth[None]})
            monkeypatch.setattr(
                grpc_stage, "regions", lambda g, t: {"garment": np.ones((1, 24, 24), bool)}
            )
            sample = SimpleNamespace(name="photo", person=truth, garment=None, prompt="",
                                     category="upper")  # fmt: skip
            told = SimpleNamespace(picture=truth, tensors=tensors)
            return grpc_stage.served("here:1", Path("x"), [sample], {"photo": told}, nn.Identity())

        return lambda change: run(change(truth.copy()))

    def test_the_answer_of_a_healthy_server_passes(self, ask):
        rows = ask(lambda p: p)
        assert {(r.stage, r.against, r.region) for r in rows} == {
            ("grpc", "torch", "garment"), ("grpc", "onnx", "garment")
        }  # fmt: skip
        require(rows)

    def test_a_garment_drawn_otherwise_is_caught(self, ask):
        def change(p):
            p[8:32, 8:32] += 5
            return p

        with pytest.raises(PrecisionError, match=r"tryon: tensor 'picture' in grpc against torch"):
            require(ask(change))

    def test_a_byte_beside_the_window_is_caught(self, ask):
        def change(p):
            p[0, 0, 0] += 1
            return p

        with pytest.raises(PrecisionError, match="region 'outside'"):
            require(ask(change))


def test_a_repository_that_is_not_there_is_named_with_the_command(tmp_path, capsys):
    assert gate.main(["--repository", str(tmp_path / "tensorrt_rtx")]) == 1
    assert "make export TARGET=tensorrt_rtx" in capsys.readouterr().err


def test_int8_is_for_engines(tmp_path, capsys):
    for more in (["--target", "cpu"], ["--target", "tensorrt", "--onnx-only"]):
        options = ["--precision", "int8", "--repository", str(tmp_path), *more]
        assert command.main(options) == 1
        assert "TARGET=tensorrt_rtx" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
