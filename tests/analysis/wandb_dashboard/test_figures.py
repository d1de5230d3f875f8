"""Figures that explain the networks in W&B, offline: its own files are read back; nothing names a patient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml
from matplotlib.figure import Figure
from PIL import Image

from analysis.report.explained_study import ExplainedStudy
from analysis.runs.load import load_runs
from analysis.runs.study import Study, find_studies
from analysis.visualize import main
from analysis.wandb_dashboard.figures import log_figures
from stages.errors import RelayError
from tests.helpers.fake_explained import fake_explained
from tests.helpers.report_helpers import small_study
from tests.helpers.wandb_files import Tracked, away, read_tracked

pytestmark = pytest.mark.slow

PATIENTS = ("PATIENT", "slice-", "Meyer-1951", "predictions")
FIGURES = {
    "explanations/randomisation",
    "explanations/deletion",
    "explanations/feature_maps",
    "explanations/own_feature_maps",
    "explanations/frequency_response",
    "explanations/reference_image",
    "explanations/stage_changes",
    "explanations/process_similarity",
    "explanations/filters",
}


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("wandb-home")
    with away(folder) as patch:
        patch.setenv("NETRC", "/nonexistent/netrc")
        patch.setattr("analysis.report.figures.PNG_DPI", 40)
        yield folder


def _store(folder: Path) -> Study:
    """A study whose images lie where a patient's name is, logged under `relay-tests`."""
    small_study(ratios=(1.0,)).write(folder)
    (study,) = find_studies(load_runs(folder))
    config = {
        "logger": {"wandb": "online", "project": "relay-tests", "entity": None, "study": "paper"},
        "data": {"domains": {"dld": {"root": f"/archive/{PATIENTS[2]}"}}},
    }
    for run in study.runs["folder"]:
        (Path(run) / "config.yaml").write_text(yaml.safe_dump(config))
    return study


def _explained(study: Study) -> ExplainedStudy:
    shown = fake_explained().summaries["maps"]["shown"]
    seeds = {"scratch": (0, 1, 2), "two_stage": (0, 1, 2)}
    return fake_explained(seeds, study.id, maps={"own": shown})


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not drawn: that takes most of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"-"))


@dataclass(frozen=True)
class Logged:
    """A store's study, and its figures logged twice: where each call's run is."""

    study: Study
    runs: list[Tracked]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    """By the command, twice: each in a store of its own, of the same study."""
    runs = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("first", "second"):
            store = tmp_path_factory.mktemp(name) / "runs"
            study = _store(store)
            patch.setattr("analysis.visualize.explain", lambda *_, study=study: (study, _explained(study)))
            main([f"runs_dir={store}", "wandb=offline"])
            runs.append(read_tracked(store))
    return Logged(study, runs)


def test_every_figure_is_an_image_of_one_step(logged: Logged) -> None:
    for tracked in logged.runs:
        (row,) = tracked.history
        images = {key.removesuffix("._type") for key, value in row.items() if value == "image-file"}
        assert images == FIGURES
        figures = tracked.folder / "explanations" / "figures"
        for name in images:
            (file,) = tracked.folder.glob(f"wandb/offline-run-*/files/media/images/{name}_*.png")
            with (
                Image.open(file) as sent,
                Image.open(figures / f"{name.removeprefix('explanations/')}.png") as own,
            ):
                assert sent.size == own.size
                assert sent.convert("RGB").tobytes() == own.convert("RGB").tobytes()


def test_captions_say_what_is_drawn(logged: Logged) -> None:
    (row,) = logged.runs[0].history
    captions = {value for key, value in row.items() if key.endswith(".caption")}
    assert len(captions) == len(FIGURES)
    assert any(caption.startswith("Insertion and deletion") for caption in captions)


def test_the_run_is_found_beside_the_study_s(logged: Logged) -> None:
    tracked = logged.runs[0]
    assert tracked.run.project == "relay-tests"
    assert tracked.run.run_group == "paper/analysis"
    assert tracked.run.job_type == "analysis"
    assert tracked.tags == {"analysis", "dld"}
    assert tracked.exit_code == 0


def test_figures_made_again_come_to_the_same_run(logged: Logged) -> None:
    first, second = logged.runs
    assert first.run.run_id == second.run.run_id == f"explanations-{logged.study.id}"
    assert first.run.resume and second.run.resume


def test_no_byte_names_a_patient_a_sample_or_a_folder(logged: Logged, home: Path) -> None:
    for tracked in logged.runs:
        written = [
            path for root in (tracked.folder / "wandb", home) for path in root.rglob("*") if path.is_file()
        ]
        assert any(path.suffix == ".wandb" for path in written)
        for path in written:
            content = path.read_bytes()
            # W&B's logs of itself name the folder that they are in; `wandb sync` does not send them.
            names = PATIENTS if path.suffix == ".log" else (*PATIENTS, str(tracked.folder))
            for name in names:
                for encoded in (name.encode(), name.encode("utf-32-le")):
                    assert encoded not in content, (path, name)


def test_the_machine_is_not_named(logged: Logged) -> None:
    assert {tracked.run.host for tracked in logged.runs} == {""}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("asked", [(), ("wandb=disabled",)])
def test_nothing_is_logged_unless_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...]
) -> None:
    study = _store(tmp_path)
    monkeypatch.setattr(wandb, "init", lambda **_: pytest.fail("W&B was started"))
    monkeypatch.setattr("analysis.visualize.explain", lambda *_: (study, _explained(study)))
    monkeypatch.setenv("WANDB_MODE", "online")
    main([f"runs_dir={tmp_path}", *asked])
    assert (tmp_path / "explanations" / "figures" / "feature_maps.png").is_file()
    assert not (tmp_path / "wandb").exists()


@pytest.mark.usefixtures("undrawn")
def test_without_an_account_online_is_refused_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = _store(tmp_path)

    def refused(**_: Any) -> None:
        raise wandb.errors.UsageError("No API key configured")

    monkeypatch.setattr(wandb, "init", refused)
    monkeypatch.setattr("analysis.visualize.explain", lambda *_: (study, _explained(study)))
    with pytest.raises(SystemExit) as ended:
        main([f"runs_dir={tmp_path}", "wandb=online"])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message == "error: W&B: No API key configured; wandb=offline keeps the figures for `wandb sync`\n"
    assert (tmp_path / "explanations" / "figures" / "feature_maps.png").is_file()  # written before


def test_a_study_without_a_configuration_has_no_project(tmp_path: Path) -> None:
    study = _store(tmp_path)
    for run in study.runs["folder"]:
        (Path(run) / "config.yaml").unlink()
    with pytest.raises(RelayError, match=r"no run of study .* has a config\.yaml, which names its W&B"):
        log_figures([], study, tmp_path, "offline")


@pytest.mark.parametrize("content", ["", "logger: [", "seed: 1"], ids=["empty", "no YAML", "no logger"])
def test_a_configuration_that_names_no_project_is_refused_by_name(tmp_path: Path, content: str) -> None:
    study = _store(tmp_path)
    for run in study.runs["folder"]:
        (Path(run) / "config.yaml").write_text(content)
    with pytest.raises(RelayError, match=r"config\.yaml"):
        log_figures([], study, tmp_path, "offline")
