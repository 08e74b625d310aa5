"""Inputs at the edge: people and garments that are all black, all white, tiny, or not there.

Most of these requests end before the networks (`crop` finds nobody in a black picture), so their
tensors are made out of a real request's, and the networks answer them in torch.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from export.chain import Network, Tensors, run_chain

EDGE = "edge: "
"""What their names begin with."""
TINY = 8
"""Side of the tiny person's window in pixels: the least that `crop` cuts out."""


def edge_cases(
    networks: Mapping[str, Network], request: Mapping[str, np.ndarray]
) -> dict[str, Tensors]:
    """Name -> every tensor that the networks take and give.

    Args:
        networks: by served name.
        request: of a real one (`TryOn.tensors`), batch in front, with a garment.
    """
    canvas, white = request["canvas"], np.full_like(request["canvas"], 255)
    nobody = np.concatenate([white[:, :3], np.zeros_like(canvas[:, 3:])], 1)
    size = (TINY, TINY * request["window"].shape[1] // request["window"].shape[2])
    small = cv2.resize(request["window"][0], size, interpolation=cv2.INTER_AREA)
    view = cv2.resize(cv2.resize(request["view"][0], (TINY, TINY)), request["view"].shape[1:3])
    cases = {
        f"{EDGE}black person": _filled(request, ("thumbnail", "window", "view"), 0),
        f"{EDGE}white person": _filled(request, ("thumbnail", "window", "view"), 255),
        f"{EDGE}tiny person": {"window": small[None], "view": view[None]},
        f"{EDGE}black garment": {
            "garment_net": np.zeros_like(request["garment_net"]),
            "canvas": np.concatenate([np.zeros_like(canvas[:, :3]), white[:, 3:]], 1),
        },
        f"{EDGE}white garment": {
            "garment_net": np.full_like(request["garment_net"], 255), "canvas": white,
        },
        f"{EDGE}no garment seen": {
            "garment_net": np.full_like(request["garment_net"], 128), "canvas": nobody,
        },
    }  # fmt: skip
    return {
        # Their boxes stay the real person's: `crop` would refuse most of them.
        name: run_chain(networks, {**request, **tensors}, tensors, without=("crop", "paste"))
        for name, tensors in cases.items()
    }


def _filled(request: Mapping[str, np.ndarray], names: tuple[str, ...], level: int) -> Tensors:
    return {name: np.full_like(request[name], level) for name in names}
