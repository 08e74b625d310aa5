"""From the names that TensorRT and ONNX give to the modules that we wrote."""

from __future__ import annotations

import re

_NODE = re.compile(r"(?<![\w./])/(?:[A-Za-z_][\w.]*/)*[A-Za-z]\w*(?![\w/]|\.\w)")
"""A node's or tensor's name as the tracer writes it, `/fine/fine.1/Conv`. The operator has no dot,
so that TensorRT's own source files, `/src/parser.cpp:12`, are none."""


def module_of(model: str, node: str) -> str:
    """The torch module that a traced node belongs to.

    The tracer writes the way to it, each list's name once more with the place in it:
    `/fine/fine.1/first/first.2/Conv` of the generator is `generator.fine.1.first.2`. A node of the
    model's own forward answers the model, and so does a name that no tracer wrote.
    """
    parts: list[str] = []
    for part in node.split("/")[1:-1]:
        if parts and part.startswith(parts[-1] + "."):
            parts[-1] = part
        else:
            parts.append(part)
    return ".".join([model, *parts])


def explained(model: str, message: str) -> str:
    """A message of TensorRT with the module's name behind each node's."""

    def explain(found: re.Match[str]) -> str:
        return f"{found[0]} (module {module_of(model, found[0])})"

    return _NODE.sub(explain, message)
