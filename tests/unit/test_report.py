"""`make evaluate`: every part in one run, whole files, and one-line errors."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from training import report
from training.evaluate import Shown


def shown(psnr: float) -> Shown:
    return Shown(psnr, np.full((8, 24, 3), 7, np.uint8))


def test_sheets_hold_the_best_the_median_and_the_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_labelled", lambda s: np.full_like(s.row, int(s.psnr)))
    gallery = [shown(p) for p in np.random.default_rng(0).permutation(60)] + [shown(float("nan"))]
    made = report.sheets(gallery)
    first = {name: sheet[::8, ::24, 0].ravel().tolist() for name, sheet in made.items()}
    assert first["best"] == list(range(59, 43, -1))
    assert first["median"] == list(range(37, 21, -1))
    assert first["worst"] == list(range(16))
    few = report.sheets([shown(3), shown(1), shown(2)])
    assert few["worst"].shape == (16, 48, 3) and (few["worst"][8:, 24:] == 255).all()
    assert report.sheets([]) == {}


def test_a_label_is_on_the_picture_and_leaves_the_gallery_alone() -> None:
    one = Shown(21.04, np.full((64, 256, 3), 120, np.uint8))
    assert (report._labelled(one) != one.row).any() and (one.row == 120).all()


def test_curves_are_drawn_of_the_lines_that_have_them(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    lines = [{"step": 10 * k, "total": 5 - k / 10, "iou": 0.5, "flow": 1, "picture": 1}
             for k in range(9)]  # fmt: skip
    log.write_text("\n".join(map(json.dumps, [{"step": 1, "total": 9.0}, *lines])))
    figure = report.curves(log)
    drawn = figure.axes[0].lines[0].get_xydata()
    assert len(figure.axes) == 4 and drawn[0].tolist() == [0, 5] and len(drawn) == 9
    figures = {"mask_iou": 0.8, "flow_error_px": 7, "psnr_changed_db": 17, "feature_distance": 3}
    log.with_name("validation.jsonl").write_text(json.dumps({"step": 40} | figures))
    figure = report.curves(log)
    assert len(figure.axes) == 8 and figure.axes[4].lines[0].get_xydata().tolist() == [[40, 0.8]]
    log.write_text('{"step": 1}')
    assert report.main(["--pairs", "0", "--no-photos", "--log", str(log), "--out",
                        str(tmp_path / "out")]) == 2  # fmt: skip


def test_what_is_run_is_written_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rendered: list[tuple[object, ...]] = []
    monkeypatch.setattr(report, "render", lambda *given: rendered.append(given))

    def evaluate(*given: object, gallery: list[Shown], **more: object) -> object:
        gallery += [shown(20.0), shown(10.0)]
        return {"ours": {"psnr_changed_db": 15.0}, "spline": {"psnr_changed_db": 12.0}}, {}

    monkeypatch.setattr(report, "evaluate", evaluate)
    out = tmp_path / "out"
    arguments = ["--pairs", "4", "--no-photos", "--scenes", str(tmp_path), "--out", str(out)]
    assert report.main(arguments) == 0
    assert [given[3] for given in rendered] == [80, 81] and {g[-1] for g in rendered} == {"test"}
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["figures.json", "tables.txt",
         *(f"{kind}-{part}.jpg" for kind in ("photographed", "rendered")
           for part in ("best", "median", "worst"))]
    )  # fmt: skip
    assert cv2.imread(str(out / "rendered-best.jpg")).shape == (8, 48, 3)
    figures = json.loads((out / "figures.json").read_text())
    assert figures["rendered people"]["spline"]["psnr_changed_db"] == 12
    assert "spline" in (out / "tables.txt").read_text() and str(out) in capsys.readouterr().out


def test_mistakes_are_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["--weights", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
