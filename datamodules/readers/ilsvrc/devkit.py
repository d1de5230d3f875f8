"""The classes of ILSVRC2012, and to which of them each validation image belongs.

The devkit says both: `data/meta.mat` and `data/ILSVRC2012_validation_ground_truth.txt`. Folders made from the
set by others often have a file `classes.txt` instead: one line per class with its WNID and its name. Kaggle's
copy has such lines in `LOC_synset_mapping.txt`, and the validation images' classes in `LOC_val_solution.csv`.
"""

import csv
import gzip
import io
import struct
import tarfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from datamodules.faults import UnusableError
from datamodules.files.names import first_and_more
from datamodules.pixels.image_file import read_bytes
from datamodules.readers.ilsvrc.names import is_wnid, validation_number
from stages.errors import RelayError

DEVKIT_ARCHIVE = "ILSVRC2012_devkit_t12.tar.gz"
DEVKIT_FOLDER = "ILSVRC2012_devkit_t12"
CLASS_NAMES = "classes.txt"
KAGGLE_NAMES = "LOC_synset_mapping.txt"
KAGGLE_TRUTH = "LOC_val_solution.csv"
_META = "data/meta.mat"
_TRUTH = "data/ILSVRC2012_validation_ground_truth.txt"
_COMPRESSED = 15
MOST_UNPACKED = 1 << 28
"""Bytes, 256 MiB; the devkit has some MiB."""

_FIELDS = ("ILSVRC2012_ID", "WNID", "words", "num_children", "num_train_images")


@dataclass(frozen=True)
class ClassNames:
    """What is known of the classes.

    Attributes:
        terms: WNID -> the synset's terms, such as "great white shark", "white shark".
        train_images: WNID -> number of training images; empty where the source does not say.
        validation: WNID of each validation image in the order of their numbers; empty likewise.
        complete: Whether all classes of the set are named: then those that have no images are missing.
    """

    terms: Mapping[str, tuple[str, ...]]
    train_images: Mapping[str, int]
    validation: tuple[str, ...]
    complete: bool


def read_class_names(source: Path) -> ClassNames:
    """What the devkit in `source` says (its archive, or extracted), else Kaggle's files, else `classes.txt`.

    Raises:
        RelayError: What there is is damaged or incomplete, or two of its files contradict each other.
    """
    archive = source / DEVKIT_ARCHIVE
    if archive.is_file():
        return _class_names(*_from_archive(archive), DEVKIT_ARCHIVE)
    for folder in (source / DEVKIT_FOLDER, source):
        if (folder / _META).is_file():
            where = f"the devkit's folder in {source}"
            return _class_names(_read(folder, _META), _read(folder, _TRUTH), where)
    if (source / KAGGLE_NAMES).is_file():
        terms = _listed_terms(source / KAGGLE_NAMES)
        return ClassNames(terms, {}, _kaggle_truth(source / KAGGLE_TRUTH, terms), complete=True)
    if (source / KAGGLE_TRUTH).is_file():
        raise RelayError(f"there is {KAGGLE_TRUTH}, and no {KAGGLE_NAMES} beside it; copy both.")
    listed = source / CLASS_NAMES
    terms = _listed_terms(listed) if listed.is_file() else {}
    return ClassNames(terms, {}, (), complete=False)


