"""The published shape: its parts do what they should, and its width follows its arithmetic."""

from __future__ import annotations

import onnxruntime
import pytest
import torch

from benchmarks import published


def test_correlation_is_of_each_shift():
    a, b = torch.rand(1, 4, 6, 5), torch.rand(1, 4, 6, 5)
    found = published._correlation(a, b)
    side = 2 * published.REACH + 1
    assert found.shape == (1, side * side, 6, 5)
    middle = found[:, side * side // 2]
    torch.testing.assert_close(middle, (a * b).mean(1))
    # One to the right of the middle: b's next column.
    torch.testing.assert_close(
        found[:, side * side // 2 + 1, :, :-1], (a[..., :-1] * b[..., 1:]).mean(1)
    )


def test_warping_follows_the_flow():
    x = torch.rand(1, 2, 6, 5)
    torch.testing.assert_close(published._warped(x, torch.zeros(1, 2, 6, 5)), x)
    right = torch.zeros(1, 2, 6, 5)
    right[:, 0] = 1
    torch.testing.assert_close(published._warped(x, right)[..., :-1], x[..., 1:])


def test_the_width_gives_the_arithmetic_that_is_asked_for(tmp_path):
    width, parameters, gflops = published.width_for(3.0, tmp_path)
    assert width % 4 == 0 and gflops == pytest.approx(3.0, rel=0.4)
    assert parameters > 1000
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (picture,) = session.run(None, published.values())
    assert picture.shape == (1, *published.SHAPE.outputs[0].shape)


def test_the_table_and_a_missing_repository(tmp_path, capsys):
    row = {"name": "ours", "gflops": 3.7, "parameters": 5e6, "p50": 70.0, "p99": 90.0}
    text = published.table([row], {"value": 12.3, "low": 11.0, "high": 13.0})
    assert "12.3 (11.0 to 13.0)" in text and max(map(len, text.splitlines())) <= 100
    assert published.main(["--repository", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("published: ") and said.count("\n") == 1 and "make export" in said
