"""Which folders and files are masks of which slices, by their names."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from datamodules.files.names import is_image
from datamodules.readers.hrct.scans.kinds import is_nifti
from datamodules.readers.hrct.sources.source_file import SourceFile

_MASKS = (
    "mask",
    "label",
    "annotation",
    "segmentation",
    "seg",
    "gt",
    "labelmap",
    "groundtruth",
    "ground_truth",
)
_MASK_FOLDERS = frozenset({*_MASKS, *(f"{word}s" for word in _MASKS), "labelstr"})
_SLICE_FOLDERS = frozenset(
    {"images", "image", "imgs", "img", "imagestr", "slices", "scans", "dicom", "dicoms", "ct"}
)
_WORD = "|".join(f"{word}s?" for word in _MASKS)
_NAMED_AFTER = re.compile(rf"(?P<slice>.+)[ _.-](?:{_WORD})", re.IGNORECASE)
_SAYS_MASK = re.compile(rf"(?:.*[ _.-])?(?:{_WORD})(?:[ _.-].*)?", re.IGNORECASE)
_CHANNEL = re.compile(r"_0000$")  # nnU-Net's first channel: P1_0000.nii.gz has the labels P1.nii.gz


def slice_stem(stem: str) -> str | None:
    """The name of the slice that a mask is named after, such as s01 of s01_mask; None of another name."""
    found = _NAMED_AFTER.fullmatch(stem)
    return None if found is None else found["slice"]


def says_mask(stem: str) -> bool:
    """Whether a name has a word for masks in it: `mask`, `lung_seg`, `label-1`."""
    return _SAYS_MASK.fullmatch(stem) is not None


def names_for(stem: str) -> tuple[str, ...]:
    """The names that a mask of a slice or volume may have, beside those with a word for masks behind it."""
    return (stem, _CHANNEL.sub("", stem))


@dataclass(frozen=True)
class Pairs:
    """Folders of slices and folders of their masks.

    Attributes:
        masks: Folder of slices -> its folders of masks.
        _plain: Folder of a pair -> its path without the word that tells the two apart.
    """

    masks: Mapping[str, tuple[str, ...]] = field(repr=False)
    _plain: Mapping[str, str] = field(repr=False)

    def plain(self, path: str) -> str:
        """The path without a word such as `images` or `masks`, by which a pair is told apart."""
        alone = path.rpartition("/")[0] if _folder(path) == "imgs" else path
        return self._plain.get(path, alone)

    def holds_masks(self, path: str) -> bool:
        """Whether what lies in a folder belongs to the slices of another one."""
        return _folder(path) == "masks" or any(path in masks for masks in self.masks.values())

    def owner(self, path: str) -> str:
        """The folder whose slices a folder's NIfTI masks belong to, or that lies around them."""
        owners = [slices for slices, masks in self.masks.items() if path in masks]
        if len(owners) == 1:
            return owners[0]
        return path.rpartition("/")[0] if _folder(path) in _MASK_FOLDERS else path

    def alone(self, path: str) -> bool:
        """Whether a folder's slices may be of a patient each: nothing but a word for slices names it."""
        return path in self._plain or _folder(path) == "imgs"


@dataclass(frozen=True)
class Sorted:
    """The files of one folder that are no DICOM files.

    Attributes:
        images: Slices.
        volumes: NIfTI files that hold a series each.
        masks: Images that are masks of slices beside them.
        mask_volumes: NIfTI files that are masks.
    """

    images: tuple[SourceFile, ...]
    volumes: tuple[SourceFile, ...]
    masks: tuple[SourceFile, ...]
    mask_volumes: tuple[SourceFile, ...]


def sort_files(files: Sequence[SourceFile], dicom: Sequence[SourceFile], of_masks: bool) -> Sorted:
    """Tell slices from masks.

    A name with a word for masks is one of a mask where the name before it is another file's (`s01_mask.png`
    beside `s01.png`). NIfTI files are masks beside slices in other files; alone, those that say so are.

    Args:
        files: Of a folder.
        dicom: Those of DICOM.
        of_masks: Whether all of them are masks.
    """
    images = [file for file in files if is_image(file.path)]
    volumes = [file for file in files if is_nifti(file.path)]
    if of_masks:
        return Sorted((), (), (), tuple(volumes))
    stems = {name for file in (*dicom, *images, *volumes) for name in names_for(file.stem)}
    named_after = any(slice_stem(file.stem) in stems for file in (*images, *volumes))
    masks = [file for file in images if named_after and slice_stem(file.stem)]
    slices = [file for file in images if file not in masks]
    saying = [file for file in volumes if says_mask(file.stem)]
    if (dicom or slices) and not saying:
        saying = volumes
    rest = [] if dicom or slices else [file for file in volumes if file not in saying]
    return Sorted(tuple(slices), tuple(rest), tuple(masks), tuple(saying))


def mask_folders(holding: Collection[str]) -> Pairs:
    """Find the folders of masks among those of a source.

    A folder's masks lie in a folder below it (`P1/masks`), or where another word stands in its path
    (`images/P1` and `masks/P1`, `P1/images` and `P1/labels`).

    Args:
        holding: The paths of all folders that hold images, NIfTI or DICOM files.
    """
    by_shape: defaultdict[tuple[tuple[str, ...], int], list[str]] = defaultdict(list)
    for path in holding:
        for place, part, rest in _parts(path):
            if part.lower() in _MASK_FOLDERS:
                by_shape[rest, place].append(path)
    found: dict[str, tuple[str, ...]] = {}
    plain: dict[str, str] = {}
    for path in holding:
        parts = tuple(path.split("/")) if path else ()
        masks = list(by_shape.get((parts, len(parts)), ()))
        for place, part, rest in _parts(path):
            if part.lower() in _SLICE_FOLDERS and (rest, place) in by_shape:
                masks += by_shape[rest, place]
                plain.update((pair, "/".join(rest)) for pair in (path, *by_shape[rest, place]))
        if masks:
            found[path] = tuple(sorted(set(masks)))
    return Pairs(found, plain)


def _folder(path: str) -> str:
    return path.rpartition("/")[2].lower()


def _parts(path: str) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Each part of a path: its place, itself, and the others."""
    parts = tuple(path.split("/")) if path else ()
    for place, part in enumerate(parts):
        yield place, part, (*parts[:place], *parts[place + 1 :])
