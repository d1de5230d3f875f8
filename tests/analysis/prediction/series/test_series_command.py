"""`predict.py` with a series: the files that outside checks read, and what becomes of the folder."""

import csv
import errno
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest

from analysis.prediction.arguments import parse_arguments
from analysis.prediction.series.command import _notes, predict_series
from analysis.prediction.series.rescale import Rescale
from analysis.prediction.series.sliding import Sliding
from analysis.prediction.sources import Source
from analysis.prediction.task import Task
from stages.errors import CompleteError, RelayError
from tests.analysis.prediction.series.test_find_lungs import thorax, write_ct, write_mask
from tests.helpers.fake_ensemble import FakeEnsemble, fake_ensemble, fake_members
from tests.helpers.fake_hrct import IDENTIFIERS


def task_of(source: Path, out: Path, *more: str, **networks: Any) -> Task:
    fake = fake_ensemble(**networks)
    ensemble = FakeEnsemble(**{**vars(fake), "members": fake_members(fake.classes, fake.networks)})
    typed = parse_arguments(["runs_dir=runs", "process=two_stage", f"source={source}", f"out={out}", *more])
    return Task(typed, ensemble, Source(str(source), "series"), None)


def test_a_series_becomes_maps_and_numbers_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values, lungs = thorax(6)
    write_ct(tmp_path / "ct", values)
    out = tmp_path / "out"
    said = predict_series(task_of(tmp_path / "ct", out))
    assert said[0].startswith("Of the lungs: EMP ")
    said = " ".join(capsys.readouterr().out.split())
    assert "spacing of the training images is not known" in said and "give mask=FILE where it matters" in said
    pattern = np.asarray(nibabel.load(out / "pattern.nii.gz").dataobj)
    probabilities = nibabel.load(out / "probabilities.nii.gz").get_fdata()
    assert pattern.shape == (128, 128, 6)
    assert probabilities.shape == (128, 128, 6, 3)
    inside = pattern > 0
    assert 0.9 < inside.sum() / (lungs > 0).sum() < 1.1
    assert (probabilities.argmax(-1)[inside] + 1 == pattern[inside]).all()
    rows = list(csv.DictReader((out / "measurements.csv").read_text().splitlines()))
    assert len(rows) == 6 * 4
    for row in rows[:3]:
        place = ("EMP", "GGO", "NOR").index(row["pattern"]) + 1
        assert float(row["percent"]) == pytest.approx(100 * (pattern == place).sum() / inside.sum())
        assert float(row["ml"]) == pytest.approx((pattern == place).sum() * 2.6 * 2.6 * 10 / 1000)
    settings = (out / "settings.json").read_text()
    assert json.loads(settings)["stride"] == 4
    assert not any(word in settings for word in IDENTIFIERS)
    assert not (out / ".partial").exists()
    assert "spacing of the training images is not known" in (out / "report.html").read_text()
    assert (out / "pattern.dcm").is_file()
    assert [path.name for path in (out / "overlays").iterdir()]
    with pytest.raises(CompleteError):
        predict_series(task_of(tmp_path / "ct", out))
    with pytest.raises(RelayError, match=r"holds other results \(differing in: stride\)"):
        predict_series(task_of(tmp_path / "ct", out, "stride=8"))
    write_ct(tmp_path / "other", thorax(4)[0])
    with pytest.raises(RelayError, match=r"holds other results \(differing in: source"):
        predict_series(task_of(tmp_path / "other", out))


def test_what_a_kill_left_is_gone_when_the_same_command_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = write_ct(tmp_path / "ct", thorax(2)[0])
    mask = write_mask(tmp_path / "lungs.nii.gz", volume, thorax(2)[1])
    more = (f"mask={mask}", "stride=16")
    predict_series(task_of(tmp_path / "ct", tmp_path / "whole", *more))

    def killed(path: Path, content: bytes) -> None:
        (path.parent / f".{path.name}.1.ab.partial").write_bytes(content[:9])
        raise OSError(errno.EFBIG, "File too large")

    with monkeypatch.context() as patch:
        patch.setattr("analysis.prediction.series.outputs.write_bytes", killed)
        with pytest.raises(RelayError, match=r"cannot be written: File too large\. Finished slices are kept"):
            predict_series(task_of(tmp_path / "ct", tmp_path / "out", *more))
    predict_series(task_of(tmp_path / "ct", tmp_path / "out", *more))
    found = [
        {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        for out in (tmp_path / "whole", tmp_path / "out")
    ]
    assert found[0] == found[1]


@pytest.mark.usefixtures("undrawn")
def test_a_series_of_another_spacing_is_resampled_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values, lungs = thorax(3)
    volume = write_ct(tmp_path / "ct", values)
    mask = write_mask(tmp_path / "lungs.nii.gz", volume, lungs)
    predict_series(task_of(tmp_path / "ct", tmp_path / "out", f"mask={mask}", "stride=8", spacing_mm=1.3))
    said = " ".join(capsys.readouterr().out.split())
    assert "slices are resampled to these" in said and "give mask=FILE" not in said
    pattern = np.asarray(nibabel.load(tmp_path / "out" / "pattern.nii.gz").dataobj)
    assert ((pattern > 0) == (lungs > 0).transpose(2, 1, 0)).all()


def test_pixels_that_are_not_square_and_stay_so_are_said() -> None:
    ensemble = fake_ensemble()
    for spacing, said in (((0.7, 1.4), True), ((0.7, 0.72), False)):
        notes = _notes(ensemble, Sliding(4, 8, Rescale.to_training((64, 64), spacing, None)))
        assert any("not square (0.7 x 1.4 mm) and stay so" in note for note in notes) == said


def test_a_disk_without_room_is_said_before_anything_is_asked_of_the_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ct(tmp_path / "ct", thorax(3)[0])
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(RelayError, match="MiB are free; make room, or choose another disk"):
        predict_series(task_of(tmp_path / "ct", tmp_path / "out"))


def test_a_spacing_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="spacing=wide: give numbers in mm"):
        predict_series(task_of(tmp_path, tmp_path / "out", "spacing=wide"))
