"""From the names that TensorRT and ONNX give to the modules that we wrote."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # reading a message of TensorRT takes no torch
    from torch import nn

_NODE = re.compile(r"(?<![\w./])/(?:[A-Za-z_][\w.]*/)*[A-Za-z]\w*(?![\w/]|\.\w)")
"""A node's or tensor's name as the tracer writes it, `/fine/fine.1/Conv`. The operator has no dot,
so that TensorRT's own source files, `/src/parser.cpp:12`, are none."""


def module_of(model: str, node: str, root: nn.Module | None = None) -> str:
    """The torch module that a traced node belongs to.

    The tracer writes the way to it, each list's name once more with the place in it:
    `/fine/fine.1/first/first.2/Conv` of the generator is `generator.fine.1.first.2`. A node of the
    model's own forward answers the model, and so does a name that no tracer wrote.

    Args:
        model: its served name.
        node: the ONNX node's name.
        root: the network. A module that is not called itself is left out of the node's name
            (`/layer.1/MatMul` for `bert.encoder.layer.1`): with it the whole name is found.
    """
    parts: list[str] = []
    for part in node.split("/")[1:-1]:
        if parts and part.startswith(parts[-1] + "."):
            parts[-1] = part
        else:
            parts.append(part)
    if root is not None:
        known = [name for name, _ in root.named_modules() if name]
        while parts:
            way = ".".join(parts)
            fits = [name for name in known if name == way or name.endswith(f".{way}")]
            if fits:
                parts = [min(fits, key=len)]
                break
            parts.pop()
    return ".".join([model, *parts])


def explained(model: str, message: str) -> str:
    """A message of TensorRT with the module's name behind each node's."""

    def explain(found: re.Match[str]) -> str:
        return f"{found[0]} (module {module_of(model, found[0])})"

    return _NODE.sub(explain, message)
