"""The page says what was measured, and nothing but the DICOM segmentation names the patient."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch

from analysis.prediction.arguments import Arguments
from analysis.prediction.ensemble import Ensemble
from analysis.prediction.series.dicom_seg import SEGMENTATION
from analysis.prediction.series.measure import measure
from analysis.prediction.series.outputs import OUTPUTS, shown_command, write_outputs
from analysis.prediction.series.page import _answer
from analysis.prediction.series.pattern_codes import spelled_out
from analysis.prediction.series.pattern_map import PatternMap
from analysis.prediction.series.volume import open_volume
from analysis.prediction.sources import Source
from analysis.prediction.task import Task
from tests.helpers.browser import assert_no_violation, opened_page, screenshot
from tests.helpers.fake_ensemble import fake_members
from tests.helpers.fake_maps import NETWORKS, fake_map
from tests.helpers.planted import found_in

NAME, NUMBER, HOSPITAL = "Mustermann^Käthe", "MRN774411-8", "Saint-Elsewhere"
PLANTED = (NAME, "Mustermann", NUMBER, HOSPITAL)
HOW = [("stride", "8 px of the training images"), ("lungs", "found by Relay")]


def ensemble(found: PatternMap, learning: bool) -> Ensemble:
    members = fake_members(found.classes, found.networks, learning)
    return Ensemble(members, found.classes, (32, 32), members[0].input, torch.device("cpu"))


def task(found: PatternMap, folder: Path, learning: bool) -> Task:
    source = str(found.volume.source)
    mask = folder / f"{NAME}.nii.gz"
    arguments = Arguments(
        runs_dir=folder / NUMBER, source=source, out=folder / "out", process="two_stage", mask=mask, stride=8
    )
    return Task(arguments, ensemble(found, learning), Source(source, "series"), None)


def written(found: PatternMap, folder: Path, learning: bool = True) -> tuple[list[str], str]:
    """What is said at the end, and the page's text."""
    out = folder / "out"
    out.mkdir()
    notes = write_outputs(found, measure(found), task(found, folder, learning), out, HOW)
    page = (out / "report.html").read_text()
    return notes, unescape(re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], str]:
    """A series whose folder, files and headers name a patient; its results below `out`, notes and text."""
    folder = tmp_path_factory.mktemp("results")
    found, _ = fake_map(folder)
    source = folder / f"{NAME} {NUMBER}"
    source.mkdir()
    for number, file in enumerate(sorted((folder / "source/dicom").iterdir())):
        data = pydicom.dcmread(file)
        data.SpecificCharacterSet = "ISO_IR 192"
        data.PatientName, data.PatientID, data.InstitutionName = NAME, NUMBER, HOSPITAL
        data.ConvolutionKernel, data.SeriesDescription = NUMBER, NAME
        data.save_as(source / f"{NUMBER}-{number}.dcm")
    found = replace(found, volume=open_volume(source))
    rng = np.random.default_rng(0)
    for number in range(found.volume.shape[0]):
        own = np.asarray(found.own_counts[number]) * rng.uniform(0.8, 1.2, (NETWORKS, 1, len(found.classes)))
        found.write(
            number,
            np.asarray(found.probabilities[:, number]),
            np.asarray(found.uncertain[number]),
            own.astype(np.uint32),
        )
    return (folder, *written(found, folder))


def test_nothing_but_the_segmentation_names_the_patient(planted: tuple[Path, list[str], str]) -> None:
    folder, notes, _ = planted
    assert {path.name for path in (folder / "out").iterdir()} == set(OUTPUTS)
    found = found_in([folder / "out"], PLANTED)
    assert found and {entry.split(": ")[1] for entry in found} == {SEGMENTATION}
    assert not any(entry.startswith(HOSPITAL) for entry in found)  # the standard does not demand it
    assert not any(name in note for name in PLANTED for note in notes)


def test_the_page_asks_no_host_and_describes_each_picture(planted: tuple[Path, list[str], str]) -> None:
    page = (planted[0] / "out/report.html").read_text()
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page) == [] and "default-src 'none'" in page
    pictures = re.findall(r"<img [^>]*>", page)
    assert len(pictures) >= 5 and all(re.search(r'alt="[^"]{20,}"', picture) for picture in pictures)


