"""Checks of listed files, without opening one, and the listing made of them."""

import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from datamodules.domain import SideName
from datamodules.files.access import is_readable
from datamodules.files.names import IMAGE_SUFFIXES, alike, first_and_more
from datamodules.listing.digest import files_digest
from datamodules.listing.groups import with_groups
from datamodules.listing.listing import FileListing, ImageFile
from datamodules.rounding import share
from stages.console.words import counted
from stages.errors import RelayError
from stages.source import Source

_WORDS: dict[SideName, str] = {"train": "training", "val": "evaluation", "test": "test"}


def check_files(root: str, found: Iterable[tuple[str, str, os.stat_result]]) -> None:
    """Check files by what the file system says about them, without opening them.

    Args:
        root: Named in the messages.
        found: (path, location, stat) of each file.

    Raises:
        RelayError: A path is there twice, or a file is empty or may not be read.
    """
    paths: Counter[str] = Counter()
    empty, forbidden, odd = [], [], []
    for path, location, status in found:
        paths[path] += 1
        if not stat.S_ISREG(status.st_mode):
            odd.append(path)
        elif status.st_size == 0:
            empty.append(path)
        elif not is_readable(location):
            forbidden.append(path)
    twice = [path for path, times in paths.items() if times > 1]
    for names, what in (
        (twice, "is listed twice; keep one entry for each image"),
        (odd, "is not an ordinary file; remove it"),
        (empty, "has zero bytes; copy it again or remove it"),
        (forbidden, "may not be read; change its permissions"),
    ):
        if names:
            raise RelayError(f"{root}: {first_and_more(sorted(names))} {what}.")


def checked_listing(
    source: Source,
    root: str,
    classes: Sequence[str],
    files: Iterable[ImageFile],
    notes: Sequence[str] = (),
    *,
    by_folder: bool = False,
    to_train: bool = True,
) -> FileListing:
    """Sort the files by path and check that the whole can be trained on, if it is to be.

    Args:
        source: Where the files come from.
        root: Named in the messages.
        classes: Sorted by name.
        files: In any order.
        notes: What a person should know of how they were found.
        by_folder: Whether groups are what folders are called. Then one on both sides, training and
            evaluation, is counted and noted: folders may be numbered anew on each side.
        to_train: Whether it is to be trained on, see `list_source`.

    Raises:
        RelayError: There are no images, one class only, a class without images on a side, a group on
            several sides, or `val_fraction` although there is an evaluation side.
    """
    ordered = tuple(sorted(files, key=lambda file: file.path))
    if not ordered:
        raise RelayError(f"{root}: no images found; known suffixes are {' '.join(IMAGE_SUFFIXES)}.")
    if source.split == "ignore":
        ordered = tuple(replace(file, side="train") if file.side == "val" else file for file in ordered)
    if source.groups is not None:
        ordered, of_groups = with_groups(root, source.groups, ordered)
        notes = [*notes, *of_groups]
    check_names(root, classes)
    if to_train:
        _check_classes(root, classes, ordered)
    crossing = _check_groups(root, ordered, by_folder=by_folder and source.groups is None) if to_train else 0
    if crossing:
        notes = [
            *notes,
            f"{counted(crossing, 'folder')} below the class folders are on both sides under one name; if one "
            "is a patient, the split is crossed: rename these folders, or name the groups in a groups file",
        ]
    count = Counter(file.side for file in ordered)
    train, val = counted_sides(source, root, count["train"], count["val"])
    return FileListing(
        source,
        files_digest(source, classes, ordered),
        tuple(classes),
        train,
        val,
        ordered,
        test_images=count["test"],
        provided=count["val"] > 0,
        notes=tuple(notes),
        crossing_groups=crossing,
    )


def _check_classes(root: str, classes: Sequence[str], files: Sequence[ImageFile]) -> None:
    """Refuse one class, and a class without images on a side that has some."""
    if len(classes) < 2:
        raise RelayError(f"{root}: there is one class only, {classes[0]!r}; a classifier needs two or more.")
    count = Counter(file.side for file in files)
    for side, word in _WORDS.items():
        present = {file.label for file in files if file.side == side}
        absent = [name for label, name in enumerate(classes) if label not in present]
        if absent and (side == "train" or count[side]):
            raise RelayError(
                f"{root}: class {first_and_more(absent)} has no {word} images; "
                "every class needs images on every side."
            )


def check_names(root: str, classes: Sequence[str]) -> None:
    """Refuse names that are one class's, spelled in two ways; letters alone, such as A and a, may be two.

    Raises:
        RelayError: Names the classes.
    """
    values: dict[float, str] = {}
    for name in classes:
        if re.fullmatch(r"[+-]?\d+([.,]\d+)?", name):
            first = values.setdefault(float(name.replace(",", ".")), name)
            if first != name:
                raise RelayError(
                    f"{root}: the classes {first!r} and {name!r} are one number; write it in one way."
                )
    for spelled in alike(name for name in classes if len(name) > 1):
        names = " and ".join(map(repr, spelled))
        raise RelayError(
            f"{root}: the classes {names} differ in capitals, blanks, dots or forms of letters alone; "
            "give them one name, or names that differ."
        )


def counted_sides(source: Source, root: str, train: int, val: int) -> tuple[int, int]:
    """Training and evaluation images of a source, with those that `val_fraction` will draw.

    Args:
        source: Where they come from.
        root: Named in the message.
        train: Images that the source itself trains on.
        val: Images that it evaluates itself.

    Raises:
        RelayError: `val_fraction` is set although there is an evaluation side.
    """
    if val and (source.val_fraction is not None or source.split_seed is not None):
        raise RelayError(
            f"{root} says which images are for evaluation, so that `val_fraction` and `split_seed` cannot be "
            "followed; remove them, or set `split` to ignore to draw others."
        )
    drawn = 0 if source.val_fraction is None else share(source.val_fraction, train)
    return train - drawn, val + drawn


def _check_groups(root: str, files: Iterable[ImageFile], *, by_folder: bool) -> int:
    """How many groups are on both sides, training and evaluation; refused unless they are folders."""
    sides: defaultdict[str, set[str]] = defaultdict(set)
    for file in files:
        sides[file.group].add(file.side)
    shared = sorted(group for group, seen in sides.items() if len(seen) > 1)
    tested = [group for group in shared if "test" in sides[group]]
    for groups, what in (
        (tested, "in the test set and elsewhere"),
        ([] if by_folder else shared, "on both sides of the split, training and evaluation"),
    ):
        if groups:
            raise RelayError(
                f"{root}: group {first_and_more(groups)} is {what}; move all images of a patient or object "
                "to one side."
            )
    return len(shared)
