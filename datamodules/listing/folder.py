"""Lists images in class folders: `{train,val,test}/class/*` or `class/*`."""

import os
from collections.abc import Iterator
from typing import NoReturn

from datamodules.domain import SIDES, SideName
from datamodules.files.access import existing_root
from datamodules.files.names import first_and_more, is_image, normalised
from datamodules.files.walk import walk
from datamodules.listing.check import check_files, checked_listing
from datamodules.listing.listing import FileListing, ImageFile, change_of
from stages.errors import RelayError
from stages.source import Source

_Found = tuple[str, str, os.stat_result]  # path below the root, location, stat


def list_folder(source: Source) -> FileListing:
    """List the images of a folder source.

    Class folders may hold folders; files of unknown suffix and names that start with a dot are ignored.
    Symbolic links are followed, but never back into a folder that contains them. Folders do not say which
    images show the same patient or object: each image is its own group, unless the source's `groups` says it.

    Raises:
        RelayError: The root is missing or has no class folders, a folder train is missing, a class is empty,
            or one of the checks of `listing.check` fails.
    """
    assert source.root is not None
    root = existing_root(source.root)
    folders = _subfolders(root)
    sides = [side for side in SIDES if side in folders]
    if not sides:
        return _list_unsplit(source, root, folders)
    if "train" not in sides:
        raise RelayError(
            f"{root}: there is a folder {' and '.join(sides)} but no folder train; add it, or rename what is "
            "a class of that name."
        )
    if sides == ["train"]:
        raise RelayError(f"{root}: there is a folder train but no folder val or test; add one.")
    return _list_split(source, root, sides)


def _list_split(source: Source, root: str, sides: list[SideName]) -> FileListing:
    names = {side: _subfolders(os.path.join(root, side)) for side in sides}
    classes = sorted(set().union(*names.values()))
    for side in sides:
        absent = [name for name in classes if name not in names[side]]
        if absent:
            raise RelayError(f"{root}: class {first_and_more(absent)} has no folder in {side}; add it.")
    found: list[tuple[_Found, int, SideName]] = []
    for side in sides:
        for label, name in enumerate(classes):
            images = _images_of_class(root, os.path.join(side, names[side][name]))
            found += [(image, label, side) for image in images]
    check_files(root, (image for image, _, _ in found))
    return checked_listing(
        source, root, classes, (_image_file(image, label, side) for image, label, side in found)
    )


def _list_unsplit(source: Source, root: str, folders: dict[str, str]) -> FileListing:
    if not folders:
        raise RelayError(f"{root}: no class folders found; expected {{train,val,test}}/class/* or class/*.")
    classes = sorted(folders)
    by_class = [_images_of_class(root, folders[name]) for name in classes]
    check_files(root, (image for images in by_class for image in images))
    for name, images in zip(classes, by_class, strict=True):
        if len(images) < 2:
            raise RelayError(f"{root}: class {name} has one image; it needs two, one for each side.")
    files = (_image_file(image, label, "train") for label, images in enumerate(by_class) for image in images)
    return checked_listing(source, root, classes, files)


def _image_file(found: _Found, label: int, side: SideName) -> ImageFile:
    path, location, status = found
    return ImageFile(path, location, status.st_size, change_of(status), label, path, side)


def _subfolders(folder: str) -> dict[str, str]:
    """Names in NFC -> names on disk of the folders in `folder`, hidden ones left out."""
    with _scan(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    by_name = {normalised(name): name for name in names}
    if len(by_name) < len(names):
        twice = sorted(normalised(name) for name in names if by_name[normalised(name)] != name)
        raise RelayError(f"{folder}: the name {twice[0]} is there twice in different Unicode forms; rename.")
    return by_name


def _images_of_class(root: str, class_folder: str) -> list[_Found]:
    images = list(_walk(root, class_folder))
    if not images:
        raise RelayError(
            f"{os.path.join(root, class_folder)}: the class folder has no images; fill or remove it."
        )
    return images


def _walk(root: str, top: str) -> Iterator[_Found]:
    for path, entry in walk(root, top, on_unreadable=_unreadable):
        if is_image(entry.name):
            yield path, entry.path, _status(entry)


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    try:
        return entry.stat()
    except OSError as error:
        raise RelayError(f"{entry.path} cannot be reached: {error.strerror}; fix or remove it.") from error


def _scan(folder: str) -> "os._ScandirIterator[str]":
    try:
        return os.scandir(folder)
    except OSError as error:
        _unreadable(folder, 0, error)


def _unreadable(folder: str, _depth: int, error: OSError) -> NoReturn:
    raise RelayError(f"folder {folder} cannot be read: {error.strerror}; check its permissions.") from error
