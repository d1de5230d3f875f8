"""Lists the images that a manifest names (CSV with the columns path, class, group, split)."""

import os
import posixpath
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from datamodules.domain import SideName
from datamodules.files.access import existing_root
from datamodules.files.names import first_and_more, is_image
from datamodules.files.table import read_rows
from datamodules.listing.check import check_files, checked_listing
from datamodules.listing.listing import FileListing, ImageFile, change_of
from stages.errors import RelayError
from stages.source import Source

_NEEDED = ("path", "class", "group")
_SIDE_OF: dict[str, SideName] = {"train": "train", "val": "val", "eval": "val", "test": "test"}


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    path: str
    class_name: str
    group: str
    side: SideName


def list_manifest(source: Source) -> FileListing:
    """List the images of a manifest source.

    Columns other than path, class, group and split are ignored; without split, every image is of `train`.
    The split is `train`, `val` (or `eval`), the evaluation side, or `test`, which stays locked. Without
    evaluation images they are drawn from those of `train`, see `datamodules.division`. Paths are relative to
    the root.

    Raises:
        RelayError: The manifest is missing or not a CSV, lacks a column or a value, has an unknown split, a
            path outside the root or without an image file, or one of the checks of `listing.check` fails.
    """
    assert source.root is not None
    assert source.manifest is not None
    root = existing_root(source.root)
    manifest = os.path.join(root, os.path.expanduser(source.manifest))
    rows = list(_rows(manifest))
    if not rows:
        raise RelayError(f"{manifest}: there are no rows below the header; list the images.")
    found = _find_files(root, manifest, rows)
    check_files(manifest, ((row.path, *file) for row, file in zip(rows, found, strict=True)))
    classes = sorted({row.class_name for row in rows})
    label_of = {name: label for label, name in enumerate(classes)}
    files = (
        ImageFile(row.path, location, status.st_size, change_of(status), label_of[row.class_name], row.group,
                  row.side)
        for row, (location, status) in zip(rows, found, strict=True)
    )  # fmt: skip
    return checked_listing(source, manifest, classes, files)


def _find_files(root: str, manifest: str, rows: list[_Row]) -> list[tuple[str, os.stat_result]]:
    found, missing = [], []
    for row in rows:
        file = _find_file(root, row.path)
        if file is None:
            missing.append(f"line {row.line}: {row.path}")
        else:
            found.append(file)
    if missing:
        raise RelayError(
            f"{manifest}: {first_and_more(missing)} has no file below {root}; "
            "correct the path, add the file or remove the line."
        )
    return found


def _find_file(root: str, path: str) -> tuple[str, os.stat_result] | None:
    # The disk may hold the decomposed form of a name (copied from macOS).
    for form in (path, unicodedata.normalize("NFD", path)):
        location = os.path.join(root, form)
        try:
            return location, os.stat(location)
        except PermissionError as error:
            raise RelayError(f"{location} may not be read; change its permissions.") from error
        except OSError:
            continue
    return None


def _rows(manifest: str) -> Iterator[_Row]:
    for line, values in read_rows(manifest, _NEEDED, ("split",), what=f"manifest {manifest}"):
        yield _row(f"{manifest}, line {line}", line, values)


def _row(where: str, line: int, values: Mapping[str, str]) -> _Row:
    for name, value in values.items():
        if not value:
            hint = "; without patients or objects, repeat the path" if name == "group" else ""
            raise RelayError(f"{where}: {name} is empty; fill it{hint}.")
    split = values.get("split", "train")
    if split not in _SIDE_OF:
        raise RelayError(f"{where}: split is {split!r}; use train, val (or eval), or test.")
    path = posixpath.normpath(values["path"])
    if posixpath.isabs(path) or path.startswith("../"):
        raise RelayError(f"{where}: {values['path']} is not below the root; give paths relative to it.")
    if not is_image(path):
        raise RelayError(f"{where}: {path} has no suffix of a known image format; convert it to PNG or TIFF.")
    return _Row(line, path, values["class"], values["group"], _SIDE_OF[split])
