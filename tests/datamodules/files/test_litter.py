"""What systems and tools leave behind, known in one place."""

from pathlib import Path

import pytest

from datamodules.files.litter import Dropped, in_litter, is_litter
from datamodules.files.walk import walk

LITTER = {
    "macOS": ["._p0.png", ".DS_Store", "__MACOSX", "__macosx", "Icon\r", ".fseventsd"],
    "Windows": ["desktop.ini", "Desktop.ini", "Thumbs.db", "ehthumbs.db", "$RECYCLE.BIN", "$Recycle.Bin",
                "System Volume Information", "a.png:Zone.Identifier"],
    "network drives": ["@eaDir", "#recycle", "#snapshot", "@Recycle", ".@__thumb", "a.png@SynoEAStream"],
    "wastebaskets": [".Trashes", ".Trash-1000"],
    "lock and temporary files": ["~$boxes.xlsx", ".~lock.boxes.csv#", "a.png.tmp", "a.csv~", "a.png.part"],
    "tools": [".git", ".ipynb_checkpoints", "__pycache__"],
    "hidden files": [".cache", ".hidden.png"],
}  # fmt: skip


@pytest.mark.parametrize("kind", LITTER)
def test_litter_is_counted_by_its_kind(kind: str) -> None:
    dropped = Dropped()
    assert all(is_litter(name, dropped) for name in LITTER[kind])
    ((found, count),) = dropped.items()
    assert found.startswith(kind)
    assert count == len(LITTER[kind])


@pytest.mark.parametrize(
    "name",
    ["a.png", "train", "boxes.csv", "thumbs.png", "desktop", "tmp", "recycle", "#1.png", "@a.png", "~a"],
)
def test_a_persons_own_names_are_no_litter(name: str) -> None:
    assert not is_litter(name)


def test_a_member_of_an_archive_is_litter_by_any_part_of_its_path() -> None:
    assert in_litter("__MACOSX/set/._a.png")
    assert in_litter("set/@eaDir/a.png/THUMB.jpg")
    assert not in_litter("set/a.png")


def test_a_walk_passes_it_over_and_counts_it(tmp_path: Path) -> None:
    for path in ("a/1.png", "a/._1.png", "__MACOSX/a/2.png", "@eaDir/3.png", "a/Thumbs.db"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    dropped = Dropped()
    found = [path for path, _ in walk(tmp_path, on_unreadable=lambda *_: None, dropped=dropped)]
    assert found == ["a/1.png"]
    assert sorted(dropped.values()) == [1, 1, 2]
