"""What was computed is on the report's page, drawn once, and nothing that was written names a patient."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.report.__main__ import main as report
from analysis.report.explained_study import all_explanations
from analysis.report.page import Section
from analysis.visualize import main
from datamodules.names import names
from datamodules.of_run import listing_of_run
from stages.store import RunFolder
from tests.helpers.explained_store import (
    FIGURES,
    NATIVE,
    PLANTED,
    SIZE,
    TABLES,
    ExplainedStore,
    fails,
    stored,
)
from tests.helpers.fake_images import write_image
from tests.helpers.relay import folders


def _assert_nobody_is_named(store: Path, *roots: Path) -> None:
    """No patient, file or folder of images in what the analysis wrote."""
    paths = [str(store.parent), *map(str, roots)]
    written = [
        path
        for folder in (store / "explanations", store / "report", store / ".explanations")
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert written
    for path in written:
        assert PLANTED.search(path.name) is None
        for content in _texts(path):
            assert PLANTED.search(content) is None, path
            assert not any(each in content for each in paths), path


def _texts(path: Path) -> Iterator[str]:
    """A file as text, and the parts of an archive; numpy stores strings as four bytes a letter."""
    contents = [path.read_bytes()]
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            contents += [archive.read(name) for name in archive.namelist()]
    for content in contents:
        yield content.decode("latin-1")
        yield content.replace(b"\0", b"").decode("latin-1")


@pytest.mark.usefixtures("undrawn")
def test_the_page_has_what_was_computed_and_names_nobody(
    explained: ExplainedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures are those that the command drew; the report draws none of them."""
    for analysis in all_explanations():
        monkeypatch.setattr(analysis, "figures", fails(f"{analysis.name} was drawn"))
    known = names(listing_of_run(RunFolder(folders(explained.store, "dld")[0]))[1])
    assert all(PLANTED.search(name) for column in ("path", "group_name") for name in known[column])  # planted
    report([f"runs_dir={explained.store}"])
    folder = explained.store / "report"
    page = (folder / "report.html").read_text()
    assert "have not been analysed" not in page
    for section in ("maps", "frequencies", "layers"):
        assert f'id="{section}"' in page
    for name in FIGURES:
        content = (folder / "figures" / f"{name}.svg").read_bytes()
        assert content == (explained.store / "explanations" / "figures" / f"{name}.svg").read_bytes()
    for name in TABLES:
        content = (folder / "tables" / f"{name}.csv").read_bytes()
        assert content == (explained.store / "explanations" / "tables" / f"{name}.csv").read_bytes()
    # The page names the store's runs by folder, relative to it; absolute paths are nowhere.
    _assert_nobody_is_named(explained.store)


@pytest.mark.usefixtures("undrawn")
def test_own_images_are_mapped_back_beside_the_set_s(
    store: Path, tmp_path: Path, sections: dict[str, Section]
) -> None:
    holiday = tmp_path / "holiday"
    write_image(holiday / "1-Meyer.png", seed=1, size=(NATIVE, NATIVE))
    write_image(holiday / "2-Schmidt.png", seed=2, size=(NATIVE, NATIVE), channels=3)
    palette = Image.fromarray(np.eye(40, dtype=np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 200, 100, 0])
    palette.save(holiday / "3-Weber.png")
    write_image(holiday / "4-Meyer.jpg", seed=4, size=(90, 50))
    main([f"runs_dir={store}", f"images={holiday}"])
    study = stored(store)
    own = study.summaries["maps"]["own"]
    assert own is not None
    assert own["names"] == ["image 1", "image 2", "image 3", "image 4"]
    assert own["maps"].shape == own["heat"].shape == (4, 2, SIZE, SIZE)
    assert own["images"].shape == (4, SIZE, SIZE)
    assert own["maps"].min() == 0.0 and own["maps"].max() == 1.0
    assert len({maps.tobytes() for maps in own["maps"]}) == 4
    assert study.facts.seed == 0
    assert (store / "explanations" / "figures" / "own_feature_maps.svg").is_file()
    assert "own_feature_maps" in {picture.name for picture in sections["maps"].all_pictures}
    _assert_nobody_is_named(store, holiday)


@pytest.mark.usefixtures("undrawn")
def test_figures_of_an_earlier_call_do_not_stay_among_the_new(store: Path, tmp_path: Path) -> None:
    """Otherwise somebody takes the map of images that were not given for that of this call."""
    write_image(tmp_path / "holiday" / "1.png")
    main([f"runs_dir={store}", f"images={tmp_path / 'holiday'}"])
    main([f"runs_dir={store}"])
    assert stored(store).summaries["maps"]["own"] is None
    assert {path.stem for path in (store / "explanations" / "figures").iterdir()} == FIGURES
