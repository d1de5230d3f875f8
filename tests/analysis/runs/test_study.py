"""Which runs of a store belong together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from analysis.report.build import build_report
from analysis.report.provenance import given_table, process_table
from analysis.runs import pool_folds
from analysis.runs.details import read_details
from analysis.runs.load import load_runs
from analysis.runs.study import Study, differences, find_studies
from analysis.runs.study_choice import described, select_study
from analysis.statistics import compare
from stages.errors import RelayError
from stages.processes import load_processes
from stages.recipe import TransferLayers
from tests.helpers.fake_study import PAPER
from tests.helpers.report_helpers import caveat, small_study, table, without_figures
from tests.helpers.stage_helpers import process


def test_two_configurations_are_two_studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_figures(monkeypatch)
    small_study().write(tmp_path)
    small_study(image_size=96, seeds=range(2)).write(tmp_path)
    first, second = find_studies(load_runs(tmp_path))
    assert (len(first.runs), len(second.runs)) == (12, 8)
    assert (first.settings["data.image_size"], second.settings["data.image_size"]) == ("64", "96")
    report = build_report(tmp_path)
    assert [each.name for each in (first, second)] == [f"dld-{each.id[:4]}" for each in (first, second)]
    assert f"2 studies; this page is of {first.name}" in caveat(report, "This store holds").title
    assert table(report, "studies").data.columns.tolist() == ["study", "runs", "data.image_size"]
    for name in (second.id[:6], second.name):
        assert len(table(build_report(tmp_path, name), "runs").data) == 8
    with pytest.raises(RelayError, match=f"study=zz names none of .*\n.*{first.name}.*\n.*{second.name}"):
        build_report(tmp_path, "zz")


def test_images_replaced_under_their_names_are_other_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_figures(monkeypatch)

    def images(content: dict[str, Any]) -> None:
        content["data"]["content"] = ("a" if content["seed"] < 2 else "b") * 64

    small_study(seeds=range(2), change=images).write(tmp_path)
    (before,) = find_studies(load_runs(tmp_path))
    assert not caplog.text
    small_study(seeds=range(5), change=images).write(tmp_path)
    later, study = find_studies(load_runs(tmp_path))
    assert caplog.text.count("images of dld were replaced") == 1
    assert (set(later.runs["seed"]), set(study.runs["seed"])) == ({2, 3, 4}, {0, 1})
    assert study.runs["accuracy_mean"].tolist() == before.runs["accuracy_mean"].tolist()
    report = build_report(tmp_path)
    assert caveat(report, "Images were replaced").items == (
        f"dld: content bbbbbbbb ({len(later.runs)} runs); content aaaaaaaa ({len(study.runs)} runs)",
    )
    assert "data.content" in table(report, "studies").data.columns[-1]


def test_processes_with_different_sources_are_one_study(tmp_path: Path) -> None:
    small_study(processes=PAPER, seeds=range(2), ratios=(1.0,)).write(tmp_path)
    (study,) = find_studies(load_runs(tmp_path))
    assert sorted(study.runs["process"]) == sorted([*PAPER, *PAPER])


def test_processes_with_different_rules_between_are_one_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = process("other", "", load_processes()["two_stage"].chain, between="conv_only")
    known = {**load_processes(), "other": other}
    for module in ("tests.helpers.fake_study", "analysis.runs.load", "analysis.report.provenance"):
        monkeypatch.setattr(f"{module}.load_processes", lambda: known)
    small_study(processes=("two_stage", "other"), seeds=range(2), ratios=(1.0,)).write(tmp_path)
    (study,) = find_studies(load_runs(tmp_path))
    assert sorted(study.runs["process"]) == ["other", "other", "two_stage", "two_stage"]
    labels = {name: name for name in ("other", "two_stage")}
    runs = load_runs(tmp_path)
    sources = runs[runs["stage"] != "dld"]
    made = process_table(study.runs, labels, sources).data
    assert made["transfer"].tolist() == ["feature, conv_only between", "feature"]
    # two seeds of one target each, after a natural stage that both share and a texture stage of its own
    assert made["hours"].tolist() == [240 / 3600] * 2 and made["source_hours"].tolist() == [480 / 3600] * 2
    unnamed = study.runs.replace({"process": {"other": "two_stage+between=reuse_fc"}})
    labels = {"two_stage+between=reuse_fc": "unnamed"}
    made = process_table(unnamed, labels, sources).data
    assert made["transfer"].tolist() == ["feature, reuse_fc between"]


def test_chains_that_begin_with_given_weights_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other weights under the same name are another study."""
    chains = {"radimagenet": ("radimagenet", "dld"), "own": ("own", "texture", "dld")}
    known = {**load_processes(), **{name: process(name, "", chain) for name, chain in chains.items()}}
    for module in ("tests.helpers.fake_study", "analysis.runs.load", "analysis.report.provenance"):
        monkeypatch.setattr(f"{module}.load_processes", lambda: known)
    given = {"radimagenet": "1" * 64, "own": "2" * 64}
    asked: Any = {"seeds": range(2), "ratios": (1.0,)}
    small_study(processes=("scratch", "natural", *chains), given=given, **asked).write(tmp_path)
    runs = load_runs(tmp_path)
    (study,) = find_studies(runs)
    assert study.runs["process"].value_counts().to_dict() == {
        "scratch": 2, "natural": 2, "radimagenet": 2, "own": 2,
    }  # fmt: skip
    assert study.settings["weights of own"] == f'"{"2" * 64}"'
    sources = runs[runs["stage"] == "texture"]
    table = given_table(read_details(study.runs, sources)).data
    assert table.to_dict("list") == {
        "given": ["own", "radimagenet"], "sha256": ["2" * 64, "1" * 64],
        "license": ["CC BY-NC 4.0"] * 2, "runs": [2, 2],
    }  # fmt: skip
    small_study(processes=("radimagenet",), given={"radimagenet": "3" * 64}, **asked).write(tmp_path)
    studies = find_studies(load_runs(tmp_path))
    assert {len(each.runs) for each in studies} == {8}, "each with one of the two files"


