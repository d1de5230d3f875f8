"""What a map's lungs are refused for, and what is said of odd ones; a refusal leaves no trace in `out`."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analysis.prediction.series.command import predict_series
from analysis.prediction.series.lungs import notes_on_lungs, write_lungs
from analysis.prediction.series.mask_files import open_mask
from analysis.prediction.series.pattern_map import PatternMap
from datamodules.embedded.dld_series import draw_series
from stages.errors import RelayError
from tests.analysis.prediction.series.test_find_lungs import thorax, write_ct, write_mask
from tests.analysis.prediction.series.test_series_command import task_of

pytestmark = pytest.mark.usefixtures("undrawn")


def test_a_mask_that_is_refused_leaves_no_trace_and_a_better_one_serves(tmp_path: Path) -> None:
    values, lungs = thorax(3)
    volume = write_ct(tmp_path / "ct", values)
    empty = write_mask(tmp_path / "empty.nii.gz", volume, 0 * lungs)
    ct = write_mask(tmp_path / "ct.nii.gz", volume, values.astype(np.int16))
    for mask, why in ((empty, "is empty on this series"), (ct, "it may be the series itself")):
        with pytest.raises(RelayError, match=why):
            predict_series(task_of(tmp_path / "ct", tmp_path / "out", f"mask={mask}", "stride=8"))
        assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(RelayError):
        predict_series(task_of(tmp_path / "ct", tmp_path / "out", f"mask={empty}", "stride=8"))
    assert not any((tmp_path / "out").iterdir())
    right = write_mask(tmp_path / "right.nii.gz", volume, lungs)
    predict_series(task_of(tmp_path / "ct", tmp_path / "out", f"mask={right}", "stride=8"))


def test_lungs_that_are_all_but_lungs_or_on_one_side_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values, lungs = thorax(3)
    volume = write_ct(tmp_path / "ct", values)

    def said(labels: npt.NDArray[Any]) -> str:
        mask = write_mask(tmp_path / "mask.nii.gz", volume, labels)
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        predict_series(task_of(tmp_path / "ct", out, f"mask={mask}", "stride=8"))
        return " ".join(capsys.readouterr().out.split())

    assert "reach the edge of the image in 3 of 3 slices" in said(np.where(lungs > 0, 0, 1))
    rows, columns = np.mgrid[:128, :128]
    body = (values > -200) & (abs(rows - 64) < 50) & (abs(columns - 64) < 50)
    assert "HU, where lungs have -980 to -200" in said(body.astype(np.int16))
    assert "No left lung is there" in said(np.where(lungs == 1, 1, 0))
    usual = said(lungs)
    assert not any(odd in usual for odd in ("edge", "HU, where", "lung is there"))


def test_a_mask_that_was_turned_on_its_way_is_noted(tmp_path: Path) -> None:
    drawn = draw_series(5, 192, 1)
    volume = write_ct(tmp_path / "ct", drawn.hounsfield[::-1])
    lungs = drawn.lungs[::-1]

    def noted(labels: npt.NDArray[Any], given: bool = True) -> bool:
        folder = tmp_path / f"map-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        mask = open_mask(write_mask(folder / "mask.nii.gz", volume, labels), volume)
        write_lungs(folder / "lungs.raw", volume, mask)
        notes = notes_on_lungs(PatternMap(folder, volume, ("a",), 1), given)
        return any("in another orientation" in note for note in notes)

    assert not noted(lungs)
    for turned in (lungs[:, ::-1], lungs[:, :, ::-1], lungs.transpose(0, 2, 1), lungs[::-1]):
        assert noted(turned)
    assert not noted(lungs[:, ::-1], given=False)
