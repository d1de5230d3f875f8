"""`predict.py` with evaluate=true: its files, its page, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import predict
from tests.helpers.elsewhere_store import write_networks, write_set


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    write_networks(folder)
    write_set(folder / "DOE_JANE-elsewhere", classes=("Consolidation", "normal"))
    return folder


def typed(home: Path, out: Path, *more: str) -> list[str]:
    source = home / "DOE_JANE-elsewhere"
    keys = [f"runs_dir={home / 'runs'}", "process=two_stage", f"source={source}", f"out={out}"]
    return [*keys, "evaluate=true", "device=cpu", "threads=1", *more]


@pytest.mark.slow
def test_one_page_with_the_answer_first_and_tables_beside_it(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict.main(typed(home, tmp_path / "out"))
    printed = " ".join(capsys.readouterr().out.split())
    assert "On this set the 2 networks together are right on" in printed and "report:" in printed
    page = (tmp_path / "out" / "report.html").read_text()
    answer = re.search(r'<section id="answer"[^>]*>\s*<p class="lead">(.*?)</p>', page)
    assert answer is not None and "at home a single network reaches" in answer[1]
    for text in ("ground_glass", "other seeds and groups", "Consolidation is consolidation", "all of them"):
        assert text in page, text
    written = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".html", ".json", ".csv")]
    for path in written:
        if path.name != "predictions.csv":
            assert "DOE" not in path.read_text(), path
    metrics = pd.read_csv(tmp_path / "out" / "metrics.csv")
    assert list(metrics) == ["metric", "of", "value", "low", "high", "covers"]
    predictions = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert [*predictions][:2] == ["path", "class"] and len(predictions) == 12
    right = float((predictions["class"] == predictions["true_class"]).mean())
    ensemble = metrics[(metrics["metric"] == "accuracy") & (metrics["of"] == "ensemble")]
    assert ensemble["value"].item() == pytest.approx(right)
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["calibration"] is None and settings["evaluate"] is True
    groups = pd.read_csv(tmp_path / "out" / "groups.csv")
    assert np.average(groups["accuracy"], weights=groups["images"]) == pytest.approx(right)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["calibration=temperature"], "needs 50 images that the networks were not trained on; there are 15"),
        (["classes=Consolidation:con"], "no class of the networks"),
        (["side=test"], "has no such images; it has train (12)"),
        (["groups=nowhere.csv"], "nowhere.csv"),
        (["evaluate=false", "side=test"], "side is for a source with labels: add evaluate=true"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    home: Path, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {key.partition("=")[0] for key in more}
    arguments = [each for each in typed(home, tmp_path / "out") if each.partition("=")[0] not in keys]
    with pytest.raises(SystemExit) as ended:
        predict.main([*arguments, *more])
    assert ended.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / "report.html").exists()
