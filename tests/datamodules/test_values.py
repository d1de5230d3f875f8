"""What images' values are: measured, noted and refused, whatever kind of source they come from."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from datamodules.domain import Domain
from datamodules.listing import list_source
from datamodules.loading import load
from datamodules.packing.finish import PackedSet, SplitRule
from datamodules.packing.pack import pack
from datamodules.packing.summary import print_summary
from datamodules.packing.units import Sample, Survey
from datamodules.readers.hrct.reader import survey as survey_slices
from datamodules.values.measure import stored_values, summarise
from datamodules.values.notes import check_values, value_notes
from stages.errors import RelayError
from stages.source import Source
from stages.values import Values
from tests.helpers.fake_images import fake_generator, picture
from tests.helpers.fake_units import read_all
from tests.helpers.hrct_sets import PAIRS, pairs
from tests.helpers.image_bytes import png, tiff
from tests.helpers.stage_helpers import VALUES

Pixels = npt.NDArray[Any]
Kind = Literal["folder", "manifest", "packed", "embedded"]
SIDES, CLASSES = ("train", "val"), ("brick", "cotton")
EACH = 4  # images of a class on a side
WINDOW = (-1000.0, 400.0)


def bright(number: int) -> Pixels:
    """An 8-bit picture of 16 px that uses nearly all of the range."""
    image = picture(number, (16, 16)).astype(np.int64)
    return np.asarray((image - image.min()) * 255 // (image.max() - image.min()), np.uint8)


def lung(number: int) -> npt.NDArray[np.int16]:
    """Lung, air and tissue in Hounsfield units."""
    draw = np.random.default_rng(number).normal
    values = draw(-850, 60, (16, 16))
    values[:4, :4] = draw(60, 20, (4, 4))
    return np.asarray(values, np.int16)


def stored(number: int) -> npt.NDArray[np.uint16]:
    """As `lung`, as a scanner stores it: 1024 above."""
    return np.asarray(lung(number) + 1024, np.uint16)


Made = Callable[[int, int, int], Pixels]
"""The image of a number, side and class."""


def of_number(make: Callable[[int], Pixels]) -> Made:
    return lambda number, side, label: make(number)


def encoded(pixels: Pixels) -> bytes:
    if pixels.dtype.kind in "if":
        return tiff(pixels)
    return png(pixels, 2 if pixels.ndim == 3 else 0)


def domain_of(root: Path, make: Made, kind: Kind = "folder", limit: int = 10**9, **source: Any) -> Domain:
    """A domain of eight training and eight other images of two classes, loaded by a kind of source."""
    if kind == "packed":
        return load(list_source(packed(root, make)), root / "cache", memory_limit_bytes=limit)
    for number, (side, label) in enumerate(places()):
        file = root / SIDES[side] / CLASSES[label] / f"{number:02d}.{'tif'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(make(number, side, label)))
    if kind == "manifest":
        with (root / "m.csv").open("w", newline="") as stream:
            rows = [
                (file, file.parent.name, file.name, file.parent.parent.name)
                for file in sorted(root.rglob("*.tif"))
            ]
            csv.writer(stream).writerows([("path", "class", "group", "split"), *rows])
        source["manifest"] = "m.csv"
    listing = list_source(Source(kind=kind, root=str(root), **source))
    return load(listing, root / "cache", memory_limit_bytes=limit)


def places() -> list[tuple[int, int]]:
    return [(side, label) for side in range(2) for label in range(2) for _ in range(EACH)]


@dataclass(frozen=True)
class Unit:
    """All images of a set, as the packer takes them."""

    make: Made
    key: str = "unit"
    fingerprint: str = field(default="0")

    def read(self, on_error: str) -> tuple[list[Sample], list[Any]]:
        samples = [
            Sample(self.make(number, side, label), CLASSES[label], f"g{number}", f"{number:02d}", SIDES[side])  # type: ignore[arg-type]
            for number, (side, label) in enumerate(places())
        ]
        return samples, []


def prepared(root: Path, make: Made, **survey: Any) -> PackedSet:
    found = Survey("dld", CLASSES, (Unit(make),), (), (), {}, "secret", **survey)
    return pack(found, root / "set", SplitRule(duplicates=False), on_error="raise", workers=1)


def packed(root: Path, make: Made) -> Source:
    prepared(root, make)
    return Source(kind="packed", root=str(root / "set"))


def notes_of(domain: Domain, window: tuple[float, float] | None = None) -> list[str]:
    assert domain.values is not None
    check_values(domain.values, "here")
    return value_notes(domain.values, domain.classes, window)


@pytest.mark.parametrize("limit", [10**9, 0], ids=["in memory", "streaming"])
@pytest.mark.parametrize("kind", ["folder", "manifest", "packed"])
def test_hounsfield_units_are_measured_alike_whatever_the_source(
    tmp_path: Path, kind: Kind, limit: int
) -> None:
    window = {} if kind == "packed" else {"window": WINDOW}
    domain = domain_of(tmp_path, of_number(lung), kind, limit, **window)
    values, all_of_them = domain.values, np.stack([lung(number) for number in range(16)])
    assert values is not None and notes_of(domain) == []
    assert (values.images, values.of, values.black, values.white) == (16, 16, *WINDOW)
    assert (values.low, values.high) == (all_of_them.min(), all_of_them.max())
    assert values.used == pytest.approx((values.high - max(values.low, -1000)) / 1400)
    assert values.air == pytest.approx((all_of_them < -900).mean())
    assert values.below == pytest.approx((all_of_them < -1000).mean())
    assert (values.above, values.dense, values.eight_bit, values.reduced) == (0, 0, 0, 0)
    assert (values.constant, values.identical, values.grey) == (0, False, None)
    again = load(
        list_source(domain_source(tmp_path, kind, window)), tmp_path / "cache", memory_limit_bytes=limit
    )
    assert again.values == values


def domain_source(root: Path, kind: Kind, settings: dict[str, Any]) -> Source:
    if kind == "packed":
        return Source(kind="packed", root=str(root / "set"))
    manifest = {"manifest": "m.csv"} if kind == "manifest" else {}
    return Source(kind=kind, root=str(root), **manifest, **settings)


def test_generated_hounsfield_units_are_measured_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_generator(monkeypatch, np.stack([lung(number) for number in range(8)]))
    source = Source(
        kind="embedded", generator="dld", classes=2, train_images=8, val_images=8, size=16, seed=0
    )
    domain = load(list_source(source), tmp_path, memory_limit_bytes=10**9)
    assert domain.values is not None and domain.values.air is not None and domain.values.air > 0.1
    assert (domain.values.sides_overlap, notes_of(domain)) == (1.0, [])


def some_constant(number: int) -> Pixels:
    return np.full((16, 16), 10 * number, np.uint8) if number % 8 == 0 else bright(number)


def inverted(number: int) -> Pixels:
    return np.asarray(-lung(number), np.int16)


def part_of(low: int, high: int) -> Callable[[int], Pixels]:
    return lambda number: np.random.default_rng(number).integers(low, high, (16, 16), dtype=np.uint8)


def twelve_bits(number: int) -> Pixels:
    return np.asarray(bright(number).astype(np.uint16) * 16)


def marked(number: int) -> Pixels:
    """A dark picture of 12 bits with a mark of 16."""
    image = twelve_bits(number)
    image[0, 0] = 65535
    return image


def grey_in_color(number: int) -> Pixels:
    return np.repeat(bright(number)[..., None], 3, -1)


def in_color(number: int) -> Pixels:
    return np.stack([bright(3 * number), bright(3 * number + 1), bright(3 * number + 2)], -1)


def masks(number: int) -> Pixels:
    return np.asarray(255 * (bright(number) > 128), np.uint8)


ODD: dict[str, tuple[Made, dict[str, Any], str]] = {
    "greys 3 to 6": (
        of_number(part_of(3, 7)),
        {},
        "the images have values 3 to 6, 1.18% of the range from black, 0, to white, 255",
    ),
    "12 bits in 16": (
        of_number(twelve_bits),
        {},
        "the images have values 0 to 4080, 6.23% of the range from black, 0, to white, 65535; set the "
        "source's window, such as [0, 4080]",
    ),
    "12 bits in 16 with a mark": (
        of_number(marked),
        {},
        "the images use 18 of 256 greys: some values lie far",
    ),
    "some constant": (of_number(some_constant), {}, "2 images of a single grey or colour among 16"),
    "masks": (of_number(masks), {}, "the images hold 2 values only: are they masks, or drawings?"),
    "a window that clips most": (
        of_number(lung),
        {"window": (-160, 240)},
        "the window [-160, 240] clips 94% of the pixels to black and 0% to white; the values are ",
    ),
    "a window of another unit": (
        of_number(stored),
        {"window": WINDOW},
        "the window begins at -1000, as in Hounsfield units, and no value is below 0: these seem to be "
        "stored values",
    ),
    "no air": (
        of_number(lambda number: np.asarray(lung(number) + 500, np.int16)),
        {"window": (-600, 600)},
        "no air was seen (no value is below -900 HU)",
    ),
    "air that is bright": (
        of_number(inverted),
        {"window": (-1000, 2000)},
        "no air was seen (no value is below -900 HU)",
    ),
    "8 bits with a window": (
        of_number(bright),
        {"window": WINDOW},
        "the window [-1000.0, 400.0] is not used: the images are of 8 bits",
    ),
    "8 and 16 bits": (
        lambda number, side, label: (bright if number % 4 else twelve_bits)(number),
        {},
        "75.0% of the images are of 8 bits, which are taken as they are beside others of more bits",
    ),
    "grey saved in colour": (
        of_number(grey_in_color),
        {},
        "the images are read in colour and have none (red, green and blue are equal)",
    ),
    "grey among colour": (
        lambda number, side, label: (in_color if number % 4 else grey_in_color)(number),
        {},
        "25% of the images are grey among others in colour",
    ),
    "one class in colour": (
        lambda number, side, label: (in_color if label else bright)(number),
        {},
        "the images of some classes are grey and those of others in colour: that alone tells these classes",
    ),
    "colour read as grey": (
        of_number(in_color),
        {"color": "grey"},
        "100.0% of the images are in colour and are read as grey",
    ),
    "one class apart": (
        lambda number, side, label: part_of(*((0, 120) if label else (130, 256)))(number),
        {},
        "the grey levels of class brick have 0.0% in common with those of the class most like it",
    ),
    "one class windowed in another way": (
        lambda number, side, label: windowed(number, (-160, 240) if label else WINDOW),
        {},
        "in common with those of the class most like it: grey alone tells it",
    ),
    "sides apart": (
        lambda number, side, label: bright(number) // (16 if side else 1),
        {},
        "the grey levels of training and evaluation have ",
    ),
}


def windowed(number: int, window: tuple[float, float]) -> Pixels:
    low, high = window
    return np.asarray(np.clip((lung(number).astype(float) - low) * 255 / (high - low), 0, 255), np.uint8)


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_noted(tmp_path: Path, name: str) -> None:
    make, source, expected = ODD[name]
    notes = notes_of(domain_of(tmp_path, make, **source), source.get("window"))
    assert any(note.startswith(expected) or f" {expected}" in note for note in notes), notes


@pytest.mark.parametrize("make", [bright, in_color, stored], ids=["grey", "colour", "16 bits in a window"])
def test_what_is_not_odd_is_not_noted(tmp_path: Path, make: Callable[[int], Pixels]) -> None:
    window = {"window": (0, 1200)} if make is stored else {}
    assert notes_of(domain_of(tmp_path, of_number(make), **window), window.get("window")) == []


REFUSED: dict[str, tuple[Made, dict[str, Any], str]] = {
    "all constant": (
        of_number(lambda number: np.full((16, 16), 10 * number, np.uint8)),
        {},
        "each of 16 images is of a single grey or colour. There is nothing to learn",
    ),
    "all the same": (
        of_number(lambda number: bright(0)),
        {},
        "all of 16 images are the same picture. There is nothing to learn",
    ),
    "all clipped": (
        of_number(twelve_bits),
        {"window": (5000, 6000)},
        r"every pixel is outside of the window \[5000, 6000\], so that only black and white are left; the "
        "values are 0 to 4080: set window",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    make, source, expected = REFUSED[name]
    with pytest.raises(RelayError, match=f"^here: {expected}"):
        notes_of(domain_of(tmp_path, make, **source))


@pytest.mark.parametrize("name", ["all constant", "all the same"])
def test_a_set_that_cannot_be_is_refused_when_it_is_prepared(tmp_path: Path, name: str) -> None:
    make, _, expected = REFUSED[name]
    with pytest.raises(RelayError, match=expected):
        prepared(tmp_path, make)
    assert not (tmp_path / "set" / "set.json").exists()


def test_prepare_prints_the_values_and_what_is_odd(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(prepared(tmp_path, of_number(inverted)), lambda _: ())
    printed = " ".join(capsys.readouterr().out.split())
    assert "values: -" in printed and "0.0% below -900 HU (air)" in printed
    assert "clips 0% of the pixels to black and 94% to white" in printed
    assert "note: no air was seen" in printed


def test_a_set_is_measured_once_for_each_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = domain_of(tmp_path, of_number(lung), "packed")
    other = load(
        list_source(Source(kind="packed", root=str(tmp_path / "set"), window=(-160, 240))),
        tmp_path / "cache",
        memory_limit_bytes=10**9,
    )
    assert first.values is not None and other.values is not None
    assert (first.values.black, other.values.black) == (-1000, -160)

    def never(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("datamodules.loading.packed.set_values", never)
    again = load(
        list_source(domain_source(tmp_path, "packed", {})), tmp_path / "cache", memory_limit_bytes=10**9
    )
    assert again.values == first.values
    (kept,) = [file for file in (tmp_path / "cache" / "values").glob("*") if "-160" not in file.read_text()]
    kept.write_text(kept.read_text().replace("-1000", "-1001"))
    with pytest.raises(AssertionError, match="measured again"):
        load(list_source(domain_source(tmp_path, "packed", {})), tmp_path / "cache", memory_limit_bytes=10**9)


@pytest.mark.parametrize("swapped", [False, True])
def test_whole_slices_show_that_black_and_white_are_swapped(tmp_path: Path, swapped: bool) -> None:
    for file in sorted(pairs(tmp_path).glob("Imgs/*")):
        body = np.zeros((40, 48), np.uint8)
        body[6:34, 6:42] = np.asarray(Image.open(file))[6:34, 6:42] // 3 + 120
        Image.fromarray(255 - body if swapped else body).save(file)
    samples, _ = read_all(survey_slices(tmp_path, PAIRS, "raise"))
    remark = "of 8-bit slices with bright corners, where air is dark: see whether black and white are swapped"
    assert [sample.remarks for sample in samples] == [(remark,) if swapped else ()] * len(samples)
    assert samples


def test_of_many_images_some_are_looked_at_and_the_note_says_so() -> None:
    images = np.stack([part_of(3, 7)(number) for number in range(10)])
    none = np.zeros(10, np.int64)
    values = summarise(images, [(None, False)] * 10, none, none, 1000)
    assert str(values) == "of 10 images looked at, 3 to 6, 1% of the range from 0 to 255 used"
    assert value_notes(values, ())[0].startswith("of 10 images looked at, the images have values 3 to 6")
    assert values.class_overlap is None and values.sides_overlap is None


def test_shares_and_overlaps_by_hand() -> None:
    (first,) = stored_values(np.array([[[-1500, -950], [0, 1200]]], np.int16), WINDOW, hounsfield=True)
    assert (first.low, first.high, first.below, first.above) == (-1500, 1200, 0.25, 0.25)
    assert (first.air, first.dense) == (0.5, 0.25)
    # Class 0 has levels 0 and 10 half and half, class 1 10 and 20: half in common. Side 1 has class 1 only.
    halves = [np.repeat([[a, b]], 2, 0).astype(np.uint8) for a, b in [(0, 10)] * 3 + [(10, 20)] * 3]
    labels, sides = np.repeat([0, 1], 3), np.repeat([0, 1], 3)
    values = summarise(np.stack(halves), [(None, False)] * 6, labels, sides, 6)
    assert (values.class_overlap, values.sides_overlap, values.levels) == (0.5, 0.5, 3)


@pytest.mark.parametrize(
    ("share", "noted"), [("dense", "12% of the pixels are above 1000 HU, where bone is"), ("air", "no air")]
)
def test_hounsfield_units_that_a_chest_has_not(share: str, noted: str) -> None:
    values = dict(VALUES, **{share: 0.12 if share == "dense" else 0.0})

    (note,) = value_notes(Values.model_validate(values), CLASSES)
    assert note.startswith(noted)
