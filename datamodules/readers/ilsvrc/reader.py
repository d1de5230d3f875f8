"""The reader of ILSVRC2012: its original archives, read in place, or extracted folders."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import Strict

from datamodules.domain import SideName
from datamodules.faults import Faults, OnError
from datamodules.files.access import existing_root
from datamodules.files.names import first_and_more
from datamodules.packing.reader import Reader
from datamodules.packing.units import Survey, Unit
from datamodules.pixels.image_file import MOST_BYTES
from datamodules.readers.ilsvrc.archives import ARCHIVES, TrainArchive, ValArchive, check_checksums
from datamodules.readers.ilsvrc.devkit import ClassNames, chosen_classes, read_class_names
from datamodules.readers.ilsvrc.folders import ClassFolders, FlatFolder, has_class_folders, side_folder
from datamodules.readers.ilsvrc.images import PackedEntries, Packer, image_name
from datamodules.readers.ilsvrc.names import named_class
from datamodules.readers.ilsvrc.units import ImageUnit
from stages.errors import RelayError
from stages.parameters import execution, group, recipe

DECODER_VERSION = 2
"""Part of a set's settings; raise it when the pixels that `datamodules.pixels.quick` makes change."""

_KAGGLE = "ILSVRC/Data/CLS-LOC"
"""Folder of both sides in Kaggle's copy of the set."""

_SIDES: tuple[SideName, SideName] = ("train", "val")


@group
class IlsvrcOptions:
    """How ILSVRC2012 is read."""

    classes: Annotated[tuple[str, ...], Strict(False)] = recipe(
        "WNIDs, or terms of synsets such as tench; none for all.", default=()
    )
    size: Annotated[int, Ge(1), Le(4096)] = recipe(
        "Side of the images: the shorter side is resized to it, then the centre is cropped.",
        unit="px",
        default=224,
    )
    checksums: bool = execution(
        "Whether the archives are compared with the published MD5 sums, which takes minutes.", default=False
    )
    images_per_unit: Annotated[int, Ge(1)] = recipe("Images that are read as one piece of work.", default=256)


_Listed = TrainArchive | ValArchive | ClassFolders | FlatFolder


def survey(source: Path, options: IlsvrcOptions, on_error: OnError) -> Survey:
    """List a copy of ILSVRC2012, or of some of its classes, without decoding.

    Each side comes from its archive (`ILSVRC2012_img_train.tar`, `ILSVRC2012_img_val.tar`; read in place) or
    from its folder (`train/WNID/*.JPEG`, `val/WNID/*.JPEG`, or `val/*.JPEG` with the devkit's ground truth);
    the archive is taken where both are there. The devkit may be its archive or extracted; it is needed where
    validation images are not in class folders, and to ask for classes by name (`classes.txt` does as well).
    Kaggle's copy is read as it unpacks: folders below `ILSVRC/Data/CLS-LOC`, and its two `LOC_` files.

    Raises:
        RelayError: A side is missing; an archive has a wrong checksum, is cut
            short or damaged or has paths that leave its folder; the devkit is damaged; a class is unknown,
            missing or empty; or an image cannot be used (zero bytes, a broken link) or is missing and
            `on_error` is `raise`.
    """
    source = Path(existing_root(str(source)))
    if options.checksums:
        check_checksums(source)
    names = read_class_names(source)
    faults = Faults(on_error)
    sides = {side: _listed(source, side, names, faults) for side in _SIDES}
    present = sorted({wnid for listed in sides.values() for wnid in listed.classes})
    classes = chosen_classes(options.classes, names, present)
    notes: list[str] = []
    units: list[Unit] = []
    content = hashlib.sha256()
    for side, listed in sides.items():
        _check_classes(side, listed, classes)
        elsewhere = Counter[str]()
        entries = _entries(side, listed, classes, faults, names.validation, elsewhere)
        if listed.missing > 0:
            faults.add(side, f"{listed.missing} images of the devkit's ground truth are not there")
        notes += _notes(source, side, listed, classes, names, len(entries))
        if elsewhere:
            folders = [f"{count} in {wnid}" for wnid, count in sorted(elsewhere.items())]
            notes.append(
                f"{side}: by the provider's names {elsewhere.total()} images are of another class than their "
                f"folder ({first_and_more(folders, 3)}); the folder's is taken: see that none was misplaced"
            )
        content.update(entries.content_digest())
        units += _units(side, listed, classes, entries, options)
    faults.settle()
    settings: dict[str, object] = {
        "size": options.size,
        "decoder": DECODER_VERSION,
        "images_per_unit": options.images_per_unit,
    }
    return Survey(
        READER.domain,
        classes,
        tuple(units),
        tuple(faults.problems),
        (*notes, *faults.notes),
        settings,
        content.hexdigest(),
    )