def _listed_terms(listed: Path) -> dict[str, tuple[str, ...]]:
    terms = {}
    for number, line in enumerate(listed.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        wnid, _, name = line.strip().partition(" ")
        if wnid and not is_wnid(wnid):
            raise RelayError(f"{listed}, line {number}: it does not begin with a WNID such as n01440764.")
        if wnid:
            terms[wnid] = _terms(name)
    return terms


def _kaggle_truth(solution: Path, terms: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """WNID of each validation image, by its number: rows `ILSVRC2012_val_00000001,n01751748 111 108 428 366`.

    The numbers are the image's boxes, after each its class, which is the same for all.
    """
    if not solution.is_file():
        return ()  # they may lie in class folders
    by_number: dict[int, str] = {}
    with open(solution, newline="", encoding="utf-8", errors="replace") as file:
        for line, row in enumerate(csv.reader(file), 1):
            if line == 1 and row[:2] == ["ImageId", "PredictionString"]:
                continue
            number = validation_number(row[0]) if len(row) == 2 else None
            wnid = row[1].split(" ")[0] if len(row) == 2 else ""
            if number is None or wnid not in terms:
                raise RelayError(
                    f"{KAGGLE_TRUTH}, line {line}: it is not an image such as ILSVRC2012_val_00000001 with a "
                    f"class of {KAGGLE_NAMES}; copy both again."
                )
            by_number[number] = wnid
    if not by_number or sorted(by_number) != list(range(1, len(by_number) + 1)):
        raise RelayError(f"{KAGGLE_TRUTH} does not number its images from 1 without gaps; copy it again.")
    return tuple(by_number[number] for number in range(1, len(by_number) + 1))


def chosen_classes(asked: Sequence[str], names: ClassNames, present: Sequence[str]) -> tuple[str, ...]:
    """The classes to read, sorted.

    Args:
        asked: WNIDs or terms of synsets, in any case; none for all.
        names: What is known of the classes.
        present: WNIDs for which there are images, on any side.

    Raises:
        RelayError: A class that was asked for is unknown, means several synsets or is named twice, or fewer
            than two are left.
    """
    known = sorted(set(names.terms) | set(present))
    if not asked:
        chosen = sorted(names.terms) if names.complete else sorted(set(present))
    else:
        chosen = [_class_asked_for(name, names, known) for name in asked]
        twice = [wnid for wnid, times in Counter(chosen).items() if times > 1]
        if twice:
            raise RelayError(f"classes: {first_and_more(sorted(twice))} is asked for twice; name it once.")
    if len(chosen) < 2:
        raise RelayError(
            f"ILSVRC2012: {len(chosen)} class to read; a classifier needs two or more. "
            "Name more in `classes`, or point `source` at a folder with more."
        )
    return tuple(sorted(chosen))


def _class_asked_for(name: str, names: ClassNames, known: Sequence[str]) -> str:
    if name in known:
        return name
    term = _plain(name)
    found = [wnid for wnid in known if term in map(_plain, names.terms.get(wnid, ()))]
    if len(found) > 1:
        raise RelayError(f"classes: {name!r} is {' and '.join(found)}; ask for one of them by its WNID.")
    if not found:
        hint = "" if names.terms else " There is no devkit beside the images: name classes by WNID."
        raise RelayError(
            f"classes: {name!r} is neither the WNID nor a term of one of the {len(known)} classes.{hint}"
        )
    return found[0]


def _from_archive(archive: Path) -> tuple[bytes, bytes]:
    try:
        with gzip.open(archive) as packed, tarfile.open(fileobj=_Bounded(packed), mode="r|") as tar:
            contents = {}
            for member in tar:
                for wanted in (_META, _TRUTH):
                    stream = tar.extractfile(member) if member.name.endswith("/" + wanted) else None
                    if stream is not None:
                        contents[wanted] = stream.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise RelayError(f"{archive.name} is damaged or cut short ({error}); copy it again.") from error
    for wanted in (_META, _TRUTH):
        if wanted not in contents:
            raise RelayError(f"{archive.name} holds no {wanted}; it is not the devkit of tasks 1 and 2.")
    return contents[_META], contents[_TRUTH]


class _Bounded(io.BufferedIOBase):
    """What an archive unpacks to, refused where it is more than a devkit's: gzip packs zeros 1,000 to 1."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self._left = MOST_UNPACKED

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes."""
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise RelayError(
                f"{DEVKIT_ARCHIVE} unpacks to more than {MOST_UNPACKED:,} bytes; it is not the original."
            )
        return data


def _read(folder: Path, name: str) -> bytes:
    try:
        return read_bytes(str(folder / name), MOST_UNPACKED)
    except UnusableError as error:
        raise RelayError(f"the devkit's {name} cannot be read: {error}.") from error


def _class_names(meta: bytes, truth: bytes, where: str) -> ClassNames:
    wnid_of, terms, train_images = _synsets(meta, where)
    validation = []
    for number, line in enumerate(truth.decode("ascii", "replace").split(), 1):
        wnid = wnid_of.get(line)
        if wnid is None:
            raise RelayError(f"{where}: {_TRUTH}, line {number}: there is no class of that ILSVRC2012_ID.")
        validation.append(wnid)
    if not validation:
        raise RelayError(f"{where}: {_TRUTH} is empty; copy the devkit again.")
    return ClassNames(terms, train_images, tuple(validation), complete=True)


def _synsets(meta: bytes, where: str) -> tuple[dict[str, str], dict[str, tuple[str, ...]], dict[str, int]]:
    """ILSVRC2012_ID -> WNID, WNID -> terms, WNID -> training images, of the synsets without children."""
    _check_unpacked(meta, where)
    try:
        # It reads open files too, as its documentation says; the stubs know paths only.
        synsets = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]  # type: ignore[arg-type]
        rows = [
            [
                synset[field].item() if isinstance(synset[field], np.generic) else synset[field]
                for field in _FIELDS
            ]
            for synset in np.atleast_1d(synsets)
        ]
    except Exception as error:  # a damaged file makes loadmat raise nearly anything
        raise RelayError(
            f"{where}: {_META} cannot be read as the table of synsets ({type(error).__name__}); "
            "copy the devkit again."
        ) from error
    wnid_of, terms, train_images = {}, {}, {}
    for identity, wnid, words, children, images in rows:
        if int(children) == 0:
            if not is_wnid(str(wnid)):
                raise RelayError(f"{where}: {_META}: class {int(identity)} has no WNID such as n01440764.")
            wnid_of[str(int(identity))] = str(wnid)
            terms[str(wnid)] = _terms(str(words))
            train_images[str(wnid)] = int(images)
    return wnid_of, terms, train_images


def _check_unpacked(meta: bytes, where: str) -> None:
    """Refuse a table whose compressed parts unpack to more than a devkit's (MAT-file level 5, table 1-1)."""
    order = "<" if meta[126:128] == b"IM" else ">"
    position, left = 128, MOST_UNPACKED
    while meta.startswith(b"MATLAB 5") and position + 8 <= len(meta):
        kind, size = struct.unpack_from(order + "II", meta, position)
        position += 8
        if kind == _COMPRESSED:
            try:
                left -= len(zlib.decompressobj().decompress(meta[position : position + size], left + 1))
            except zlib.error:  # said when it is read
                return
            if left < 0:
                raise RelayError(f"{where}: {_META} unpacks to more than {MOST_UNPACKED:,} bytes.")
        position += size


def _terms(words: str) -> tuple[str, ...]:
    return tuple(term.strip() for term in words.split(",") if term.strip())


def _plain(term: str) -> str:
    return " ".join(term.replace("_", " ").casefold().split())
