"""The gate's last stage: the pictures that a running server answers over gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from export.chain import onnx_network, run_chain
from export.precision import Loss, picture_losses
from export.regions import regions
from export.repository import FORMS, VERSION
from export.samples import Sample
from tryon.contract import MODELS
from tryon.pipeline import TryOn


def served(
    server: str, repository: Path, requests: list[Sample], truth: Mapping[str, TryOn],
    generator: nn.Module,
) -> list[Loss]:  # fmt: skip
    """Asks a server for the real requests' pictures, and compares them with torch and with the
    repository's float32 files run here.

    Raises:
        tryon_client.TryOnError: it can't be asked.
    """
    from tryon_client import TryOnClient

    networks = {m.name: onnx_network(m, repository / m.name / VERSION / FORMS["fp32"])
                for m in MODELS if m.kind == "onnx"}  # fmt: skip
    rows = []
    with TryOnClient(server) as client:
        for sample in requests:
            told = truth[sample.name]
            tensors = told.tensors
            again = run_chain(networks, tensors, ("photo", "thumbnail", "input_ids", "cloth"))
            answer = client.try_on(sample.person, sample.garment, sample.prompt or None,
                                   sample.category)  # fmt: skip
            found = np.asarray(answer.image.convert("RGB"))
            x0, y0, x1, y1 = (int(v) for v in tensors["box"][0])
            where = regions(generator, tensors)
            inside = (slice(y0, y1), slice(x0, x1))
            for against, picture in (("torch", told.picture), ("onnx", again["picture"][0])):
                one, two = (p[inside][None] for p in (picture, found))
                rows += picture_losses("tryon", sample.name, one, two, where, "grpc", against,
                                       "picture")  # fmt: skip
                outside = (picture != found).any(-1)
                outside[inside] = False
                if outside.any():
                    rows.append(Loss("tryon", "picture", "outside", sample.name, 0.0,
                                     np.inf, True, stage="grpc", against=against))  # fmt: skip
    return rows
