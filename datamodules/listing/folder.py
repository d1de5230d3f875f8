"""Lists images in class folders: `{train,val,test}/class/*`, `class/{train,val,test}/*` or `class/*`."""

import os
from collections import Counter

from datamodules.domain import SIDES, SideName, side_named, side_within
from datamodules.files.access import existing_root
from datamodules.files.names import IMAGE_SUFFIXES, first_and_more
from datamodules.listing.annotations import annotated
from datamodules.listing.check import check_files, check_names, checked_listing
from datamodules.listing.levels import Placed, groups_of_folders, sides_in_classes
from datamodules.listing.listing import FileListing, ImageFile, change_of
from datamodules.listing.masks import CONTAINERS, is_mask_folder
from datamodules.listing.tree import Found, Tree
from stages.console.words import counted
from stages.errors import RelayError
from stages.source import Source


def list_folder(source: Source, *, to_train: bool = True) -> FileListing:
    """List the images of a folder source.

    Sides are folders of the names that `side_named` knows. Class folders may hold folders: what these say is
    in `listing.levels`; the source's `groups` goes before them. Litter, masks and files of unknown suffix are
    left out, counted and noted. Symbolic links are followed, but never back into a folder that contains them.

    Args:
        source: Where the images come from.
        to_train: Whether it is to be trained on, see `list_source`. If not, a side folder may stand alone.

    Raises:
        RelayError: The root is missing or has no class folders, a side is there twice, has no class folders
            or stands beside folders that are none, a folder train is missing, a class is empty, or one of the
            checks of `listing.check` fails.
    """
    assert source.root is not None
    tree = Tree(existing_root(source.root))
    sides, notes = _side_folders(tree, to_train=to_train)
    if sides:
        placed = _of_sides(tree, sides, notes, to_train=to_train)
    else:
        placed, of_sides = sides_in_classes(tree.root, _of_classes(tree))
        notes += of_sides
    check_files(tree.root, ((image.found.path, image.found.location, image.found.status) for image in placed))
    classes = sorted({image.class_name for image in placed})
    if to_train:
        _check_level(tree.root, classes, placed)
    if to_train and not any(image.side == "val" for image in placed):
        _check_pairs(tree.root, classes, placed)
    groups = [image.found.path for image in placed]
    if source.groups is None:
        groups, of_groups = groups_of_folders(placed)
        notes += of_groups
    label_of = {name: label for label, name in enumerate(classes)}
    files = (
        ImageFile(found.path, found.location, found.status.st_size, change_of(found.status),
                  label_of[image.class_name], group, image.side)
        for image, group in zip(placed, groups, strict=True)
        for found in [image.found]
    )  # fmt: skip
    return checked_listing(
        source, tree.root, classes, files, [*tree.notes(), *notes], by_folder=True, to_train=to_train
    )


def _side_folders(tree: Tree, *, to_train: bool) -> tuple[dict[SideName, str], list[str]]:
    """The folder of each side, by its name on the disk, and notes; none where all folders are classes.

    Raises:
        RelayError: It cannot be told, or a side has no class folders.
    """
    root = tree.root
    named = {name: of for side in SIDES for name in sorted(tree.folders) if (of := side_named(name)) == side}
    if not named:
        return {}, []
    flat = [name for name in named if not tree.subfolders(tree.folders[name])]
    others = [name for name in tree.folders if name not in named and Tree(root).images(tree.folders[name])]
    if len(named) == 1 and flat and others and Tree(root).images(tree.folders[flat[0]]):
        return {}, [f"the folder {flat[0]} is taken as a class: it holds images, as the other folders do"]
    listed = " and ".join(named)
    if others:
        raise RelayError(
            f"{root}: beside the folder {listed} of a split there is {first_and_more(sorted(others))} with "
            "images. Move what is no side elsewhere, or rename what is a class of that name."
        )
    sides: dict[SideName, str] = {}
    for name, side in named.items():
        if side in sides:
            raise RelayError(f"{root}: the folders {listed} hold one side twice; join them, or rename one.")
        sides[side] = tree.folders[name]
    if to_train and "train" not in sides:
        raise RelayError(
            f"{root}: there is a folder {listed} but no folder train; add it, or rename what is a class of "
            "that name."
        )
    if to_train and list(sides) == ["train"]:
        raise RelayError(
            f"{root}: there is a folder {listed} but no folder val or test; add one, or set root to the "
            f"folder {listed}."
        )
    return sides, []