def test_the_page_says_the_answer_its_rules_and_what_made_it(planted: tuple[Path, list[str], str]) -> None:
    folder, notes, text = planted
    text = " ".join(text.split())
    found = PatternMap(folder / "map", open_volume(folder / "source/dicom"), tuple("abcdefg"), NETWORKS)
    rows = {row.pattern: row for row in measure(found) if row.region == "lungs"}
    patterns = [row for row in rows.values() if row.pattern != "uncertain"]
    largest = max(patterns, key=lambda row: row.percent or 0)
    assert largest.low is not None and largest.high is not None
    answer = f"{largest.percent:.1f}% (95% interval {largest.low:.1f} to {largest.high:.1f}%)"
    assert text.index(answer) < text.index("Before believing it")
    for said in (
        f"Uncertain are {rows['uncertain'].percent:.1f}% of the lungs: a pixel is uncertain where",
        "upper third", "For research only", "natural > dld", "found by Relay", "stride", "12",
        "python predict.py runs_dir=RUNS_DIR source=SOURCE out=OUT process=two_stage mask=MASK stride=8",
        "has a reconstruction kernel that the training set does not have",
    ):  # fmt: skip
        assert said in text, said
    assert any("reconstruction kernel" in note for note in notes)
    kinds = re.findall(r'class="kind">(\w+)<', (folder / "out/report.html").read_text())
    assert kinds == ["Warning", "Note"] and "Before believing it: 1 warning and 1 note " in text
    assert (
        "over networks only" in text
        and "8 of 28 such intervals of five networks held the true percentage" in text
    )


def test_an_interval_that_holds_everything_is_said_in_words(planted: tuple[Path, list[str], str]) -> None:
    assert "holds everything" not in planted[2]
    folder = planted[0]
    found = PatternMap(folder / "map", open_volume(folder / "source/dicom"), tuple("abcdefg"), NETWORKS)
    rows = measure(found)
    largest = max(rows[: len(found.classes)], key=lambda row: row.percent or 0)  # those of both lungs
    rows = [replace(row, low=0.04, high=99.96) if row.pattern == largest.pattern else row for row in rows]
    answer = _answer(rows, found)
    for text in (answer["lead"], dict(answer["sentences"])[largest.pattern]):
        assert f"{largest.percent:.1f}% (its 95% interval holds everything)" in text
    assert "the networks differ too much, or are too few" in answer["interval"]


@pytest.mark.slow
def test_the_page_and_its_captions_fit_a_telephone(
    planted: tuple[Path, list[str], str], browser: Any
) -> None:
    width = 390
    with opened_page(browser, planted[0] / "out" / "report.html", width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("figcaption:visible").count() > 5
        cut = page.evaluate(
            """(width) => {
              const outside = (box) => box.left < 0 || box.right > width;
              return Array.from(document.querySelectorAll("figcaption, figcaption *, h2, li"))
                .filter((item) => item.checkVisibility())
                .filter((item) => Array.from(item.getClientRects()).some(outside))
                .map((item) => item.textContent);
            }""",
            width,
        )
        assert cut == []
        assert_no_violation(page)
        screenshot(page, "series-phone")


def test_short_names_of_patterns_are_spelled_out() -> None:
    assert spelled_out("GGO") == "ground glass opacity" and spelled_out("nor") == "normal lung"
    assert spelled_out("emphysema") == spelled_out("XYZ") == ""


@pytest.mark.slow
def test_a_series_that_is_no_dicom_has_no_segmentation(tmp_path: Path) -> None:
    found, _ = fake_map(tmp_path, kind="series.nii.gz")
    notes, _ = written(found, tmp_path)
    assert not (tmp_path / "out" / SEGMENTATION).exists() and not any("pattern.dcm" in note for note in notes)


@pytest.mark.slow
def test_one_network_on_a_series_without_place_and_spacing(tmp_path: Path) -> None:
    found, _ = fake_map(tmp_path, kind="series.nii.gz")
    loose = replace(found.volume.scan, planes=None)
    nowhere = replace(found.volume, scan=loose, heights=None, extents=None, spacing=(None, None, None))
    (tmp_path / "map/own_counts.raw").write_bytes(
        np.asarray(found.own_counts)[:, :1].astype(np.uint32).tobytes()
    )
    notes, text = written(replace(found, volume=nowhere, networks=1), tmp_path, learning=False)
    assert "There is no interval" in text and "Millilitres" not in text and " ml" not in text
    assert "sides and thirds are not told apart" in text or "upper third" not in text
    assert any(note.startswith("One network") for note in notes)
    assert "1 of 1 network never learned" in text and "not learning" not in text, "said once"


def test_the_command_is_shown_without_paths(tmp_path: Path) -> None:
    arguments = Arguments(tmp_path, str(tmp_path), tmp_path, run="abc,def", evaluate=True)
    assert shown_command(arguments) == (
        "python predict.py runs_dir=RUNS_DIR source=SOURCE out=OUT run=abc,def evaluate=true"
    )
