"""The map of a series equals what a plain loop over patches gives, and goes on where it was interrupted."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from analysis.prediction.series.patches import fill_outside, grid_of
from analysis.prediction.series.pattern_map import ONE, PatternMap
from analysis.prediction.series.rescale import Rescale
from analysis.prediction.series.sliding import Sliding, check_patches, map_patterns
from analysis.prediction.series.volume import CTVolume, open_volume
from datamodules.pixels.window import window_to_uint8
from datamodules.readers.hrct.scans.geometry import Turn
from stages.errors import RelayError
from tests.helpers.fake_ensemble import FakeEnsemble, fake_ensemble
from tests.helpers.fake_hrct import SPACING, hounsfield, write_series

PATCH = 16


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> CTVolume:
    """Four slices of 64 x 58 pixels whose grey changes from place to place."""
    folder = tmp_path_factory.mktemp("scan")
    ramp = np.linspace(0, 700, 58)[None, None] + 80 * np.arange(4)[:, None, None]
    values = hounsfield(4, (64, 58)) * 0.4 + ramp - 500
    write_series(folder, values.astype(np.int16))
    return open_volume(folder)


def lungs_of(shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Two ellipses, thin parts, a single pixel in a corner, and a slice without lungs."""
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    lungs = np.zeros(shape, np.uint8)
    lungs[:, ((rows - 30) / 22) ** 2 + ((columns - 14) / 11) ** 2 < 1] = 1
    lungs[:, ((rows - 34) / 25) ** 2 + ((columns - 44) / 12) ** 2 < 1] = 2
    lungs[0, 60:62, 20:45] = 2
    lungs[3] = 0
    lungs[2, 63, 57] = 1
    return lungs


def new_map(
    folder: Path, volume: CTVolume, lungs: npt.NDArray[np.uint8], networks: FakeEnsemble
) -> PatternMap:
    folder.mkdir(parents=True)
    lungs.tofile(folder / "lungs.raw")
    made = PatternMap(folder, volume, networks.classes, networks.networks)
    made.create()
    return made


def plain(
    levels: npt.NDArray[np.uint8], lungs: npt.NDArray[np.bool_], networks: FakeEnsemble, stride: int
) -> npt.NDArray[np.float64]:
    """One patch after the other, as docs/prediction.md says it: (M, C, H, W)."""
    height, width = lungs.shape
    tops = sorted({*range(0, height - PATCH + 1, stride), height - PATCH})
    lefts = sorted({*range(0, width - PATCH + 1, stride), width - PATCH})
    share = {
        (top, left): int(lungs[top : top + PATCH, left : left + PATCH].sum())
        for top in tops
        for left in lefts
    }
    taken = {place for place, inside in share.items() if inside >= PATCH * PATCH * 3 / 4}
    full = set(taken)
    for row, column in np.argwhere(lungs).tolist():
        over = [at for at in share if 0 <= row - at[0] < PATCH and 0 <= column - at[1] < PATCH]
        if not full.intersection(over):
            taken.add(max(over, key=lambda place: (share[place], [-side for side in place])))
    levels = fill_outside(levels, lungs)
    sums = np.zeros((networks.networks, len(networks.classes), height, width))
    count = np.zeros((height, width))
    for top, left in taken:
        patch = levels[top : top + PATCH, left : left + PATCH]
        said = networks.probabilities(torch.from_numpy(patch[None].copy()))[:, 0].double().numpy()
        sums[:, :, top : top + PATCH, left : left + PATCH] += said[:, :, None, None]
        count[top : top + PATCH, left : left + PATCH] += 1
    assert count[lungs].all(), "every pixel of the lungs is in a patch"
    return sums / np.maximum(count, 1)


@pytest.mark.parametrize(("stride", "batch_size"), [(4, 256), (5, 7), (16, 1)])
def test_the_map_is_that_of_a_plain_loop(
    tmp_path: Path, volume: CTVolume, stride: int, batch_size: int
) -> None:
    networks, lungs = fake_ensemble(), lungs_of(volume.shape)
    made = new_map(tmp_path / "map", volume, lungs, networks)
    map_patterns(made, networks, Sliding(stride, batch_size, Rescale(volume.shape[1:], None, None)))
    assert made.done.all()
    for number in range(volume.shape[0]):
        inside = lungs[number] > 0
        levels = window_to_uint8(volume.slice(number), (-1000.0, 400.0))
        own = plain(levels, inside, networks, stride)
        mean = own.mean(0)
        found = made.probability(number)
        assert np.abs(found - mean * inside).max() < 1e-6 + 0.5 / ONE
        assert not found[:, ~inside].any()
        ordered = np.sort(mean, 0)
        clear = inside & (ordered[-1] - ordered[-2] > 2 / ONE)
        assert (made.pattern(number) == (mean.argmax(0) + 1))[clear].all()
        assert not made.pattern(number)[~inside].any()
        named = own.argmax(1)
        for side in (1, 2, 3):
            for network in range(3):
                at = named[network][lungs[number] == side]
                assert (
                    made.own_counts[number, network, side - 1].tolist()
                    == np.bincount(at, minlength=3).tolist()
                )
        agree = (named == mean.argmax(0)).sum(0)
        doubt = inside & ((mean.max(0) < 0.5) | (agree < 1.5))
        clear &= np.abs(mean.max(0) - 0.5) > 1 / ONE
        assert (made.uncertain[number] == doubt)[clear].all()
    assert 0 < made.uncertain.sum() < (lungs > 0).sum()


