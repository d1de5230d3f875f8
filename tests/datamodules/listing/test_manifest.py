import re
import unicodedata
from pathlib import Path

import pytest

from datamodules.listing.manifest import list_manifest
from stages.errors import RelayError
from stages.source import Source
from tests.helpers.fake_images import ROWS, manifest, write_image


def csv_source(root: Path) -> Source:
    return Source(kind="manifest", root=str(root), manifest="manifest.csv")


def test_manifest_gives_groups_and_sides(tmp_path: Path) -> None:
    listing = list_manifest(csv_source(manifest(tmp_path)))
    assert listing.classes == ("con", "ggo")
    assert [(file.path, file.label, file.group, file.side) for file in listing.files] == [
        ("a/1.png", 0, "p1", "train"),
        ("a/2.png", 1, "p1", "train"),
        ("b/3.png", 0, "p2", "train"),
        ("b/4.png", 0, "p3", "val"),
        ("b/5.png", 1, "p3", "val"),
    ]


def test_several_classes_in_one_cell_are_refused_and_names_with_signs_are_names(tmp_path: Path) -> None:
    """As in ChestX-ray14, whose cells are such as `Mass|Nodule`."""
    table = manifest(tmp_path) / "manifest.csv"
    text = table.read_text()
    table.write_text(text.replace("a/2.png,ggo", "a/2.png,con|ggo"))
    with pytest.raises(RelayError, match=r"line 3: class is 'con\|ggo', and con, ggo stands alone in other"):
        list_manifest(csv_source(tmp_path))
    table.write_text(text.replace(",ggo", ",ggo|ret"))
    assert list_manifest(csv_source(tmp_path)).classes == ("con", "ggo|ret")


def test_manifest_with_byte_order_mark_extra_column_and_dots(tmp_path: Path) -> None:
    expected = list_manifest(csv_source(manifest(tmp_path)))
    rows = [("note", f"./{path}", *rest) for path, *rest in reversed(ROWS)]
    (tmp_path / "manifest.csv").write_text(
        "\n".join(",".join(row) for row in [("extra", "path", "class", "group", "split"), *rows]), "utf-8-sig"
    )
    assert list_manifest(csv_source(tmp_path)) == expected


def test_manifest_name_in_another_unicode_form_than_the_disk(tmp_path: Path) -> None:
    manifest(tmp_path)
    composed, decomposed = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    (tmp_path / "a" / "1.png").rename(tmp_path / "a" / decomposed)
    text = (tmp_path / "manifest.csv").read_text("utf-8").replace("a/1.png", f"a/{composed}")
    (tmp_path / "manifest.csv").write_text(text, "utf-8")
    assert f"a/{composed}" in {file.path for file in list_manifest(csv_source(tmp_path)).files}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a/1.png,con,p9,train", r"a/1\.png is listed twice"),
        ("a/../a/1.png,con,p9,train", r"a/1\.png is listed twice"),
        ("a/9.png,con,p9,train", r"line 7: a/9\.png has no file below"),
        ("a/2.png,con,p9,later", r"line 7: split is 'later'; use train, val \(or eval\), or test"),
        ("a/2.png,con,,train", "line 7: group is empty"),
        ("a/2.png,,p9,train", "line 7: class is empty"),
        ("a/2.png", "line 7: class is empty"),
        ("../a/2.png,con,p9,train", "is not below the root"),
        ("/a/2.png,con,p9,train", "is not below the root"),
        ("manifest.csv,con,p9,train", "no suffix of a known image format"),
        ("a.png,con,p9,train", r"a\.png is not an ordinary file"),
        ("b/6.png,ret,p9,train", "class ret has no evaluation images"),
        ("b/6.png,ret,p9,val", "class ret has no training images"),
        ("b/6.png,con,p1,val", "group p1 is on both sides"),
        ("b/6.png,con,p9,test", "class ggo has no test images"),
        ('b/6.png,"con', "not a CSV"),
    ],
)
def test_bad_manifest_line(tmp_path: Path, line: str, message: str) -> None:
    manifest(tmp_path)
    write_image(tmp_path / "b" / "6.png")
    (tmp_path / "a.png").mkdir()
    with (tmp_path / "manifest.csv").open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    with pytest.raises(RelayError, match=message):
        list_manifest(csv_source(tmp_path))


