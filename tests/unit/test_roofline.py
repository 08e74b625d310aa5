"""Arithmetic and bytes of operators whose answers are known, and perf_analyzer's request files."""

from __future__ import annotations

import base64
import json

import numpy as np
import onnx
import pytest
from onnx import helper

from benchmarks import chain, perf_analyzer, roofline
from benchmarks.inputs import Inputs
from benchmarks.perf_analyzer import __main__ as requests
from tryon.contract import ENSEMBLE_INPUTS, MODELS, OUTPUT_SIZES, Model, Tensor
from tryon.steps import images


@pytest.mark.parametrize(
    ("op", "inputs", "outputs", "flops"),
    [
        ("Conv", [[1, 3, 8, 8], [4, 3, 3, 3], [4]], [[1, 4, 8, 8]], 2 * 4 * 64 * 27),
        ("Conv", [[1, 6, 8, 8], [6, 1, 3, 3]], [[1, 6, 4, 4]], 2 * 6 * 16 * 9),
        ("ConvTranspose", [[1, 3, 4, 4], [3, 2, 2, 2]], [[1, 2, 8, 8]], 2 * 48 * 8),
        ("MatMul", [[1, 9, 384], [384, 64]], [[1, 9, 64]], 2 * 9 * 64 * 384),
        ("Gemm", [[5, 7], [7, 3], [3]], [[5, 3]], 2 * 5 * 3 * 7),
        ("Gemm", [[7, 5], [3, 7], [3]], [[5, 3]], 2 * 5 * 3 * 7),
        ("Add", [[1, 4, 8, 8], [1, 4, 8, 8]], [[1, 4, 8, 8]], 256),
        ("Reshape", [[2, 6], [2]], [[12]], 0),
        ("Mul", [[], []], [[]], 1),
    ],
)
def test_operators_have_their_arithmetic(op, inputs, outputs, flops):
    assert roofline.flops_of(op, inputs, outputs) == flops


def test_a_network_is_counted_at_the_size_it_is_given(tmp_path):
    """A 1x1 convolution and a sum, on a picture of any size."""
    weights = helper.make_tensor("w", onnx.TensorProto.FLOAT, [8, 3, 1, 1], np.ones(24))
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 3, "h", "w"])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 8, "h", "w"])
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Add", ["c", "c"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "toy", [x], [y], [weights])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "model.onnx"
    onnx.save(made, path)
    toy = Model("toy", "onnx", "", (Tensor("x", "float32", (3, -1, -1)),),
                (Tensor("y", "float32", (8, -1, -1)),))  # fmt: skip
    for side in (4, 16):
        area = side * side
        given = {"x": np.ones((1, 3, side, side), np.float32)}
        work = roofline.network_work(toy, path, given)
        assert work.flops == 2 * 8 * 3 * area + 8 * area
        assert work.least_bytes == 4 * (24 + area * (3 + 8))
        # in, weights, out; then twice in (or once, of one tensor), out
        assert 4 * (area * 27 + 24) <= work.operator_bytes <= 4 * (area * 35 + 24)
        assert chain.network(toy, path, 1)(given)["y"].shape == (1, 8, side, side)


def test_of_a_table_of_words_a_few_rows_are_read():
    seen = {"op_name": "Gather", "parameter_size": "4000", "output_size": "40",
            "activation_size": "8", "input_type_shape": [{"float": [100, 10]}, {"int64": [1]}],
            "output_type_shape": [{"float": [1, 10]}]}  # fmt: skip
    event = {"cat": "Node", "name": "words_kernel_time", "args": seen}
    other = {"cat": "Node", "name": "words_fence_before", "args": {}}
    assert roofline.work_of([event, other], 7) == roofline.Work(10, 47, 88)


def test_a_step_in_python_is_its_tensors():
    paste = next(m for m in MODELS if m.name == "paste")
    values = {t.name: np.zeros((1, 2, 2), np.uint8) for t in (*paste.inputs, *paste.outputs)}
    work = roofline.step_work(paste, values)
    assert work == roofline.Work(0.0, 4 * len(values), 4 * len(values))
    decode = next(m for m in MODELS if m.name == "decode")
    values = {t.name: np.zeros(3, np.uint8) for t in (*decode.inputs, *decode.outputs)}
    values["prompt"] = np.array([[b"red shirt"]], object)
    assert roofline.step_work(decode, values).least_bytes == 3 * (len(values) - 1) + 9


def test_rows_lie_under_the_higher_roof():
    peak = roofline.Peak(2, 100e9, 10e9)
    heavy = roofline.row("heavy", peak, roofline.Work(1e9, 1e6, 5e6), 20.0)
    assert (heavy.arithmetic_ms, heavy.roof_ms, heavy.bound) == (10.0, 10.0, "arithmetic")
    wide = roofline.row("wide", peak, roofline.Work(1e8, 2e7, 1e8), 12.0)
    assert wide.roof_ms == 2.0 and wide.operator_ms == 10.0 and wide.bound == "memory"
    assert roofline.row("slow", peak, roofline.Work(0, 1e5, 1e5), 5.0).bound == "overhead"
    text = roofline.table([heavy, wide], [peak])
    assert "100.0 GFLOP/s, 10.0 GB/s" in text and "50%" in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_the_fastest_of_three_calls_at_least():
    calls = []
    assert roofline.fastest(lambda: calls.append(1), seconds=0) >= 0 and len(calls) == 3


def test_a_missing_repository_is_one_line(tmp_path, capsys):
    assert roofline.main(["--repository", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("roofline: ") and said.count("\n") == 1 and "make export" in said


def tensor(given):
    return np.frombuffer(base64.b64decode(given["content"]["b64"]), np.uint8).reshape(
        given["shape"]
    )


@pytest.mark.parametrize("size", OUTPUT_SIZES)
def test_perf_analyzers_files_hold_requests_of_the_contract(size):
    path = requests.FOLDER / f"{size[0]}x{size[1]}-jpeg.json"
    data = json.loads(path.read_text())["data"]
    assert len(data) == requests.REQUESTS and perf_analyzer.__doc__
    for request in data:
        assert set(request) == {t.name for t in ENSEMBLE_INPUTS}
        assert images.read("person", tensor(request["person"]), 1536).shape == (*size, 3)
        assert max(images.read("garment", tensor(request["garment"]), None).shape) == max(
            *size, 512
        )
        assert request["category"] == {"content": ["upper"], "shape": [1]}
    assert len({request["prompt"]["content"][0] for request in data}) == len(data)


def test_perf_analyzers_raw_requests():
    person = np.arange(80 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(80, 64, 3)
    (one,) = json.loads(requests.request_file(Inputs(person, person), "raw", 1))["data"]
    np.testing.assert_array_equal(tensor(one["person"]), person)