def test_a_rule_that_was_edited_between_is_another_study(tmp_path: Path) -> None:
    small_study(processes=("scratch", "natural", "finetune_natural"), seeds=range(2), ratios=(1.0,)).write(
        tmp_path
    )
    edited = {"feature": TransferLayers(reinitialise=("fc8",), freeze=())}
    small_study(processes=("scratch", "natural"), seeds=range(3), ratios=(1.0,), layers=edited).write(
        tmp_path
    )
    studies = find_studies(load_runs(tmp_path))
    assert sorted(sorted(study.runs["process"].value_counts().items()) for study in studies) == [
        [("finetune_natural", 2), ("natural", 2), ("scratch", 3)],
        [("finetune_natural", 2), ("natural", 3), ("scratch", 3)],
    ]
    (key,) = {key for key, _ in set(studies[0].settings.items()) ^ set(studies[1].settings.items())}
    assert key == "layers of transfer=feature"
    assert {study.settings[key] for study in studies} == {
        '{"freeze": [], "reinitialise": ["fc7", "fc8"]}',
        '{"freeze": [], "reinitialise": ["fc8"]}',
    }


def test_a_run_from_random_weights_serves_both_learning_rates_on_transfer(tmp_path: Path) -> None:
    small_study().write(tmp_path)
    small_study(processes=("two_stage",), lr_transfer=0.01).write(tmp_path)
    studies = find_studies(load_runs(tmp_path))
    assert [sorted(study.runs["process"].value_counts().items()) for study in studies] == [
        [("scratch", 6), ("two_stage", 6)]
    ] * 2
    assert {study.settings["optim.lr on transfer"] for study in studies} == {"0.0005", "0.01"}


def test_other_images_of_a_source_are_another_study(tmp_path: Path) -> None:
    small_study().write(tmp_path)
    small_study(source_digest="0" * 64).write(tmp_path)
    studies = find_studies(load_runs(tmp_path))
    assert [len(study.runs) for study in studies] == [12, 12]
    shared = set(studies[0].runs["id"]) & set(studies[1].runs["id"])
    assert len(shared) == 6  # from scratch, no source


def test_a_shared_source_seed_is_another_study(tmp_path: Path) -> None:
    small_study().write(tmp_path)
    small_study(source_seed=1).write(tmp_path)
    studies = find_studies(load_runs(tmp_path))
    assert {study.settings["source_seed"]: len(study.runs) for study in studies} == {
        "the target's": 12,
        "1": 12,
    }
    for study in studies:
        assert not study.runs.duplicated(["process", "seed", "data_ratio"]).any()


def test_a_study_does_not_depend_on_the_order_of_keys_in_a_recipe(tmp_path: Path) -> None:
    folders = small_study().write(tmp_path)
    before = [study.id for study in find_studies(load_runs(tmp_path))]
    content = yaml.safe_load(folders[0].recipe.read_text())
    folders[0].recipe.write_text(yaml.safe_dump(dict(reversed(content.items())), sort_keys=False))
    assert [study.id for study in find_studies(load_runs(tmp_path))] == before


