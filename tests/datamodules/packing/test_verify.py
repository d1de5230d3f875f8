"""A prepared set that is not as it was prepared is refused before anything is trained."""

import csv
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datamodules.domain import Domain
from datamodules.listing import list_source
from datamodules.loading import check_unchanged, load
from datamodules.packing import verify
from datamodules.packing.finish import SplitRule
from datamodules.packing.pack import pack
from datamodules.packing.parts import WORK, finished_part, run_task, tasks
from stages.errors import RelayError
from stages.machine.digest import SEAL
from stages.source import Source
from tests.helpers.fake_units import FakeUnit, fake_survey

Row = dict[str, str]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of four parts, of four patients."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datamodules.packing.parts.ONE_FILE_BYTES", 0)
        made = [FakeUnit(number) for number in range(4)]
        pack(fake_survey(made), folder / "set", SplitRule(fraction=0.5), on_error="raise", workers=1)
    return folder / "set"


@pytest.fixture
def copied(prepared: Path, tmp_path: Path) -> Path:
    """A copy of it that was verified and may be changed."""
    shutil.copytree(prepared, tmp_path / "set")
    start(tmp_path / "set")
    return tmp_path / "set"


def start(folder: Path, limit: int = 10**9) -> Domain:
    """What each start of a training does."""
    source = Source(kind="packed", root=str(folder))
    return load(list_source(source), folder.parent / "cache", memory_limit_bytes=limit)


def flip(file: Path, place: int = -3) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def swap(first: Path, second: Path) -> None:
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def invert(file: Path) -> None:
    np.save(file, -np.load(file))


def rows(folder: Path, change: Callable[[list[Row]], object]) -> None:
    file = folder / "manifest.csv"
    with file.open(newline="") as text:
        table = list(csv.DictReader(text))
    names = list(table[0])
    change(table)
    with file.open("w", newline="") as text:
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def swap_labels(table: list[Row]) -> None:
    for row in table:
        row["class"] = {"GGO": "NOR", "NOR": "GGO"}[row["class"]]


def other_side(table: list[Row]) -> None:
    table[0]["split"] = "val" if table[0]["split"] == "train" else "train"


def described(folder: Path, **changes: object) -> None:
    file = folder / "set.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def nothing_crosses(folder: Path) -> None:
    described(folder, crossing={"groups": 9, "duplicates": 0, "looked": True})


PARTS = {
    "a byte of the pixels": lambda s: flip(s / "part-00002.npy"),
    "a byte of the header": lambda s: flip(s / "part-00002.npy", 20),
    "cut short": lambda s: os.truncate(s / "part-00002.npy", 200),
    "longer": lambda s: (s / "part-00002.npy").write_bytes((s / "part-00002.npy").read_bytes() + b"\0"),
    "inverted": lambda s: invert(s / "part-00002.npy"),
    "missing": lambda s: (s / "part-00002.npy").unlink(),
    "two parts swapped": lambda s: swap(s / "part-00002.npy", s / "part-00003.npy"),
}
ROWS = {
    "labels swapped": lambda s: rows(s, swap_labels),
    "one label": lambda s: rows(s, lambda t: t[5].update({"class": t[4]["class"]})),
    "a group on both sides": lambda s: rows(s, lambda t: t[0].update(group=t[-1]["group"])),
    "a sample on the other side": lambda s: rows(s, other_side),
    "a row less": lambda s: rows(s, lambda t: t.pop()),
    "a row twice": lambda s: rows(s, lambda t: t.append(t[0])),
    "another place": lambda s: rows(s, lambda t: t[0].update(place="1")),
    "another order": lambda s: rows(s, lambda t: t.reverse()),
    "cut short": lambda s: os.truncate(s / "manifest.csv", 500),
    "not a table": lambda s: (s / "manifest.csv").write_bytes(b"\xff"),
    "missing": lambda s: (s / "manifest.csv").unlink(),
}
DESCRIPTION = {
    "classes": lambda s: described(s, classes=["NOR", "GGO"]),
    "counts": lambda s: described(s, samples={"train": 999, "val": 12, "test": 0}),
    "what crosses": nothing_crosses,
    "type": lambda s: described(s, dtype="uint8"),
    "digest": lambda s: described(s, digest="0" * 64),
    "notes": lambda s: described(s, notes=[]),
    "parts": lambda s: described(s, parts=[]),
    "no seal": lambda s: described(s, **{SEAL: None}),
    "an older format": lambda s: described(s, format=2, samples={"train": 1, "val": 23, "test": 0}),
    "cut short": lambda s: os.truncate(s / "set.json", 100),
    "not an object": lambda s: (s / "set.json").write_text("[]"),
}


