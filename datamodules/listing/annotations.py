"""The classes of a side whose images lie side by side: from its annotations, as Tiny ImageNet ships them."""

import os

from datamodules.listing.tree import Found, Tree
from stages.errors import RelayError


def annotated(tree: Tree, side: str, images: list[Found], classes: list[str]) -> dict[str, list[Found]]:
    """Images by class, from the one file `*annotations.txt` in a side's folder.

    Its lines begin with the file's name and its class, between tabs; what follows is not read.

    Args:
        tree: The set.
        side: The side's folder on the disk.
        images: Of the side.
        classes: Known ones.

    Returns:
        Nothing where there is no such file, or several.

    Raises:
        RelayError: An image or its class is not in it.
    """
    folder = os.path.join(tree.root, side)
    files = [name for name in sorted(os.listdir(folder)) if name.lower().endswith("annotations.txt")]
    if len(files) != 1:
        return {}
    with open(os.path.join(folder, files[0]), encoding="utf-8", errors="replace") as lines:
        class_of = dict(line.rstrip("\n").split("\t")[:2] for line in lines if line.count("\t") >= 1)
    by_class: dict[str, list[Found]] = {}
    for image in images:
        name = class_of.get(image.parts[-1])
        if name not in classes:
            raise RelayError(
                f"{image.location}: {files[0]} names no class of it that train has; name the classes in a "
                "manifest."
            )
        by_class.setdefault(name, []).append(image)
    return by_class
