"""The benchmarks of series on small ones: counts worked by hand, the plain loop in plain arithmetic."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from analysis.prediction.series.patches import fill_outside
from analysis.prediction.series.pattern_map import ONE
from benchmarks import pattern_truth
from benchmarks.pattern_truth import (
    Judged,
    accuracy,
    error_of_patients,
    error_per_slice,
    judge,
    new_map,
    write_volume,
)
from benchmarks.series import fill_outside_hu, plain_loop
from datamodules.embedded.dld_series import CLASSES, draw_series


def test_a_perfect_map_is_right_everywhere_and_another_is_counted(tmp_path: Path) -> None:
    series = draw_series(3, 128, 0)
    volume = write_volume(tmp_path, series)
    networks = SimpleNamespace(classes=CLASSES, members=(1, 2))
    made = new_map(tmp_path / "map", volume, list(series.lungs[::-1]), networks)  # type: ignore[arg-type]
    wrong = 0
    for number, true in enumerate(series.patterns[::-1]):
        planes = np.stack([(true == label) * ONE for label in range(1, 8)]).astype(np.uint16)
        if number == 1:  # all of one slice is called NOR
            planes[:] = 0
            planes[6][true > 0] = ONE
            wrong = int(((true > 0) & (true < 7)).sum())
        counts = np.zeros((2, 3, 7), np.uint32)
        counts[:, 0] = planes.astype(bool).sum(axis=(1, 2))
        made.write(number, planes, np.zeros(true.shape, bool), counts)
    made.finish([0, 1, 2])
    judged = judge(series, made)
    lungs = int((series.lungs > 0).sum())
    assert wrong > 0
    assert accuracy(judged.counts.sum(axis=0)) == pytest.approx(1 - wrong / lungs)
    normal = 100 * (series.patterns == 7).sum() / lungs
    found = 100 * ((series.patterns == 7).sum() + wrong) / lungs
    assert error_of_patients([judged], 7) == pytest.approx(found - normal)


def test_patients_begin_with_the_seed_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[int] = []
    ones = np.ones((1, 8, 8), np.int64)
    judged = Judged(3000 * ones, ones, ones, (0, 0))
    monkeypatch.setattr(pattern_truth, "chosen_runs", lambda *_, **__: [])
    monkeypatch.setattr(pattern_truth, "load_ensemble", lambda *_: SimpleNamespace(members=(1, 2)))
    monkeypatch.setattr(pattern_truth, "draw_series", lambda slices, size, seed: drawn.append(seed))
    monkeypatch.setattr(pattern_truth, "map_patient", lambda *_: (judged, judged))
    pattern_truth.main(["--first-seed", "100", "--patients", "3"])
    pattern_truth.main(["--patients", "2"])
    assert drawn == [100, 101, 102, 0, 1]
    assert "patients 100 to 102, 15 slices each" in capsys.readouterr().out


def test_errors_per_slice_worked_by_hand() -> None:
    one = np.zeros((2, 8, 8), np.int64)
    one[0, 1, 1], one[0, 1, 2] = 3000, 1000  # 100% true, 75% found
    one[1, 1, 1] = 10  # too few pixels to count
    judged = Judged(one, one, one, (0, 0))
    assert error_per_slice([judged], 1) == pytest.approx(25)
    assert error_per_slice([judged], 2) == pytest.approx(25)
    assert error_per_slice([judged], 3) == 0


def test_values_outside_are_those_of_the_map() -> None:
    rng = np.random.default_rng(0)
    plane = rng.integers(-1000, 400, (300, 280)).astype(np.int16)
    lungs = np.zeros(plane.shape, bool)
    lungs[40:160, 50:200] = True
    grey = ((plane.astype(np.int64) + 1000) // 8).astype(np.uint8)
    expected = fill_outside(grey, lungs)
    assert (((fill_outside_hu(plane, lungs).astype(np.int64) + 1000) // 8) == expected).all()


def test_the_plain_loop_says_what_the_network_does(tmp_path: Path) -> None:
    series = draw_series(2, 96, 0)
    volume = write_volume(tmp_path, series)
    series.lungs[::-1].tofile(tmp_path / "lungs.raw")

    def network(images: torch.Tensor) -> torch.Tensor:
        return torch.stack([images.mean(dim=(1, 2, 3)), torch.zeros(len(images))], dim=1)

    member = SimpleNamespace(
        network=network,
        input=SimpleNamespace(mean=[0.25] * 3, std=[0.5] * 3),
        record=SimpleNamespace(data=SimpleNamespace(image_size=32)),
    )
    networks = SimpleNamespace(
        shape=(32, 32), classes=("a", "b"), members=(member,), input=SimpleNamespace(window=[-1000.0, 400.0])
    )
    seconds, said = plain_loop(volume, [(0, 10, 20)], networks)  # type: ignore[arg-type]
    values = fill_outside_hu(volume.slice(0), series.lungs[-1] > 0)[10:42, 20:52].astype(float)
    score = (np.clip((values + 1000) / 1400, 0, 1).mean() - 0.25) / 0.5
    assert (seconds > 0).all()
    assert said[0, 0, 0] == pytest.approx(1 / (1 + np.exp(-score)), abs=1e-5)
