"""What explains the networks, on the report's page: there once it was computed, and without anyone's name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.report.__main__ import main
from analysis.report.explained_study import save_explained
from analysis.runs.load import load_runs
from analysis.runs.study import find_studies
from tests.helpers.fake_explained import fake_explained, fake_shown
from tests.helpers.relay import PROJECT, environment
from tests.helpers.report_helpers import small_study

pytestmark = pytest.mark.slow

PATIENTS = re.compile(r"PATIENT|slice-")
SEEDS = {"scratch": (0, 1, 2), "two_stage": (0, 1, 2)}


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not drawn: that takes most of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"-"))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Six runs on all of the training data."""
    small_study(ratios=(1.0,)).write(tmp_path / "runs")
    return tmp_path / "runs"


def _study(store: Path) -> str:
    (study,) = find_studies(load_runs(store))
    return study.id


def _page(store: Path) -> str:
    main([f"runs_dir={store}"])
    return (store / "report" / "report.html").read_text()


def test_the_page_says_that_the_networks_have_not_been_analysed(store: Path) -> None:
    page = _page(store)
    assert "The networks have not been analysed yet: python -m analysis.visualize" in page
    assert "What the networks take from an image" in page
    assert "Which spatial frequencies" not in page
    assert not (store / "report" / "figures" / "feature_maps.svg").exists()


def test_what_explains_another_study_is_not_shown(store: Path) -> None:
    save_explained(fake_explained(SEEDS, study="00000000"), store)
    assert "have not been analysed yet" in _page(store)


def test_the_page_shows_what_was_computed(store: Path) -> None:
    save_explained(fake_explained(SEEDS, _study(store)), store)
    page = _page(store)
    assert "have not been analysed" not in page
    headings = (
        "What the networks take from an image",
        "Which spatial frequencies",
        "What each stage changed",
    )
    places = [page.index(f"{heading}") for heading in headings]
    assert places == sorted(places)
    assert "hardly depend on the weights" in page  # 0.5, the last step's rank correlation
    for name in ("feature_maps", "frequency_response", "stage_changes", "filters"):
        assert (store / "report" / "figures" / f"{name}.svg").is_file()
    checks = pd.read_csv(store / "report" / "tables" / "map_checks.csv")
    assert checks["process"].tolist() == ["scratch", "two_stage"]
    np.testing.assert_allclose(checks["random_rank"], 0.5)
    assert "Made of" not in page
    assert "Left out" not in page


def test_the_page_says_when_runs_were_added_since(store: Path) -> None:
    explained = fake_explained({"scratch": (0, 1), "two_stage": (0, 1, 2)}, _study(store))
    save_explained(explained, store)
    assert "Made of 5 runs; there are 6 now." in _page(store)


def test_runs_on_a_part_of_the_training_data_are_not_missed(tmp_path: Path) -> None:
    small_study(ratios=(0.2, 1.0)).write(tmp_path)
    save_explained(fake_explained(SEEDS, _study(tmp_path)), tmp_path)
    assert "Made of" not in _page(tmp_path)


def test_no_patient_is_named_on_the_page(store: Path) -> None:
    explained = fake_explained(SEEDS, _study(store), maps={"own": fake_shown(["image 1"], 2)})
    save_explained(explained, store)
    assert PATIENTS.search(_page(store)) is None


def test_a_damaged_file_is_one_message(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save_explained(fake_explained(SEEDS, _study(store)), store)
    file.write_bytes(b"something else")
    with pytest.raises(SystemExit) as ended:
        main([f"runs_dir={store}"])
    assert ended.value.code == 2
    assert f"{file.name} is damaged" in capsys.readouterr().err


def test_a_process_that_was_not_explained_is_not_among_the_maps(store: Path) -> None:
    """two_stage came later: its runs are counted, its results on the page, its maps not."""
    save_explained(fake_explained({"scratch": (0, 1, 2)}, _study(store)), store)
    page = _page(store)
    assert "Made of 3 runs; there are 6 now." in page
    checks = pd.read_csv(store / "report" / "tables" / "map_checks.csv")
    assert checks["process"].tolist() == ["scratch"]


def test_a_process_whose_runs_are_gone_is_still_explained(store: Path) -> None:
    seeds = {**SEEDS, "natural": (0,), "own": (1,)}
    save_explained(fake_explained(seeds, _study(store)), store)
    _page(store)
    checks = pd.read_csv(store / "report" / "tables" / "map_checks.csv")
    assert set(checks["process"]) == set(seeds)


WITHOUT_TORCH = """
import sys
from pathlib import Path

from matplotlib.figure import Figure

Figure.savefig = lambda self, file, **_: file.write(b"-")
from analysis.report.__main__ import main
from analysis.report.explained_study import save_explained
from tests.helpers.fake_explained import fake_explained

store, study = sys.argv[1:]
main([f"runs_dir={store}"])
assert "torch" not in sys.modules, "a report loads torch"
save_explained(fake_explained({"scratch": (0, 1, 2), "two_stage": (0, 1, 2)}, study), Path(store))
main([f"runs_dir={store}"])
assert "torch" not in sys.modules, "a report of explained networks loads torch"
"""


def test_a_report_does_not_load_torch(store: Path) -> None:
    """Neither before the networks were analysed nor for the figures of stored summaries."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(store), _study(store)],
        cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "How similar the processes" in (store / "report" / "report.html").read_text()
