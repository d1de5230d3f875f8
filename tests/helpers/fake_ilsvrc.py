"""A tiny ILSVRC2012, exactly as the provider ships it: devkit, archive of archives, validation archive."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.io import savemat

from datamodules.packing.units import Sample, Survey
from datamodules.readers.ilsvrc.reader import IlsvrcOptions
from tests.helpers.fake_units import read_all

OPTIONS = IlsvrcOptions(size=16, images_per_unit=5)

DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
TRAIN = "ILSVRC2012_img_train.tar"
VAL = "ILSVRC2012_img_val.tar"

# ILSVRC2012_ID -> WNID and words, of the real set; "crane" stands for two of them, as there.
SYNSETS = {
    1: ("n02012849", "crane"),
    2: ("n03126707", "crane"),
    3: ("n01440764", "tench, Tinca tinca"),
    4: ("n01484850", "great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias"),
}
PARENT = (5, "n00001740", "entity")
WNIDS = tuple(sorted(wnid for wnid, _ in SYNSETS.values()))
TRAIN_IMAGES = 3  # of each class
VAL_IMAGES = 2


def photograph(seed: int, size: tuple[int, int] = (40, 30), channels: int = 3) -> npt.NDArray[np.uint8]:
    """Smooth random pixels: uint8, (height, width[, 3]); `size` is (width, height)."""
    generator = np.random.default_rng(seed)
    shape = (4, 5) if channels == 1 else (4, 5, channels)
    coarse = Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8))
    smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + generator.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8)


def encoded(
    pixels: npt.NDArray[np.uint8], form: str = "JPEG", mode: str | None = None, **options: object
) -> bytes:
    """The bytes of an image file."""
    image = Image.fromarray(pixels)
    stream = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(stream, form, **options)
    return stream.getvalue()


def train_image(wnid: str, number: int) -> bytes:
    return encoded(photograph(WNIDS.index(wnid) * 100 + number))


def val_image(number: int) -> bytes:
    return encoded(photograph(10_000 + number, (30, 40)))


def train_names(wnid: str) -> list[str]:
    """As in the archive: numbers have gaps, and are in no order."""
    return [f"{wnid}_{number}.JPEG" for number in (301, 2, 10)[:TRAIN_IMAGES]]


def truth() -> list[int]:
    """ILSVRC2012_ID of each validation image: 3, 1, 4, 2, 3, ..."""
    return [(3, 1, 4, 2)[index % 4] for index in range(VAL_IMAGES * len(SYNSETS))]


def val_names() -> list[str]:
    return [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, len(truth()) + 1)]


def tar_bytes(files: Mapping[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    """An uncompressed archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:", format=form) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def meta_mat() -> bytes:
    """`data/meta.mat`: a struct array (synsets, 1) with the devkit's fields and types."""
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height",
              "num_train_images")  # fmt: skip
    rows = [(identity, wnid, words, 0) for identity, (wnid, words) in SYNSETS.items()] + [(*PARENT, 4)]
    synsets = np.empty((len(rows), 1), dtype=[(field, object) for field in fields])
    for row, (identity, wnid, words, children) in enumerate(rows):
        synsets[row, 0] = (
            np.uint16(identity),
            wnid,
            words,
            f"what {words} is",
            np.uint8(children),
            np.arange(1, children + 1, dtype=np.uint8),
            np.uint8(1 if children else 0),
            np.uint16(0 if children else TRAIN_IMAGES),
        )
    stream = io.BytesIO()
    savemat(stream, {"synsets": synsets}, do_compression=True)  # type: ignore[arg-type]
    return stream.getvalue()


def devkit_files() -> dict[str, bytes]:
    """Name in the devkit -> content."""
    return {
        "readme.txt": b"ILSVRC2012 development kit",
        "data/meta.mat": meta_mat(),
        "data/ILSVRC2012_validation_ground_truth.txt": "".join(f"{i}\n" for i in truth()).encode(),
    }


def write_devkit(root: Path, files: Mapping[str, bytes] | None = None) -> Path:
    """The devkit's archive in `root`."""
    root.mkdir(parents=True, exist_ok=True)
    with tarfile.open(root / DEVKIT, "w:gz") as tar:
        for name, content in (files or devkit_files()).items():
            member = tarfile.TarInfo(f"ILSVRC2012_devkit_t12/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return root


def train_files(wnid: str) -> dict[str, bytes]:
    """Name -> content of a class's images."""
    return {name: train_image(wnid, number) for number, name in enumerate(train_names(wnid))}


def write_archives(root: Path) -> Path:
    """Devkit, train and val archives in `root`, as downloaded."""
    write_devkit(root)
    inner = {f"{wnid}.tar": tar_bytes(train_files(wnid)) for wnid in WNIDS}
    (root / TRAIN).write_bytes(tar_bytes(inner))
    (root / VAL).write_bytes(tar_bytes({name: val_image(i) for i, name in enumerate(val_names())}))
    return root


def write_folders(root: Path, flat_val: bool = False) -> Path:
    """`train/WNID/*.JPEG` and `val/WNID/*.JPEG`, or `val/*.JPEG`, as people extract the archives."""
    for wnid in WNIDS:
        (root / "train" / wnid).mkdir(parents=True)
        for name, content in train_files(wnid).items():
            (root / "train" / wnid / name).write_bytes(content)
    for index, (name, identity) in enumerate(zip(val_names(), truth(), strict=True)):
        folder = root / "val" if flat_val else root / "val" / SYNSETS[identity][0]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(val_image(index))
    return root


def write_kaggle(root: Path) -> Path:
    """The same as Kaggle's copy unpacks."""
    write_folders(root / "ILSVRC" / "Data" / "CLS-LOC", flat_val=True)
    (root / "ILSVRC" / "Data" / "CLS-LOC" / "test").mkdir()
    lines = sorted(f"{wnid} {words}\n" for wnid, words in SYNSETS.values())
    (root / "LOC_synset_mapping.txt").write_text("".join(lines))
    rows = [
        f"{name.removesuffix('.JPEG')},{SYNSETS[identity][0]} 1 2 30 40 {SYNSETS[identity][0]} 5 5 9 9 \n"
        for name, identity in zip(val_names(), truth(), strict=True)
    ]
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(rows[::-1]))
    return root


def samples(found: Survey) -> list[Sample]:
    """All that a survey's units hold."""
    return read_all(found)[0]
