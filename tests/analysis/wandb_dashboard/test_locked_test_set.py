"""The locked test set in W&B: closed unless asked for, then in the summaries and a section of the view."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
import yaml

from analysis.runs import load_runs
from analysis.runs.openings import read_openings
from analysis.wandb_dashboard.__main__ import main
from analysis.wandb_dashboard.locked_test_set import open_test_set
from stages.errors import RelayError
from stages.recipe import short_id
from tests.helpers.fake_study import FakeStudy
from tests.helpers.fake_test_set import add_test_set

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(  # wandb-workspaces 0.4.13 under pydantic 2
        "ignore:Pydantic V1 style:pydantic.warnings.PydanticDeprecatedSince20"
    ),
]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two processes of two seeds that were logged under the study `paper`, and a run of another study."""
    folders = FakeStudy(("scratch", "two_stage"), range(2), (1.0,), samples=60).write(tmp_path)
    add_test_set(folders)
    for number, folder in enumerate(folders):
        study = "other" if number == 3 else "paper"
        folder.config.write_text(yaml.safe_dump({"logger": {"study": study}}))
    return tmp_path


def test_a_dry_run_shows_what_would_be_sent(store: Path, tmp_path: Path) -> None:
    view = tmp_path / "view.json"
    typed = ["entity=team", "study=paper", "dry_run=true", f"out={view}"]
    main(typed)
    assert "test" not in json.loads(view.read_text())["view"]["spec"]["section"]["panelBankConfig"]
    assert "test_accuracy" not in view.read_text() and read_openings(store) == []
    main([*typed, f"runs_dir={store}", "test=open"])
    content = json.loads(view.read_text())
    (opening,) = read_openings(store)
    assert (opening.runs, opening.command.split()[:3]) == (3, ["python", "-m", "analysis.wandb_dashboard"])
    first = content["view"]["spec"]["section"]["panelBankConfig"]["sections"][0]
    assert first["name"] == f"Locked test set, first opening, {opening.time}"
    assert "test_accuracy" in {panel["config"]["metrics"][0] for panel in first["panels"]}
    runs = load_runs(store, test="open").set_index("id")
    sent = content["summaries"]
    assert len(sent) == 3
    for run, row in runs[runs["process"].notna()].iterrows():
        if short_id(str(run)) in sent:
            assert sent[short_id(str(run))]["test_accuracy"] == row["test_accuracy"]


def test_values_go_to_the_summaries_and_a_run_that_is_not_there_is_said(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_test_set(store, ["paper"], "typed")
    absent = sorted(opened.values)[0]
    summaries: dict[str, dict[str, float]] = {}

    class Api:
        def run(self, path: str) -> Any:
            if path.endswith(absent):
                raise ValueError("could not find run")
            return SimpleNamespace(summary=summaries.setdefault(path, {}))

    monkeypatch.setattr(wandb, "Api", Api)
    with pytest.raises(RelayError, match=f"1 run of 3, such as {absent}, did not take test values"):
        opened.send("team", "relay")
    assert summaries == {
        f"team/relay/{run}": values for run, values in opened.values.items() if run != absent
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("test=close", "runs_dir=x"), "test=close is not known"),
        (("test=open",), "test=open and runs_dir=FOLDER, the store of the runs, go together"),
        (("runs_dir=x",), "go together"),
        (("test=open", "runs_dir=/nowhere"), "there is no folder /nowhere"),
        (("test=open", "study=unknown"), "under study=unknown; there are other, paper"),
    ],
)
def test_what_cannot_be_opened_is_refused(
    store: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    if "study=unknown" in arguments:
        arguments = (*arguments, f"runs_dir={store}")
    with pytest.raises(RelayError, match=message):
        main(["entity=team", "dry_run=true", f"out={tmp_path / 'view.json'}", *arguments])
    assert read_openings(store) == []
