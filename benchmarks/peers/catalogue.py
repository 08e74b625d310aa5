"""The peers by name. Nothing heavy is imported here: scenarios are checked against it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A peer: what it is, and the module that it needs beyond the project's own environment
    ("" for none; such a peer is a process of its own, run from the peers' environment)."""

    title: str
    needs: str = ""


PEERS = {
    "torch_eager": Entry("torch, eager"),
    "torch_compile": Entry("torch.compile"),
    "onnxruntime": Entry("ONNX Runtime in process"),
    "fastapi": Entry("FastAPI + ONNX Runtime", "fastapi"),
    "litserve": Entry("LitServe + ONNX Runtime", "litserve"),
    "pytriton": Entry("PyTriton + ONNX Runtime", "pytriton"),
}