def _listed(source: Path, side: SideName, names: ClassNames, faults: Faults) -> _Listed:
    archive = source / ARCHIVES[side]
    folder = side_folder(source, side) or side_folder(source / _KAGGLE, side) or source
    if archive.is_file():
        return TrainArchive(archive) if side == "train" else ValArchive(archive, names.validation)
    if folder == source:
        raise RelayError(
            f"{source} has neither the archive {ARCHIVES[side]} nor a folder {side}; point `source` at the "
            "folder that holds the archives, or the folders train and val."
        )
    if side == "train" or has_class_folders(folder, side):
        return ClassFolders(folder, side, faults.litter)
    return FlatFolder(folder, side, names.validation, faults.litter)


def _check_classes(side: SideName, listed: _Listed, classes: tuple[str, ...]) -> None:
    absent = sorted(set(classes) - set(listed.classes))
    if absent:
        raise RelayError(
            f"ILSVRC2012: class {first_and_more(absent)} is missing from {side}; copy it there, or name the "
            "classes to read in `classes`."
        )


def _entries(
    side: SideName,
    listed: _Listed,
    classes: tuple[str, ...],
    faults: Faults,
    truth: tuple[str, ...],
    elsewhere: Counter[str],
) -> PackedEntries:
    """All images that can be used; those whose names say another class are counted by folder."""
    packer = Packer()
    for label, (wnid, entries) in enumerate(listed.images(classes)):
        usable = []
        for place, entry in enumerate(entries, 1):
            trouble = entry.trouble or ("" if entry.size else "it has zero bytes")
            if entry.size > MOST_BYTES:
                trouble = trouble or f"it has {entry.size:,} bytes; {MOST_BYTES:,} are the most"
            if trouble:
                faults.add(image_name(side, wnid, place, entry.file), trouble)
                continue
            usable.append((place, entry))
            if named_class(entry.file, truth) not in (wnid, None):
                elsewhere[wnid] += 1
        if not usable:
            faults.settle()
            raise RelayError(
                f"ILSVRC2012: class {wnid} has no images in {side}; fill it, or name the classes to read in "
                "`classes`. A set whose images lie deeper, such as Tiny ImageNet, is given to training "
                "itself, as class folders (docs/real-data.md)."
            )
        packer.add(label, usable)
    return packer.packed()


def _notes(
    source: Path, side: SideName, listed: _Listed, classes: tuple[str, ...], names: ClassNames, images: int
) -> list[str]:
    notes = []
    if listed.layout == "archive" and (source / side).is_dir():
        notes.append(f"{side}: the archive was read, and the folder {side} beside it was not")
    if listed.ignored:
        notes.append(f"{side}: {listed.ignored} files are not images by their suffix and were left alone")
    counted = names.train_images if side == "train" else Counter(names.validation)
    if counted and images != (expected := sum(counted[wnid] for wnid in classes)):
        notes.append(f"{side}: {images} images, where the devkit counts {expected}")
    return notes


def _units(
    side: SideName, listed: _Listed, classes: tuple[str, ...], entries: PackedEntries, options: IlsvrcOptions
) -> list[Unit]:
    units: list[Unit] = []
    for number, start in enumerate(range(0, len(entries), options.images_per_unit)):
        part = entries.part(start, start + options.images_per_unit)
        units.append(
            ImageUnit(
                key=f"{side}-{number:05d}",
                fingerprint=part.file_digest().hex(),
                side=side,
                location=listed.location,
                layout=listed.layout,
                classes=classes,
                entries=part,
                size=options.size,
            )
        )
    return units


READER = Reader(
    domain="natural",
    title="ILSVRC2012: the original archives, extracted folders, or Kaggle's copy",
    options=IlsvrcOptions,
    survey=survey,
    usual=True,
)