def _of_sides(tree: Tree, folders: dict[SideName, str], notes: list[str], *, to_train: bool) -> list[Placed]:
    """The images of a set with sides."""
    found = {side: _by_class(tree, folders[side]) for side in SIDES if side in folders}
    train = [name for name in found.get("train", {}) if name]
    found = {
        side: _with_classes(tree, side, folders[side], of_side, train, notes)
        for side, of_side in found.items()
    }
    found = {side: of_side for side, of_side in found.items() if of_side or side != "test"}
    if to_train and list(found) == ["train"]:
        raise RelayError(
            f"{tree.root}: the images of {folders['test']} are in no class folder, and there is no folder "
            f"val; set root to the folder {folders['train']}."
        )
    classes = sorted(set[str]().union(*found.values()))
    check_names(tree.root, classes)
    for side, of_side in found.items():
        absent = [name for name in classes if name not in of_side]
        if absent and to_train:
            raise RelayError(
                f"{tree.root}: class {first_and_more(absent)} has no folder in {folders[side]}; add it."
            )
    return [
        Placed(image, name, side, image.parts[2:-1])
        for side, of_side in found.items()
        for name, images in of_side.items()
        for image in images
    ]


def _with_classes(
    tree: Tree, side: SideName, folder: str, found: dict[str, list[Found]], train: list[str], notes: list[str]
) -> dict[str, list[Found]]:
    """A side's images by class, also where they lie side by side; none of a test side without classes."""
    loose = found.get("", [])
    found = {name: images for name, images in found.items() if name}
    trained = {name.lower() for name in train}
    if found and not {name.lower() for name in found} <= CONTAINERS - trained:
        tree.loose += len(loose)
        return found
    loose = loose + [image for images in found.values() for image in images]
    if loose and (classified := annotated(tree, folder, loose, train)):
        notes.append(f"the classes of {side} are those of its file of annotations")
        return classified
    if loose and side != "test":
        raise RelayError(
            f"{tree.root}: the images of {folder} are in no class folder; put each into the folder of its "
            "class, or name their classes in a manifest."
        )
    if loose:
        notes.append(f"{counted(len(loose), 'image')} of {side} in no class folder: there is no test side")
    return {}


def _of_classes(tree: Tree) -> list[Placed]:
    """The images of a set without a split."""
    containers = [name for name in tree.folders if name.lower() in CONTAINERS]
    masks = [name for name in tree.folders if is_mask_folder(name)]
    if containers and masks:
        raise RelayError(
            f"{tree.root}: the folders {containers[0]} and {masks[0]} are no classes but images and what "
            "belongs to them; put each image into a folder of its class, or name the classes in a manifest; "
            f"if the folders in {containers[0]} are the classes, set root to it."
        )
    found = _by_class(tree, "")
    tree.loose += len(found.pop("", []))
    _check_sides(tree.root, list(found))
    if not found:
        raise RelayError(
            f"{tree.root}: no class folders found; expected {{train,val,test}}/class/* or class/*."
        )
    return [
        Placed(image, name, "train", image.parts[1:-1]) for name, images in found.items() for image in images
    ]


def _check_sides(root: str, classes: list[str]) -> None:
    """Refuse sides under names such as `seg_train` and `seg_test`: they would be trained as classes."""
    sides = {name: side for name in classes if (side := side_within(name)) is not None}
    if "train" in sides.values() and len(set(sides.values())) > 1 and 2 * len(sides) >= len(classes):
        listed = sorted(sides, key=lambda name: SIDES.index(sides[name]))
        raise RelayError(
            f"{root}: the folders {' and '.join(listed)} look like the sides of a split, and would be "
            "classes. Call them train, val or test, and put class folders into each; if they are classes, "
            "name class and side of each image in a manifest."
        )


def _by_class(tree: Tree, top: str) -> dict[str, list[Found]]:
    """Images by class folder below a folder; those beside the class folders under an empty name.

    Raises:
        RelayError: A class folder has no images.
    """
    by_class: dict[str, list[Found]] = {}
    for name, on_disk in sorted(tree.subfolders(top).items()):
        folder = os.path.join(top, on_disk)
        by_class[name] = tree.images(folder)
        if not by_class[name]:
            raise RelayError(
                f"{os.path.join(tree.root, folder)}: the class folder has no images "
                f"({' '.join(IMAGE_SUFFIXES)}); fill or remove it."
            )
    loose = tree.images(top, below=False)
    return {**by_class, "": loose} if loose else by_class


def _check_level(root: str, classes: list[str], images: list[Placed]) -> None:
    """Refuse a root that is a folder above the classes."""
    below = sorted({image.deeper[0] for image in images if image.deeper})
    if len(classes) == 1 and len(below) > 1 and all(image.deeper for image in images):
        raise RelayError(
            f"{root}: there is one class only, {classes[0]!r}, which holds {len(below)} folders; if these "
            f"are the classes or the sides, set root to {os.path.join(root, classes[0])}."
        )


def _check_pairs(root: str, classes: list[str], images: list[Placed]) -> None:
    trained = Counter(image.class_name for image in images if image.side == "train")
    for name in classes:
        if trained[name] == 1:
            raise RelayError(f"{root}: class {name} has one image; it needs two, one for each side.")