@pytest.mark.parametrize(
    ("turn", "orientation"),
    [(Turn(rows=True, columns=True), [-1, 0, 0, 0, -1, 0]), (Turn(transposed=True), [0, 1, 0, 1, 0, 0])],
    ids=["prone", "columns first"],
)
def test_a_series_has_one_map_however_its_slices_are_stored(
    tmp_path: Path, volume: CTVolume, turn: Turn, orientation: list[int]
) -> None:
    values = np.stack([turn.undo(volume.slice(number)) for number in range(4)])
    spacing = list(SPACING[::-1] if turn.transposed else SPACING)
    tags = {"ImageOrientationPatient": orientation, "PixelSpacing": spacing}
    write_series(tmp_path / "ct", values, changes=dict.fromkeys(range(4), tags))
    stored, networks, lungs = open_volume(tmp_path / "ct"), fake_ensemble(), lungs_of(volume.shape)
    sliding = Sliding(5, 32, Rescale.to_training(volume.shape[1:], SPACING, 1.2))
    upright = new_map(tmp_path / "upright", volume, lungs, networks)
    map_patterns(upright, networks, sliding)
    of = [int(np.abs(values - stored.slice(number)).sum((1, 2)).argmin()) for number in range(4)]
    made = new_map(tmp_path / "made", stored, np.stack([turn.undo(lungs[one]) for one in of]), networks)
    map_patterns(made, networks, sliding)
    for number, one in enumerate(of):
        assert (made.own_counts[number] == upright.own_counts[one]).all()
        assert (made.uncertain[number] == turn.undo(upright.uncertain[one])).all()
        for own, other in zip(made.probability(number), upright.probability(one), strict=True):
            assert (own == turn.undo(other)).all()


def test_an_interrupted_map_goes_on_and_has_the_same_bits(tmp_path: Path, volume: CTVolume) -> None:
    networks, lungs = fake_ensemble(), lungs_of(volume.shape)
    sliding = Sliding(4, 32, Rescale(volume.shape[1:], None, None))
    whole = new_map(tmp_path / "whole", volume, lungs, networks)
    map_patterns(whole, networks, sliding)

    class Interrupted(FakeEnsemble):
        asked = 0

        def logits(self, pixels: torch.Tensor, batch_size: int = 256) -> torch.Tensor:
            Interrupted.asked += 1
            if Interrupted.asked == 3:
                raise KeyboardInterrupt
            return super().logits(pixels, batch_size)

    made = new_map(tmp_path / "parts", volume, lungs, networks)
    stops = Interrupted(**vars(networks))
    with pytest.raises(KeyboardInterrupt):
        map_patterns(made, stops, sliding)
    assert made.done.tolist() == [True, True, False, False]
    Interrupted.asked = 10
    map_patterns(made, stops, sliding)
    assert Interrupted.asked == 11, "finished slices are not asked again"
    for name in ("probabilities", "uncertain", "own_counts", "done"):
        assert (made.folder / f"{name}.raw").read_bytes() == (whole.folder / f"{name}.raw").read_bytes()


