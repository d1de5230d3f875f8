"""Names of patients planted in folders, files and tables of one's own images, and the search for them."""

from __future__ import annotations

import json
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq

from tests.helpers.fake_images import write_image

FOLDER, SPLIT_FOLDER, FILE = "Käthe Roe-Dülmen", "POE_EDGAR_18090119", "MRN774411-scan"
GROUP, COLUMN, CSV_GROUP = "Doe^Jane^19470815", "Ward-Seventeen-Moe", "INSURED 5501-8821"
PLANTED = (FOLDER, SPLIT_FOLDER, FILE, GROUP, COLUMN, CSV_GROUP)


def write_planted(data_dir: Path, train: int = 6) -> None:
    """The layouts of `data=real`: folders of sides, class folders with `groups.csv`, a manifest.

    Args:
        data_dir: Where they go.
        train: Images of each class that the manifest trains on.
    """
    for side, images in (("train", 4), ("val", 3)):
        for place, name in enumerate(("cat", "dog")):
            for number in range(images):
                folder = data_dir / "natural/imagenette-224" / side / name / f"{SPLIT_FOLDER}-{side}{number}"
                write_image(folder / f"{FILE}-{number}.png", 100 * place + 10 * images + number, (64, 64))
    rows = ["path,group"]
    for place, name in enumerate(("bark", "sand")):
        for number in range(5):
            path = f"{name}/{FOLDER} {number}/{FILE} {number}.png"
            seed = 1000 * place + max(number, 1)  # the first two are copies, which the cache knows
            write_image(data_dir / "texture/KTH-TIPS-grey" / path, seed, (70, 70))
            rows.append(f"{path},{CSV_GROUP} {place}{number}")
    (data_dir / "texture/KTH-TIPS-grey/groups.csv").write_text("\n".join(rows) + "\n")
    rows = ["path,class,group,split,remark"]
    for side, images in (("train", train), ("val", 4), ("test", 2)):
        for place, name in enumerate(("normal", "ground_glass")):
            for number in range(images):
                path = f"{FOLDER} {side}{number}/{FILE}-{place}{number}.png"
                write_image(data_dir / "lung/semiseg-patches32" / path, 7 * len(rows), (32, 32))
                rows.append(f"{path},{name},{GROUP}-{side}{number},{side},{COLUMN}")
    (data_dir / "lung/semiseg-patches32/manifest.csv").write_text("\n".join(rows) + "\n")


def found_in(folders: Iterable[Path], names: Iterable[str] = PLANTED) -> list[str]:
    """Where names are, as `NAME: FILE`: in the paths and the bytes of all files, in any usual spelling."""
    spellings = {name: _spellings(name) for name in names}
    found = set()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            where = str(path.relative_to(folder))
            contents = [where.encode(), *(_contents(path) if path.is_file() else ())]
            for content in map(bytes.lower, contents):
                for name, spelled in spellings.items():
                    if any(each in content for each in spelled):
                        found.add(f"{name}: {where}")
    return sorted(found)


def _spellings(name: str) -> set[bytes]:
    """A name's bytes in small letters, in the encodings and escapes that programs write."""
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")}
    forms |= {form.casefold() for form in forms} | {form.lower() for form in forms}
    text = {
        written
        for form in forms
        for written in (form, quote(form), json.dumps(form)[1:-1], escape(form), form.replace(" ", "_"))
    }
    texts = {
        written.encode(coding)
        for written in text
        for coding in ("utf-8", "utf-16-le", "utf-16-be", "latin-1")
        if coding != "latin-1" or _fits(written)
    }
    return {each.lower() for each in texts}


def _fits(text: str) -> bool:
    return all(ord(letter) < 256 for letter in text)


def _contents(path: Path) -> Iterator[bytes]:
    """The bytes of a file, and of what is packed in it."""
    yield path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                yield member.filename.encode()
                yield archive.read(member)
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        yield repr(table.schema.metadata).encode()
        yield json.dumps(table.to_pydict(), default=str, ensure_ascii=False).encode()
