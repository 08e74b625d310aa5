"""INT8 copies of the exported graphs: explicit Q/DQ by nvidia-modelopt, calibrated on requests.

Convolutions and matrix products are quantised; all else is halved afterwards as for fp16. What the
gate refuses stays fp16.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from onnxruntime.quantization.calibrate import CalibrationDataReader

from export.precision import PRECISE, PrecisionError, modelopt
from tryon.contract import Model

QUANTISED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
METHOD = "entropy"
"""How ranges are found (Migacz, 2017)."""


class _Requests(CalibrationDataReader):
    """A network's inputs of each request in turn."""

    def __init__(self, model: Model, sets: Iterable[Mapping[str, np.ndarray]]) -> None:
        self._rows = [{t.name: s[t.name] for t in model.inputs} for s in sets]
        self._left: Iterator[dict[str, np.ndarray]] = iter(self._rows)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)

    def get_first(self) -> dict[str, np.ndarray]:
        return self._rows[0]

    def rewind(self) -> None:
        self._left = iter(self._rows)


def to_int8(
    model: Model, source: Path, sets: Iterable[Mapping[str, np.ndarray]], out: Path
) -> None:
    """Writes the quantised copy of an exported graph, float32 but for the Q/DQ pairs.

    Args:
        model: of the contract.
        source: the float32 ONNX file.
        sets: tensors of real requests, batch in front: what ranges are found on.
        out: the file to write.

    Raises:
        PrecisionError: nvidia-modelopt is not installed, or refuses the graph.
    """
    quantization = modelopt("quantization")
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),  # what it prints of each histogram
    ):
        warnings.simplefilter("ignore")
        own = Path(folder) / "model.onnx"  # it writes beside what it reads
        shutil.copyfile(source, own)
        written = Path(folder) / "int8.onnx"
        level = logging.root.level
        try:
            logging.root.setLevel(logging.ERROR)  # ONNX Runtime's words on each bias
            quantization.quantize(
                str(own), "int8", calibration_data_reader=_Requests(model, sets),
                calibration_eps=["cpu"], calibration_method=METHOD,
                op_types_to_quantize=list(QUANTISED),
                nodes_to_exclude=[f"^{p}$" for p in PRECISE.get(model.name, ())],
                high_precision_dtype="fp32", output_path=str(written), log_level="ERROR",
            )  # fmt: skip
        except Exception as error:
            # Whatever it raises has no common class; its text is what there is to tell.
            raise PrecisionError(
                f"{model.name}: nvidia-modelopt can't quantise {source.name}: {error}; "
                "export without `--precision int8`"
            ) from error
        finally:
            logging.root.setLevel(level)
        if not written.is_file():
            raise PrecisionError(f"{model.name}: nvidia-modelopt wrote no INT8 graph")
        shutil.copyfile(written, out)
