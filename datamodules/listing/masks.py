"""Which image files are masks of others, by their names: many sets ship them beside the images."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable

CONTAINERS = frozenset(
    {"image", "images", "img", "imgs", "jpg", "jpeg", "png", "picture", "pictures", "photo", "photos", "data"}
)
"""Names of folders, in small letters, that say nothing of what their images show."""

_MASKS = frozenset(
    {
        "mask",
        "masks",
        "gt",
        "groundtruth",
        "label",
        "labels",
        "annotation",
        "annotations",
        "seg",
        "segmentation",
    }
    | {"segmentations", "roi", "rois", "contour", "contours"}
)
_SUFFIX = re.compile(r"(.+?)[ _-]+(mask|gt|seg|segmentation|label|annotation)s?([ _-]*\d+)?", re.IGNORECASE)
_WORD = re.compile(r"mask|gt|seg|label|annotation", re.IGNORECASE)


def is_mask_folder(name: str) -> bool:
    """Whether a folder's name says that it holds masks, as `lung masks` does."""
    return not _MASKS.isdisjoint(re.split(r"[\s_-]+", name.lower()))


def mask_paths(paths: Iterable[str]) -> set[str]:
    """The paths of masks.

    They are `NAME_mask.png` in the folder of NAME, and what lies in a folder of masks that is beside a folder
    of images, or inside one that holds the image of the same name.

    Args:
        paths: Of images, with forward slashes.
    """
    stems: defaultdict[str, set[str]] = defaultdict(set)  # by folder
    below: defaultdict[str, set[str]] = defaultdict(set)  # folders by the one that holds them
    split = []
    for path in paths:
        folder, _, name = path.rpartition("/")
        stem = os.path.splitext(name)[0]
        split.append((path, folder, stem))
        stems[folder].add(stem)
    for folder in stems:
        names = folder.split("/")
        for depth, name in enumerate(names):
            below["/".join(names[:depth])].add(name)
    with_images = {
        above for above, names in below.items() if not CONTAINERS.isdisjoint(map(str.lower, names))
    }
    mask_folders = {folder for folder in stems if is_mask_folder(folder.rpartition("/")[2])}
    masks = set()
    for path, folder, stem in split:
        of = _SUFFIX.fullmatch(stem) if _WORD.search(stem) else None
        if of is not None and of[1] in stems[folder]:
            masks.add(path)
        elif folder in mask_folders:
            above = folder.rpartition("/")[0]
            called = {stem} if of is None else {stem, str(of[1])}
            if above in with_images or (above in stems and not called.isdisjoint(stems[above])):
                masks.add(path)
    return masks