def test_slices_of_another_spacing_are_resampled_and_the_map_is_on_their_own_pixels(
    tmp_path: Path, volume: CTVolume
) -> None:
    networks, lungs = fake_ensemble(), np.full(volume.shape, 3, np.uint8)
    rescale = Rescale.to_training(volume.shape[1:], SPACING, 1.2)
    assert rescale.needed
    assert rescale.shape == (37, 29)  # 64 * 0.7 / 1.2, 58 * 0.6 / 1.2
    made = new_map(tmp_path / "map", volume, lungs, networks)
    map_patterns(made, networks, Sliding(4, 64, rescale))
    assert (made.pattern(1) > 0).all()
    total = made.probability(1).sum(0)
    assert np.abs(total - 1).max() < 2 / ONE
    small = rescale.image(volume.slice(1))
    own = plain(window_to_uint8(small, (-1000.0, 400.0)), np.ones(small.shape, bool), networks, 4).mean(0)
    # the pixel in the middle between four of the resampled ones, by hand
    row, column = 30, 20
    place = (row + 0.5) * 0.7 / 1.2 - 0.5, (column + 0.5) * 0.6 / 1.2 - 0.5
    expected = 0
    for r in (int(place[0]), int(place[0]) + 1):
        for c in (int(place[1]), int(place[1]) + 1):
            expected = expected + own[:, r, c] * (1 - abs(place[0] - r)) * (1 - abs(place[1] - c))
    assert made.probability(1)[:, row, column] == pytest.approx(expected, abs=1 / ONE)


@pytest.mark.parametrize("trained", [0.9, 1.7])
def test_no_pixel_of_the_lungs_is_lost_by_resampling(trained: float) -> None:
    rng = np.random.default_rng(0)
    rescale = Rescale.to_training((50, 60), (0.7, 1.4), trained)
    lungs = rng.random((50, 60)) < 0.02
    grid = grid_of(rescale.mask(lungs), (8, 8), 8)
    found = rescale.taking_back(lungs)(grid.spread(np.ones((grid.count, 1))))
    assert found == pytest.approx(np.ones((1, lungs.sum())))


def test_a_spacing_that_is_nearly_the_trained_one_or_not_known_changes_nothing() -> None:
    assert not Rescale.to_training((64, 64), (0.7, 0.7), 0.68).needed
    assert not Rescale.to_training((64, 64), None, 0.68).needed
    assert not Rescale.to_training((64, 64), (0.7, 0.7), None).needed
    assert Rescale.to_training((64, 64), (0.7, 0.7), 0.65).needed


def test_networks_of_pictures_in_colour_get_three_channels(tmp_path: Path, volume: CTVolume) -> None:
    seen: list[Any] = []

    class Watched(FakeEnsemble):
        def logits(self, pixels: torch.Tensor, batch_size: int = 256) -> torch.Tensor:
            seen.append(pixels)
            return super().logits(pixels[..., 0], batch_size)

    networks = Watched(**vars(fake_ensemble(color=True)))
    made = new_map(tmp_path / "map", volume, lungs_of(volume.shape), networks)
    map_patterns(made, networks, Sliding(8, 512, Rescale(volume.shape[1:], None, None)))
    assert seen[0].shape[1:] == (16, 16, 3)
    assert (seen[0] == seen[0][..., :1]).all()


def test_outside_of_the_lungs_is_the_value_of_the_nearest_pixel_inside() -> None:
    rng = np.random.default_rng(1)
    image, lungs = rng.permutation(256).astype(np.uint8).reshape(16, 16), rng.random((16, 16)) < 0.1
    filled = fill_outside(image, lungs)
    assert (filled[lungs] == image[lungs]).all()
    inside = np.argwhere(lungs)
    for row, column in np.argwhere(~lungs):
        apart = ((inside - [row, column]) ** 2).sum(axis=1)
        nearest = inside[apart == apart.min()]
        assert filled[row, column] in image[nearest[:, 0], nearest[:, 1]]
    assert (fill_outside(image, np.zeros((16, 16), bool)) == image).all()


def refusal(volume: CTVolume, stride: int = 4, trained: float | None = None, **networks: Any) -> str:
    rescale = Rescale.to_training(volume.shape[1:], SPACING, trained)
    with pytest.raises(RelayError) as error:
        check_patches(volume, fake_ensemble(**networks), Sliding(stride, 256, rescale))
    return str(error.value)


def test_what_cannot_be_cut_is_refused(tmp_path: Path, volume: CTVolume) -> None:
    assert "64 x 58 pixels, fewer than a patch of 16 x 60" in refusal(volume, shape=(16, 60))
    assert "at the spacing of the training images, fewer than" in refusal(volume, trained=3.0)
    assert "stride=17: give 1 to 16 px" in refusal(volume, stride=17)
    assert "a window that nobody wrote down" in refusal(volume, window=None)
    Image.fromarray(np.zeros((64, 58), np.uint8)).save(tmp_path / "s1.png")
    assert "what these grey levels were is not known" in refusal(open_volume(tmp_path))


def test_a_full_disk_is_a_refusal_that_says_what_to_do(
    tmp_path: Path, volume: CTVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = new_map(tmp_path / "out" / "map", volume, lungs_of(volume.shape), fake_ensemble())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RelayError, match=r"the disk is full\. Finished slices are kept: make room"):
        made.finish([0])