@pytest.mark.parametrize("limit", [0, 10**9])
@pytest.mark.parametrize("damage", PARTS.values(), ids=PARTS)
def test_a_damaged_part_is_named(copied: Path, damage: Callable[[Path], object], limit: int) -> None:
    damage(copied)
    with pytest.raises(RelayError, match=rf"part-00002.npy of the prepared set {copied} is damaged"):
        start(copied, limit)


@pytest.mark.parametrize("damage", ROWS.values(), ids=ROWS)
def test_a_changed_manifest_is_refused(copied: Path, damage: Callable[[Path], object]) -> None:
    damage(copied)
    with pytest.raises(RelayError, match=r"manifest.csv of the (prepared|packed) set"):
        start(copied)


@pytest.mark.parametrize("damage", DESCRIPTION.values(), ids=DESCRIPTION)
def test_a_changed_description_is_refused(copied: Path, damage: Callable[[Path], object]) -> None:
    damage(copied)
    with pytest.raises(RelayError, match=r"was changed|is not a packed set|is damaged"):
        start(copied)


def test_times_set_back_hide_nothing(copied: Path) -> None:
    file = copied / "part-00001.npy"
    before = file.stat()
    flip(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(RelayError, match=r"part-00001\.npy"):
        start(copied)


def test_a_set_is_read_whole_once(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "file_digest", None)
    monkeypatch.setattr(verify, "set_digest", None)
    start(copied)


def same(first: Domain, second: Domain) -> bool:
    return (first.digest, first.content, first.val.samples) == (
        second.digest,
        second.content,
        second.val.samples,
    ) and np.array_equal(np.asarray(first.val.images), np.asarray(second.val.images))


def test_what_is_no_damage(copied: Path, tmp_path: Path) -> None:
    expected = start(copied)
    for file in copied.iterdir():
        os.utime(file, (1, 1))
    assert same(start(copied), expected)
    shutil.copytree(copied, tmp_path / "elsewhere")
    assert same(start(tmp_path / "elsewhere"), expected)
    (copied / "manifest.csv").write_bytes((copied / "manifest.csv").read_bytes().replace(b"\n", b"\r\n"))
    (copied / "set.json").write_text(json.dumps(json.loads((copied / "set.json").read_text())))
    for name in ("contact_sheet.png", "skipped.csv", "split.csv"):  # for people
        (copied / name).unlink()
    assert same(start(copied), expected)


def test_a_set_that_changes_while_it_is_read_by_memory_map_is_refused(copied: Path) -> None:
    listing = list_source(Source(kind="packed", root=str(copied)))
    mapped, cache = start(copied, 0), copied.parent / "cache"
    check_unchanged(listing, mapped, cache)
    flip(copied / "part-00001.npy")
    with pytest.raises(RelayError, match=r"part-00001\.npy"):
        check_unchanged(listing, mapped, cache)


def test_a_part_too_many_is_noted(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = start(copied)
    shutil.copy(copied / "part-00000.npy", copied / "part-00009.npy")
    os.utime(copied / "set.json")
    with caplog.at_level(logging.WARNING):
        assert same(start(copied), expected)
    assert "part-00009.npy is no part of the set" in caplog.text


def test_sets_of_format_2_are_verified_but_for_their_description(copied: Path) -> None:
    expected = start(copied)
    content = json.loads((copied / "set.json").read_text()) | {"format": 2}
    del content[SEAL]
    (copied / "set.json").write_text(json.dumps(content))
    assert same(start(copied), expected)
    rows(copied, swap_labels)
    with pytest.raises(RelayError, match=r"manifest\.csv"):
        start(copied)


def test_a_cache_that_cannot_be_used_costs_time_only(copied: Path) -> None:
    expected = start(copied)
    (kept,) = (copied.parent / "cache" / "verified").iterdir()
    flip(kept)
    assert same(start(copied), expected)
    shutil.rmtree(copied.parent / "cache")
    (copied.parent / "cache").write_text("a file")
    assert same(start(copied), expected)


@pytest.mark.parametrize("name", ["part-00000.npy", "part-00000.json"])
def test_a_part_damaged_before_the_set_was_finished_is_made_again(tmp_path: Path, name: str) -> None:
    (task,) = tasks(fake_survey([FakeUnit(0)]), tmp_path, "raise")
    (tmp_path / WORK).mkdir()
    run_task(task)
    assert finished_part(task) is not None
    flip(tmp_path / WORK / name)
    assert finished_part(task) is None
