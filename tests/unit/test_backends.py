"""What a network's step remembers."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest

from export.repository import BACKENDS


@pytest.fixture(scope="module")
def backend():
    """`onnx_model.py`, which only Triton's Python stub can run whole."""
    name = "triton_python_backend_utils"
    sys.modules.setdefault(name, ModuleType(name))
    spec = importlib.util.spec_from_file_location("onnx_model", BACKENDS / "onnx_model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    if not hasattr(sys.modules[name], "__file__"):
        del sys.modules[name]


def test_the_oldest_answer_goes_first(backend):
    memory = backend.Memory(100)
    for name in (b"a", b"b", b"c"):
        memory.keep(name, [np.zeros(30, np.uint8), np.zeros(10, np.uint8)])
    assert memory.find(b"a") is None, "two of 40 bytes fit into 100"
    assert memory.find(b"b") is not None, "and this one was now used last"
    memory.keep(b"d", [np.ones(40, np.uint8)])
    assert memory.find(b"c") is None and memory.find(b"b") is not None
    assert (memory.find(b"d")[0] == 1).all()
    memory.keep(b"e", [np.zeros(101, np.uint8)])
    assert not any(memory.find(name) for name in (b"b", b"d", b"e")), "too large for it"


def test_a_key_is_of_all_that_is_given(backend):
    key = backend.Memory.key
    given = {"a": np.arange(6, dtype=np.int32), "b": np.zeros((2, 2), np.float32)}
    same = {"b": np.zeros((2, 2), np.float32), "a": np.arange(12, dtype=np.int32)[:6]}
    assert key(given) == key(same)
    others = (
        {**given, "a": given["a"].reshape(2, 3)},
        {**given, "a": given["a"].view(np.uint32)},
        {**given, "b": np.float32([[0, 0], [0, 1]])},
        {"a": given["a"], "c": given["b"]},
        {"a": given["a"]},
    )
    assert len({key(other) for other in others} | {key(given)}) == 1 + len(others)
    strided = np.arange(12, dtype=np.int32)[::2]
    assert key({"a": strided}) == key({"a": strided.copy()})


@pytest.mark.parametrize(("cores", "kept"), [({3, 6}, {6}), ({0}, None), ({0, 1, 2, 3}, None)])
def test_a_step_stays_on_a_core_where_there_are_two(backend, monkeypatch, cores, kept):
    found = []
    monkeypatch.setattr("os.sched_getaffinity", lambda process: cores)
    monkeypatch.setattr("os.sched_setaffinity", lambda process, own: found.append(own))
    backend.stay_on(1)
    assert found == ([] if kept is None else [kept])


def test_steps_on_a_core_are_those_of_the_two_branches():
    from export.config import SETTINGS, model_config
    from tryon import contract

    for model in contract.SERVED:
        assert ('key: "core"' in model_config(model, "cpu")) == (model.name in SETTINGS.cores)
        assert 'key: "core"' not in model_config(model, "cuda")
    assert set(SETTINGS.cores) < {model.name for model in contract.SERVED}
