"""The mean of weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from training import average
from tryon.models import system


def test_the_mean_is_weighted_and_keeps_types() -> None:
    one = {"a": torch.full((3,), 1.0, dtype=torch.float16), "count": torch.tensor(4)}
    two = {"a": torch.full((3,), 4.0, dtype=torch.float16), "count": torch.tensor(9)}
    mean = average.mean_of([one, two], [2, 1])
    assert mean["a"].dtype == torch.float16 and torch.equal(mean["a"], torch.full((3,), 2.0).half())
    assert mean["count"] == 4


@pytest.mark.parametrize("shares", [[1.0], [1.0, 0.0], [1.0, -1.0]])
def test_shares_that_cannot_be_are_told(shares: list[float]) -> None:
    state = {"a": torch.zeros(2)}
    with pytest.raises(ValueError, match="--shares"):
        average.mean_of([state, state], shares)


def test_a_mean_of_files_is_weights_again_and_says_of_what(tmp_path: Path, capsys) -> None:
    own = load_file(system.WEIGHTS / system.FILE)
    name = next(n for n, t in own.items() if n.endswith("weight") and t.dim() == 4)
    moved = {**own, name: own[name] + 1}
    (tmp_path / "moved").mkdir()
    save_file(moved, tmp_path / "moved" / system.FILE, system.metadata())
    folders = [str(system.WEIGHTS), str(tmp_path / "moved")]
    out = tmp_path / "mean"
    assert average.main([*folders, "--shares", "3", "1", "--out", str(out)]) == 0
    found = load_file(out / system.FILE)
    assert torch.allclose(found[name].float(), own[name].float() + 0.25, atol=2e-3)
    assert all(torch.equal(found[n], own[n]) for n in own if n != name)
    said = system.metadata(out)
    assert said["shares"] == "3 1" and said["mean_of"].split()[0] == system.weights_hash()[:12]
    capsys.readouterr()
    save_file({"a": torch.zeros(1)}, tmp_path / "moved" / system.FILE)
    assert average.main([*folders, "--out", str(tmp_path / "no")]) == 2
    assert capsys.readouterr().err.startswith("error: ") and not (tmp_path / "no").exists()
    assert average.main([str(tmp_path / "none"), "--out", str(tmp_path / "no")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
