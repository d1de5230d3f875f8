"""What the folders below a class folder say: a side, a patient or object, or nothing."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from datamodules.domain import SideName, side_named
from datamodules.listing.masks import CONTAINERS
from datamodules.listing.tree import Found
from stages.console.words import counted
from stages.errors import RelayError


@dataclass(frozen=True, slots=True)
class Placed:
    """An image with what its folders say.

    Attributes:
        found: The file.
        class_name: Its class.
        side: Its side.
        deeper: Names of the folders between the class folder and the file.
    """

    found: Found
    class_name: str
    side: SideName
    deeper: tuple[str, ...]


def sides_in_classes(root: str, images: Sequence[Placed]) -> tuple[list[Placed], list[str]]:
    """Images whose first deeper folder is a side, `CLASS/{train,val,test}/*`, on that side; and a note.

    Raises:
        RelayError: Some are, and some are not.
    """
    inside = [side_named(image.deeper[0]) if image.deeper else None for image in images]
    if not any(inside):
        return list(images), []
    if not all(inside):
        without = images[inside.index(None)].found.path
        raise RelayError(
            f"{root}: some class folders hold folders of sides, such as train and test, but {without} is in "
            "none; put every image into one, or rename these folders."
        )
    placed = [
        Placed(image.found, image.class_name, side, image.deeper[1:])
        for image, side in zip(images, inside, strict=True)
        if side is not None
    ]
    return placed, ["the sides are folders in each class folder, CLASS/{train,val,test}"]


def groups_of_folders(images: Sequence[Placed]) -> tuple[list[str], list[str]]:
    """The group of each image by the folder below its class folder; and notes.

    A level that has one folder in every class, such as `CLASS/images`, says nothing and is passed over. Of
    the others the upper one counts: images that share it stay on one side, whatever it is. Folders of equal
    names in several classes are one group.

    Args:
        images: Of all sides.

    Returns:
        Groups: a folder's name, or an image's path where it lies in the class folder itself.
    """
    deeper = [tuple(name for name in image.deeper if name.lower() not in CONTAINERS) for image in images]
    while deeper and all(deeper) and _says_nothing(images, deeper):
        deeper = [names[1:] for names in deeper]
    notes = []
    if any(len(names) < len(image.deeper) for names, image in zip(deeper, images, strict=True)):
        notes.append(
            "folders between class and image that each class has once, or named images, mean nothing"
        )
    groups = [names[0] if names else image.found.path for image, names in zip(images, deeper, strict=True)]
    folders = {names[0] for names in deeper if names}
    if folders:
        below = sum(map(bool, deeper))
        notes.append(
            f"classes are the upper folders; {counted(len(folders), 'folder')} below them, with "
            f"{counted(below, 'image')}, count as groups (patients, objects). If the lower folders are the "
            "classes, or say nothing of patients, name class and group of each image in a manifest"
        )
    return groups, notes


def _says_nothing(images: Sequence[Placed], deeper: Sequence[tuple[str, ...]]) -> bool:
    """Whether every class has one folder, which is the same for all or called as the class is."""
    of_class: defaultdict[str, set[str]] = defaultdict(set)
    for image, names in zip(images, deeper, strict=True):
        of_class[image.class_name].add(names[0])
    if any(len(names) > 1 for names in of_class.values()):
        return False
    only = {name: min(names) for name, names in of_class.items()}
    return len(set(only.values())) == 1 or all(
        folder.lower().startswith(name.lower()) for name, folder in only.items()
    )
