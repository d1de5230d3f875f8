"""The sections of an explained study, and how runs that came later or were left out are named."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from analysis.report.explained_sections import optional_files
from tests.helpers.fake_explained import (
    caption_of,
    fake_explained,
    fake_shown,
    picture_names,
    sections_of,
)


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not drawn: that takes most of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"-"))


def test_all_is_there_for_two_processes() -> None:
    sections = sections_of(fake_explained())
    assert list(sections) == ["maps", "frequencies", "layers"]
    assert picture_names(sections["maps"]) == ["randomisation", "deletion", "feature_maps"]
    assert picture_names(sections["frequencies"]) == ["frequency_response", "reference_image"]
    assert picture_names(sections["layers"]) == ["stage_changes", "process_similarity", "filters"]
    assert [table.name for table in sections["layers"].folded] == ["stage_changes", "process_similarity"]
    assert sections["layers"].text == []


def test_a_single_process_without_a_parent_leaves_out_what_compares() -> None:
    sections = sections_of(fake_explained({"scratch": (0,)}))
    assert picture_names(sections["maps"]) == ["randomisation", "deletion", "feature_maps"]
    assert sections["maps"].folded == []
    assert picture_names(sections["layers"]) == ["filters"]
    assert sections["layers"].folded == []
    assert "there is no stage to compare with" in " ".join(sections["layers"].text)


def test_layer_and_rule_are_in_the_captions() -> None:
    path = {"layer": "relu3", "rule": "deconvnet"}
    sections = sections_of(
        fake_explained(maps=path, frequencies={**path, "window": 7, "directions": "cosine"})
    )
    caption = caption_of(sections["maps"], "feature_maps")
    assert "relu3" in caption and "deconvnet" in caption
    caption = caption_of(sections["frequencies"], "frequency_response")
    for words in ("relu3", "deconvnet", "over 7 frequencies", "cosine"):
        assert words in caption


def test_runs_that_came_later_are_counted() -> None:
    explained = fake_explained()  # four runs
    assert "Made of 4 runs; there are 6 now." in " ".join(sections_of(explained, "maps", runs=6)["maps"].text)
    for same in (4, None):
        assert "Made of" not in " ".join(sections_of(explained, "maps", runs=same)["maps"].text)


def test_runs_that_were_left_out_are_named_and_not_counted_as_new() -> None:
    """Another call would change nothing: their weights are gone."""
    explained = fake_explained(facts={"skipped": ["natural, seed 2: dld/0123 has no model.ckpt"]})
    text = " ".join(sections_of(explained, "maps", runs=5)["maps"].text)
    assert "Left out: natural, seed 2: dld/0123 has no model.ckpt." in text
    assert "Made of" not in text


def test_optional_files_are_those_that_not_every_study_has() -> None:
    """They are removed where an earlier call left them; what is named for nothing would be forgotten too."""
    full = fake_explained(maps={"own": fake_shown(["image 1"], 2)})
    made = []
    for explained in (full, fake_explained({"scratch": (0,)})):
        sections = sections_of(explained).values()
        made.append(
            {f"figures/{picture.name}" for section in sections for picture in section.all_pictures}
            | {f"tables/{table.name}" for section in sections for table in section.all_tables}
        )
    most, least = made
    assert set(optional_files()) == most - least
