"""The sheet of sample images: which images, where, and nothing else."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from datamodules.batches.sample_sheet import CELL, GAP, IMAGES, MOST_CLASSES, sample_sheet
from datamodules.domain import Side

STEP = CELL + GAP


def side(labels: list[int], greys: list[int], size: tuple[int, int] = (10, 10)) -> Side:
    images = np.broadcast_to(np.array(greys, np.uint8)[:, None, None], (len(labels), *size)).copy()
    names = tuple(f"{number:03d}" for number in range(len(labels)))
    return Side(images, np.array(labels, dtype=np.int64), names, names)


def cells(content: bytes) -> list[list[int]]:
    """The grey in the middle of each cell."""
    sheet = np.asarray(Image.open(io.BytesIO(content)).convert("L")).astype(int)
    height, width = ((length + GAP) // STEP for length in sheet.shape)
    return [
        [sheet[row * STEP + CELL // 2, column * STEP + CELL // 2] for column in range(width)]
        for row in range(height)
    ]


def near(found: list[int], expected: list[int]) -> bool:
    return bool(np.abs(np.array(found) - np.array(expected)).max() <= 3)  # JPEG


def test_a_row_of_each_class_spread_over_its_images() -> None:
    greys = [*range(0, 240, 20), 100]  # twelve dark to bright, and one of another class
    found = cells(sample_sheet(side([1] * 12 + [0], greys), np.arange(13), 2))
    assert len(found) == 2 and len(found[0]) == IMAGES
    assert near(found[0], [100, 255, 255, 255, 255, 255]), "white where a class has no more images"
    assert near(found[1], [0, 40, 80, 120, 160, 200])


def test_only_the_rows_that_may_be_shown() -> None:
    found = cells(sample_sheet(side([0, 0, 1], [10, 200, 90]), np.array([1, 2]), 2))
    assert near([found[0][0], found[0][1], found[1][0]], [200, 255, 90])


def test_images_that_are_not_square_keep_their_proportions() -> None:
    content = sample_sheet(side([0], [200], size=(10, 20)), np.arange(1), 1)
    sheet = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    assert sheet[CELL // 2, CELL // 2] > 190 and sheet[3, CELL // 2] < 20, "black above and below"


def test_many_classes_are_cut() -> None:
    labels = list(range(MOST_CLASSES + 5))
    assert len(cells(sample_sheet(side(labels, labels), np.arange(len(labels)), len(labels)))) == MOST_CLASSES


def test_the_same_images_as_a_network_got_them_stand_beside() -> None:
    def brighter(images: npt.NDArray[np.uint8], rows: list[int]) -> npt.NDArray[np.uint8]:
        assert rows == [1, 2]
        return np.repeat((images + 100)[..., None], 3, axis=-1)

    found = cells(sample_sheet(side([0, 0, 1], [10, 90, 50]), np.array([1, 2]), 2, brighter))
    white = [255] * 5
    assert near(found[0], [90, *white, 190, *white])
    assert near(found[1], [50, *white, 150, *white])
