"""Groups of class folders from a CSV file."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.listing import list_source
from stages.errors import RelayError
from stages.source import Source
from tests.helpers.fake_images import class_folders, split_folders

ROWS = {f"{name}/{number:03d}.png": f"p{number}" for name in ("brick", "cotton") for number in range(4)}


def source(root: Path, rows: dict[str, str] = ROWS, **more: str | float) -> Source:
    class_folders(root, images=4)
    lines = [f"{path},{group}" for path, group in rows.items()]
    (root / "groups.csv").write_text("\n".join(["Path,Group", *lines, "", ""]), "utf-8-sig")
    return Source(kind="folder", root=str(root), groups="groups.csv", val_fraction=0.25, **more)


def test_each_image_has_its_group(tmp_path: Path) -> None:
    listing = list_source(source(tmp_path))
    assert {file.path: file.group for file in listing.files} == ROWS


def test_where_the_file_lies_does_not_count_and_groups_do(tmp_path: Path) -> None:
    first = list_source(source(tmp_path / "a"))
    source(tmp_path / "b", {f"./{path}": group for path, group in reversed(ROWS.items())})
    moved = (tmp_path / "b" / "groups.csv").rename(tmp_path / "who.csv")
    b = Source(kind="folder", root=str(tmp_path / "b"), groups=str(moved), val_fraction=0.25)
    assert list_source(b).digest == first.digest
    other = list_source(source(tmp_path / "c", ROWS | {"brick/000.png": "p9"}))
    assert other.digest != first.digest


def test_groups_of_folders_with_sides(tmp_path: Path) -> None:
    split_folders(tmp_path, train=1, val=1)
    rows = [
        f"{side}/{name}/000.png,{side}-{name}" for side in ("train", "val") for name in ("brick", "cotton")
    ]
    (tmp_path / "groups.csv").write_text("\n".join(["path,group", *rows]))
    listing = list_source(Source(kind="folder", root=str(tmp_path), groups="groups.csv"))
    assert [file.group for file in listing.side("val")] == ["val-brick", "val-cotton"]
    (tmp_path / "groups.csv").write_text(
        "\n".join(["path,group", *(row.split(",")[0] + ",one" for row in rows)])
    )
    with pytest.raises(RelayError, match="group one is on both sides"):
        list_source(Source(kind="folder", root=str(tmp_path), groups="groups.csv"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"brick/9.png": "p1", "wool/0.png": "p1"},
            r"brick/9\.png and 1 more is no image below .*; write paths as in brick/000\.png",
        ),
        ({"brick/000.png": None, "brick/001.png": None}, r"brick/000\.png and 1 more has no row"),
        ({"./brick/000.png": "p7"}, r"groups\.csv gives the path of line 10 two groups"),
    ],
)
def test_what_does_not_fit_the_images_is_named(
    tmp_path: Path, change: dict[str, str | None], message: str
) -> None:
    rows = {path: group for path, group in {**ROWS, **change}.items() if group is not None}
    with pytest.raises(RelayError, match=message):
        list_source(source(tmp_path, rows))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    of = source(tmp_path)
    (tmp_path / "groups.csv").unlink()
    with pytest.raises(RelayError, match=r"groups file .*/groups\.csv cannot be read: No such file"):
        list_source(of)


def test_groups_are_for_folders() -> None:
    with pytest.raises(RelayError, match="groups cannot be set for kind=manifest"):
        Source(kind="manifest", root="here", manifest="m.csv", groups="groups.csv")
