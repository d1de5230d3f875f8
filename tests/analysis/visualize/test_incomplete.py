"""Stores that lack weights, seeds, processes, configurations or images."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from analysis.report.__main__ import main as report
from analysis.report.page import Section
from analysis.visualize import main
from stages.store import RunFolder
from tests.helpers.explained_store import (
    FIGURES,
    NATIVE,
    PLANTED,
    SIZE,
    ExplainedStore,
    explained_with,
    refused,
    stored,
    target,
)
from tests.helpers.fake_images import write_image
from tests.helpers.relay import folders
from tests.helpers.stage_helpers import seal


@pytest.mark.usefixtures("undrawn", "same_choice")
def test_a_run_without_its_weights_is_left_out_and_named(
    store: Path, capsys: pytest.CaptureFixture[str], sections: dict[str, Section]
) -> None:
    gone = target(store, "two_stage", 0)
    (gone / "model.ckpt").unlink()
    main([f"runs_dir={store}"])
    named = f"two_stage, seed 0: dld/{gone.name} has no model.ckpt"
    assert capsys.readouterr().out.splitlines()[0] == f"left out: {named}"
    facts = stored(store).facts
    assert facts.seeds == {"scratch": [0, 1], "two_stage": [1]}
    assert (facts.skipped, facts.seed) == ([named], 1)
    assert f"Left out: {named}." in sections["maps"].text
    caption = next(each.caption for each in sections["frequencies"].pictures if "response" in each.name)
    assert "one seed only, so no band: (4) two_stage." in caption


def test_without_any_weights_there_is_nothing_to_explain(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in folders(store, "dld"):
        (folder / "model.ckpt").unlink()
    printed = refused(store, capsys=capsys)
    assert "there is no network to explain: scratch, seed 0: dld/" in printed
    assert printed.count("has no model.ckpt") == 4


@pytest.mark.usefixtures("nothing_computed")
def test_a_source_without_its_weights_takes_away_its_comparisons_only(store: Path) -> None:
    for folder in folders(store, "natural"):
        (folder / "model.ckpt").unlink()
    stages = explained_with(store).summaries["layers"]["stages"]
    assert set(zip(stages["parent"], stages["child"], strict=True)) == {("texture", "dld")}


def test_weights_that_are_not_numbers_are_refused_by_name(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = target(fresh, "scratch", 1) / "model.ckpt"
    content = torch.load(file, weights_only=True)
    weights = content.get("state_dict", content)
    next(value for name, value in weights.items() if name.endswith("conv2.weight")).fill_(float("nan"))
    torch.save(content, file)
    seal(RunFolder(file.parent))  # as if the training had ended so
    # The first run need not be computed for this.
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("analysis.explain.frequency.frequency_response", _cheap_response)
        printed = refused(fresh, capsys=capsys)
    assert f"{file} has weights that are NaN or infinite: conv2.weight" in printed


@pytest.mark.usefixtures("nothing_computed")
def test_other_weights_than_the_run_ended_with_are_not_explained(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, other = (target(fresh, "scratch", seed) / "model.ckpt" for seed in (0, 1))
    shutil.copyfile(other, file)
    printed = refused(fresh, capsys=capsys)
    assert f"{file} is not the file that its run wrote" in printed and "remove its folder" in printed


def _cheap_response(*_: Any, **__: Any) -> tuple[Any, Any]:
    gain = np.linspace(0.0, 1.0, SIZE // 2 + 1)
    return gain, gain


@pytest.mark.usefixtures("nothing_computed")
def test_one_configuration_is_enough_and_none_is_not(
    explained: ExplainedStore, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    *others, last = folders(store, "dld")
    for folder in others:
        (folder / "config.yaml").unlink()
    found, expected = (
        each.summaries["maps"]["shown"]["maps"] for each in (explained_with(store), explained.explained)
    )
    np.testing.assert_array_equal(found, expected)
    (last / "config.yaml").unlink()
    printed = refused(store, capsys=capsys)
    assert re.search(r"no run of study \w+ has a config\.yaml, which says where its images are", printed)


@pytest.mark.usefixtures("nothing_computed")
def test_predictions_of_another_set_are_refused_by_name(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = target(fresh, "two_stage", 1) / "predictions.parquet"
    table = pq.read_table(file).to_pandas()
    table["sample"] = [f"other-{name}" for name in table["sample"]]
    pq.write_table(pa.Table.from_pandas(table), file)
    seal(RunFolder(file.parent))
    printed = refused(fresh, capsys=capsys)
    assert f"{file} is of another evaluation set" in printed
    assert PLANTED.search(printed.replace(str(fresh.parent), "")) is None


@pytest.mark.usefixtures("nothing_computed")
def test_images_that_were_changed_since_arerefused(
    fresh: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    images = fresh.parent.parent / "images-moved"
    for folder in folders(fresh, "dld"):
        text = (folder / "config.yaml").read_text()
        (old,) = set(re.findall(r"root: (\S*ward-7)", text))
        if not images.exists():
            shutil.copytree(old, images)
            with (images / "manifest.csv").open("a") as manifest:
                manifest.write("new.png,normal,somebody,val\n")
            write_image(images / "new.png", size=(NATIVE, NATIVE))
        (folder / "config.yaml").write_text(text.replace(old, str(images)))
    printed = refused(fresh, capsys=capsys)
    assert "are not those the run was trained on: files were added, removed or renamed since" in printed


def _without(store: Path, *cells: tuple[str, int]) -> None:
    for process, seed in cells:
        shutil.rmtree(target(store, process, seed))


@pytest.mark.usefixtures("undrawn", "same_choice")
def test_one_seed_has_no_band_and_nothing_within_a_process(store: Path, sections: dict[str, Section]) -> None:
    _without(store, ("scratch", 1), ("two_stage", 1))
    main([f"runs_dir={store}"])
    agreement = stored(store).summaries["maps"]["agreement"]
    within = agreement[agreement["process_a"] == agreement["process_b"]]
    assert len(within) == 2 and within["rank"].isna().all()
    caption = next(each.caption for each in sections["frequencies"].pictures if "response" in each.name)
    assert "one seed only, so no band: (1) scratch, (4) two_stage." in caption
    (checks,) = sections["maps"].tables
    assert "nan" not in checks.to_csv().lower() and "nan" not in checks.to_latex().lower()


@pytest.mark.usefixtures("undrawn", "same_choice")
def test_processes_without_a_common_seed_are_shown_apart_and_it_is_said(
    store: Path, sections: dict[str, Section]
) -> None:
    _without(store, ("scratch", 1), ("two_stage", 0))
    main([f"runs_dir={store}"])
    study = stored(store)
    assert study.facts.seed is None and study.summaries["layers"]["processes"].empty
    agreement = study.summaries["maps"]["agreement"]
    between = agreement[(agreement["process_b"] == "two_stage") & (agreement["process_a"] == "scratch")]
    assert between["rank"].isna().all()
    assert "The processes have no seed in common, so each is shown at its first." in sections["maps"].text
    names = {picture.name for section in sections.values() for picture in section.all_pictures}
    assert names == FIGURES - {"process_similarity"}
    captions = [picture.caption for picture in sections["maps"].pictures if picture.name == "feature_maps"]
    assert "each process's first seed" in captions[0]


@pytest.mark.usefixtures("undrawn", "same_choice")
def test_scratch_alone_has_no_stages_and_no_agreement(store: Path, sections: dict[str, Section]) -> None:
    _without(store, ("two_stage", 0), ("two_stage", 1))
    for stage in ("natural", "texture"):
        shutil.rmtree(store / stage)
    main([f"runs_dir={store}"])
    names = {picture.name for section in sections.values() for picture in section.all_pictures}
    assert names == FIGURES - {"process_similarity", "stage_changes"}
    tables = {table.name for section in sections.values() for table in section.all_tables}
    assert tables == {"map_checks", "frequency_peaks"}
    report([f"runs_dir={store}"])
    page = (store / "report" / "report.html").read_text()
    assert "there is no stage to compare with" in page
