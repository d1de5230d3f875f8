"""How to repeat a study: the command on the page composes what its runs were trained with."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from analysis.report.repeat import DATA_DIR, RUNS_DIR, repeat_section, training_command
from analysis.runs import find_studies, load_runs
from stages.config import config_document
from tests.helpers.report_helpers import small_study
from tests.helpers.stage_helpers import composed


def test_the_command_composes_what_was_trained(tmp_path: Path) -> None:
    """A narrow network on the user's images, balanced, with mean and a domain changed by hand."""
    data_dir = f"paths.data_dir={tmp_path / 'images of 2026'}"
    config = composed(
        "+stage=dld",
        "experiment=real_small",
        "data=ultrasound",
        "folds=3",
        "optim.class_weights=balanced",
        "data.mean=[0.5,0.5,0.5]",
        "data.std=[0.25,0.25,0.25]",
        "data.domains.texture.val_fraction=0.3",
        data_dir,
    )
    for folder in small_study(folds=3, seeds=range(2), ratios=(0.2, 1.0)).write(tmp_path / "runs"):
        folder.config.write_text(config_document(config))
    (study,) = find_studies(load_runs(tmp_path / "runs"))
    assert study.name == "real_small"
    typed = training_command(study)
    assert typed is not None and str(tmp_path) not in typed
    program, script, sweep, *rest = shlex.split(typed)
    assert (program, script, sweep) == ("python", "train.py", "-m")
    given = dict(each.split("=", 1) for each in rest)
    assert (given.pop("process"), given.pop("seed"), given.pop("data_ratio")) == (
        "scratch,two_stage",
        "range(2)",
        "0.2,1.0",
    )
    assert (given["folds"], given["data"]) == ("3", "ultrasound")
    assert (given.pop("paths.runs_dir"), given.pop("paths.data_dir")) == (RUNS_DIR, DATA_DIR)
    again = composed("+stage=dld", data_dir, *(f"{key}={value}" for key, value in given.items()))
    for part in ("data", "model", "optim", "folds"):
        assert getattr(again, part) == getattr(config, part), part
    assert again.callbacks.plateau == config.callbacks.plateau
    section = repeat_section(study, {"c" * 12: 3}, "0.1.0", "f1_score_macro")
    assert section.commands[-1][1].endswith("study=real_small metric=f1_score_macro")
    assert typed == section.commands[0][1] and "c" * 12 in section.text[1]
    assert "sources" not in section.commands[0][0]
    alike = replace(study, settings={**study.settings, "optim.class_weights": '"balanced"'})
    assert "was for the sources too" in repeat_section(alike, {}, "", None).commands[0][0]


def test_without_a_configuration_it_says_that_the_command_is_not_known(tmp_path: Path) -> None:
    folders = small_study(seeds=[0], ratios=(1.0,)).write(tmp_path)
    (study,) = find_studies(load_runs(tmp_path))
    section = repeat_section(study, {}, "", None)
    assert len(section.commands) == 1 and "not known" in section.text[-1]
    folders[0].config.write_text("[")
    assert training_command(study) is None