def test_several_shared_groups_are_counted(tmp_path: Path) -> None:
    rows = [
        *ROWS,
        ("c/1.png", "con", "p2", "eval"),
        ("c/2.png", "con", "p1", "val"),
        ("c/3.png", "con", "p1", "val"),
    ]
    with pytest.raises(RelayError, match="group p1 and 1 more is on both sides"):
        list_manifest(csv_source(manifest(tmp_path, rows)))


def test_missing_manifest_columns_are_named(tmp_path: Path) -> None:
    manifest(tmp_path, columns=("path", "label", "patient", "split"))
    with pytest.raises(RelayError, match="column class, group is missing"):
        list_manifest(csv_source(tmp_path))


def test_unreadable_manifests(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match=r"manifest\.csv cannot be read: No such file"):
        list_manifest(csv_source(tmp_path))
    (tmp_path / "manifest.csv").write_text("path,class,group,split\n")
    with pytest.raises(RelayError, match="no rows below the header"):
        list_manifest(csv_source(tmp_path))
    (tmp_path / "manifest.csv").write_text("")
    with pytest.raises(RelayError, match="column path, class, group is missing"):
        list_manifest(csv_source(tmp_path))
    (tmp_path / "manifest.csv").write_bytes(b"path,class,group,split\n\x81\xfe")
    with pytest.raises(RelayError, match="not a CSV file in UTF-8"):
        list_manifest(csv_source(tmp_path))


def test_manifest_of_one_class_and_empty_image(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="one class only, 'con'"):
        list_manifest(csv_source(manifest(tmp_path / "one", [row for row in ROWS if row[1] == "con"])))
    manifest(tmp_path)
    (tmp_path / "b" / "4.png").write_bytes(b"")
    with pytest.raises(RelayError, match=re.escape("b/4.png has zero bytes")):
        list_manifest(csv_source(tmp_path))


def test_what_is_said_of_a_manifest(tmp_path: Path) -> None:
    """Repeated rows, paths as Windows writes them, absolute ones, sides under other names."""
    manifest(tmp_path)
    rows = [
        "a\\1.png;con;p1;Train",
        f"{tmp_path}/a/2.png;ggo;p1;TRAINING",
        "./b/3.png;con;P2;training",
        "B/4.PNG;con;p3;Validation",
        "b/5.png;ggo;p3;dev",
        "a/1.png;con;p1;train",
    ]
    (tmp_path / "manifest.csv").write_text("\n".join(["Path;Class;Group;SPLIT", *rows]), "utf-16")
    listing = list_manifest(csv_source(tmp_path))
    assert [(file.path, file.side) for file in listing.files] == [
        ("B/4.PNG", "val"),
        ("a/1.png", "train"),
        ("a/2.png", "train"),
        ("b/3.png", "train"),
        ("b/5.png", "val"),
    ]
    assert listing.notes == (
        "the manifest: 1 path found under another spelling (capitals, blanks, forms of letters).",
        "the manifest: 1 repeated row left out.",
    )
    (tmp_path / "manifest.csv").write_text("\n".join(["path,class,group,split", *map(",".join, [*ROWS, (
        "a/1.png", "ggo", "p1", "train")])]))  # fmt: skip
    with pytest.raises(RelayError, match=r"a/1\.png is listed twice, in lines 2 and 7, with another class"):
        list_manifest(csv_source(tmp_path))


@pytest.mark.parametrize("path", ["/elsewhere/1.png", "C:\\\\data\\\\1.png", "../1.png"])
def test_paths_outside_the_root_are_refused_with_the_way_out(tmp_path: Path, path: str) -> None:
    manifest(tmp_path)
    (tmp_path / "manifest.csv").write_text(f"path,class,group\n{path},con,p\n")
    with pytest.raises(
        RelayError, match=r"line 2: .* is not below the root .*; give paths relative to it, or set root"
    ):
        list_manifest(csv_source(tmp_path))
