"""Files that a table names, however it writes them."""

import os
import unicodedata
from pathlib import Path

import pytest

from datamodules.files.find import ENCODED, SPELLING, Finder, OutsideError


def touched(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    return root


@pytest.mark.parametrize(
    ("written", "path", "noted"),
    [
        ("a/é 1.png", "a/é 1.png", {}),
        ("./a//x/../é 1.png", "a/é 1.png", {}),
        ("a\\é 1.png", "a/é 1.png", {}),
        ("a/%C3%A9%201.png", "a/é 1.png", {ENCODED: 1}),
        ("A/É 1.PNG", "A/É 1.PNG", {SPELLING: 1}),
        ("A\\É 1.PNG", "A\\É 1.PNG", {SPELLING: 1}),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_one_file_under_many_names(tmp_path: Path, form: str, written: str, path: str, noted: dict) -> None:  # type: ignore[type-arg]
    touched(tmp_path, unicodedata.normalize(form, "a/é 1.png"))
    finder = Finder(str(tmp_path))
    found = finder.find(written)
    assert found is not None
    assert found[0].replace("\\", "/") == path.replace("\\", "/")
    assert os.path.samefile(found[1], tmp_path / unicodedata.normalize(form, "a/é 1.png"))
    assert dict(finder.noted) == noted


def test_a_name_that_fits_two_files_is_not_guessed(tmp_path: Path) -> None:
    finder = Finder(str(touched(tmp_path, "a.png", "A.png", "b c.png", "b\u00a0C.png")))
    assert finder.find("a.PNG") is None
    assert finder.find("B C.png") is None
    assert finder.find("A.png") is not None


def test_absolute_paths_below_the_root_are_taken_and_others_refused(tmp_path: Path) -> None:
    root = touched(tmp_path / "set", "a/1.png")
    touched(tmp_path, "other/1.png")
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    for start in (root, tmp_path / "link"):
        found = Finder(str(start)).find(str(root / "a" / "1.png"))
        assert found is not None
        assert found[0] == "a/1.png"
    for outside in (
        str(tmp_path / "other" / "1.png"),
        "../other/1.png",
        "C:\\set\\a\\1.png",
        "\\\\nas\\a\\1.png",
    ):
        with pytest.raises(OutsideError):
            Finder(str(root)).find(outside)
