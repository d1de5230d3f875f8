"""Lists the images that a manifest names (CSV with the columns path, class, group, split)."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from datamodules.domain import SideName, side_named
from datamodules.files.access import existing_root
from datamodules.files.find import Finder, OutsideError
from datamodules.files.groups import notes_on_spelling
from datamodules.files.names import first_and_more, is_image
from datamodules.files.table import read_table
from datamodules.listing.check import check_files, checked_listing
from datamodules.listing.listing import FileListing, ImageFile, change_of
from stages.console.words import counted
from stages.errors import RelayError
from stages.source import Source

_NEEDED = ("path", "class", "group")
_File = tuple[str, str, os.stat_result]  # path below the root, location, stat


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    path: str
    class_name: str
    group: str
    side: SideName


def list_manifest(source: Source, *, to_train: bool = True) -> FileListing:
    """List the images of a manifest source.

    Columns other than path, class, group and split are ignored; without split, every image is of `train`.
    The split is what `side_named` knows; a test side stays locked. Without evaluation images they are drawn
    from those of `train`, see `datamodules.division`. Paths are below the root, see `Finder`.

    Args:
        source: Where the images come from.
        to_train: Whether it is to be trained on, see `list_source`.

    Raises:
        RelayError: The manifest is missing or not a CSV, lacks a column or a value, has an unknown split, a
            path outside the root or without an image file, or one of the checks of `listing.check` fails.
    """
    assert source.root is not None
    assert source.manifest is not None
    root = existing_root(source.root)
    manifest = os.path.join(root, os.path.expanduser(source.manifest))
    table = read_table(manifest, _NEEDED, ("split",), what=f"manifest {manifest}")
    rows = [_row(f"{manifest}, line {line}", line, values) for line, values in table.rows()]
    if not rows:
        raise RelayError(f"{manifest}: there are no rows below the header; list the images.")
    finder = Finder(root)
    found: dict[str, tuple[_Row, _File]] = {}  # by location
    for row, file in _find_files(finder, root, manifest, rows):
        first = found.setdefault(file[1], (row, file))[0]
        if (first.class_name, first.group, first.side) != (row.class_name, row.group, row.side):
            raise RelayError(
                f"{manifest}: {row.path} is listed twice, in lines {first.line} and {row.line}, with another "
                "class, group or split; keep one entry for each image."
            )
    notes = [
        *table.notes,
        *(f"{counted(count, 'path')} {way}." for way, count in finder.noted.items()),
        *notes_on_spelling(row.group for row in rows if row.group != row.path),
    ]
    if len(found) < len(rows):
        notes.append(f"{counted(len(rows) - len(found), 'repeated row')} left out.")
    check_files(manifest, (file for _, file in found.values()))
    classes = sorted({row.class_name for row in rows})
    _check_single(manifest, rows, classes)
    label_of = {name: label for label, name in enumerate(classes)}
    files = (
        ImageFile(path, location, status.st_size, change_of(status), label_of[row.class_name], row.group,
                  row.side)
        for row, (path, location, status) in found.values()
    )  # fmt: skip
    notes = [f"the manifest: {note}" for note in notes]
    return checked_listing(source, manifest, classes, files, notes, to_train=to_train)


def _find_files(finder: Finder, root: str, manifest: str, rows: list[_Row]) -> Iterator[tuple[_Row, _File]]:
    missing = []
    for row in rows:
        try:
            file = finder.find(row.path)
        except OutsideError:
            raise RelayError(
                f"{manifest}, line {row.line}: {row.path} is not below the root {root}; give paths relative "
                "to it, or set root to a folder that holds all images."
            ) from None
        if file is None:
            missing.append(f"line {row.line}: {row.path}")
        else:
            yield row, file
    if missing:
        raise RelayError(
            f"{manifest}: {first_and_more(missing)} has no file below {root}; "
            "correct the path, add the file or remove the line."
        )


def _check_single(manifest: str, rows: Sequence[_Row], classes: Sequence[str]) -> None:
    """Refuse several classes in one cell: a network here gives an image one.

    Raises:
        RelayError: One is written of others that stand alone, too, such as `Mass|Nodule`.
    """
    for row in rows:
        parts = [part.strip() for part in re.split(r"[|;,]", row.class_name)]
        known = sorted(set(parts) & set(classes))
        if len(parts) > 1 and known:
            several = sum(each.class_name == row.class_name for each in rows)
            raise RelayError(
                f"{manifest}, line {row.line}: class is {row.class_name!r}, and {first_and_more(known, 3)} "
                f"stands alone in other lines ({counted(several, 'line')} so): these are several classes of "
                "one image, and a network is trained on one class of each. Remove such lines, give them the "
                "class that counts, or give them a name of its own without the sign between"
            )


def _row(where: str, line: int, values: Mapping[str, str]) -> _Row:
    for name, value in values.items():
        if not value:
            hint = "; without patients or objects, repeat the path" if name == "group" else ""
            raise RelayError(f"{where}: {name} is empty; fill it{hint}.")
    side = side_named(values.get("split", "train"))
    if side is None:
        raise RelayError(f"{where}: split is {values['split']!r}; use train, val (or eval), or test.")
    path = values["path"]
    if not is_image(path):
        raise RelayError(f"{where}: {path} has no suffix of a known image format; convert it to PNG or TIFF.")
    return _Row(line, path, values["class"], values["group"], side)
