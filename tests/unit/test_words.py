"""E^T's head for stylings, taught by itself."""

from __future__ import annotations

from pathlib import Path

import torch

from training import words
from training.captions import STYLINGS
from tryon.contract import STYLING
from tryon.models import system


def test_sentences_are_all_different_and_say_what_they_say() -> None:
    said, truth = words.sentences(400, 3)
    assert len(set(said)) == 400 and truth.shape == (400, len(STYLING))
    assert words.sentences(400, 3)[0] == said
    for i, values in enumerate(STYLING.values()):
        assert set(truth[:, i].tolist()) == set(range(len(values)))
    silent = [values.index(0) for values in STYLING.values()]
    for sentence, how in zip(said, truth.tolist(), strict=True):
        if how != silent:
            assert any(styling in sentence for styling in STYLINGS), sentence


def test_the_head_alone_is_taught(tmp_path: Path, capsys) -> None:
    arguments = ["--sentences", "1024", "--epochs", "30", "--out", str(tmp_path)]
    assert words.main(arguments) == 0
    shares = dict(line.rsplit(None, 1) for line in capsys.readouterr().out.splitlines()[:-1])
    assert all(float(share) > 0.8 for name, share in shares.items() if not name.endswith("all"))
    before, after = (
        system.trained_state(system.load_models(folder)) for folder in (None, tmp_path)
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith("text_encoder.styling.")}
    assert system.metadata(tmp_path)["words_sentences"] == "1024"


def test_too_few_sentences_and_no_weights_are_told(tmp_path: Path, capsys) -> None:
    assert words.main(["--weights", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