def test_a_study_is_chosen_by_its_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_study().write(tmp_path)
    small_study(image_size=96, seeds=range(2)).write(tmp_path)
    first, second = find_studies(load_runs(tmp_path))
    studies = [first, replace(second, target="skin")]
    assert select_study(studies, "skin").target == "skin" and capsys.readouterr().out == ""
    assert select_study(studies, None) is studies[0]
    said = capsys.readouterr().out
    assert f"2 studies in this store; this is {studies[0].name}, with the most runs" in said
    assert all(f"study={study.name}  {study.target}, {len(study.runs)} runs" in said for study in studies)


def test_a_study_has_the_name_that_the_user_gave(tmp_path: Path) -> None:
    folders = small_study().write(tmp_path)
    folders[0].config.write_text("logger: {study: wide lungs}\n")
    (study,) = find_studies(load_runs(tmp_path))
    assert study.name == "wide lungs"
    assert select_study([study], "wide lungs") is select_study([study], "dld") is study
    folders[0].config.write_text("logger: {study: default}\n")
    assert find_studies(load_runs(tmp_path))[0].name == "dld"


def test_of_studies_of_as_many_runs_none_is_taken(tmp_path: Path) -> None:
    """They are listed with what tells them apart, and the page waits for a choice."""
    small_study(seeds=(0,)).write(tmp_path)
    small_study(seeds=(0,), image_size=96).write(tmp_path)
    with pytest.raises(RelayError, match=r"2 studies have as many runs \(4\).*Choose one") as refused:
        build_report(tmp_path)
    studies = find_studies(load_runs(tmp_path))
    for study in studies:
        size = study.settings["data.image_size"]
        assert f"study={study.name}  dld, 4 runs, data.image_size={size}" in str(refused.value)
        assert select_study(studies, study.name) is study
    with pytest.raises(RelayError, match="study=dld names 2 of"):
        select_study(studies, "dld")


def test_studies_are_told_apart_by_their_network_before_what_follows_from_it() -> None:
    runs = pd.DataFrame(index=range(3))
    one, other = (
        Study(name, name, "dld", {"arithmetic.precision": name, "data.mean": name, "model.name": name}, runs)
        for name in ('"a"', '"b"')
    )
    said = "dld, 3 runs, model.name=a, data.mean=a, arithmetic.precision=a"
    assert described(one, [one, other]) == said


def test_an_ambiguous_study_is_refused(tmp_path: Path) -> None:
    small_study().write(tmp_path)
    small_study(image_size=96).write(tmp_path)
    with pytest.raises(RelayError, match="names 2 of"):
        select_study(find_studies(load_runs(tmp_path)), "")


def test_runs_of_other_folds_are_other_studies_and_never_averaged(tmp_path: Path) -> None:
    """Folds of one number are one study; without folds, or with another number, there is another."""
    for folds in (None, 3, 4):
        small_study(folds=folds, seeds=range(2), ratios=(1.0,)).write(tmp_path)
    runs = load_runs(tmp_path)
    studies = find_studies(runs)
    found = sorted((study.settings["folds"], len(study.runs)) for study in studies)
    assert found == [("3", 12), ("4", 16), ("null", 4)]
    assert all("fold" not in study.settings for study in studies)
    with pytest.raises(RelayError, match="their numbers of folds are 3 and 4 and none"):
        compare(runs)
    for study in studies:
        means = compare(study.runs).set_index(["process", "metric"])
        assert means.loc[("two_stage", "accuracy"), "n"] == 2, "one value for each seed"
        pooled = pool_folds(study.runs)
        assert (len(pooled.samples), pooled.incomplete) == (70, ())
        assert pooled.seeds(("scratch", 1.0), ("two_stage", 1.0)) == (0, 1)


def test_a_normalisation_that_is_each_networks_own_is_no_difference() -> None:
    """An AlexNet has that of the training images, a network of timm's what timm says."""

    def study(name: str, architecture: str | None, mean: object) -> Study:
        settings = {"model.architecture": json.dumps(architecture), "data.mean": json.dumps(mean)}
        return Study(name, name, "dld", settings, pd.DataFrame())

    alexnet, own = study("a", None, None), study("b", "test_resnet", [0.5, 0.5, 0.5])
    assert differences([alexnet, own]).keys() == {"model.architecture"}
    typed = study("c", "test_resnet", [0.1, 0.1, 0.1])
    assert differences([alexnet, own, typed]).keys() == {"model.architecture", "data.mean"}
    assert differences([alexnet, study("d", None, [0.5, 0.5, 0.5])]).keys() == {"data.mean"}
