"""What it costs to verify content: starts with and without it.

    python -m benchmarks.verification                    # a packed set of 1 GB, 2,000 JPEGs
    python -m benchmarks.verification --images 100000 --jpegs 200

A start is what each training does first: list the source and load it. Each is timed with the verification and
with a program that leaves it out, in processor time of all threads, which other programs disturb least; of
several rounds, which alternate, the medians. All files are in the page cache. The first start finds no cache,
the second what the first one left. JPEGs are those of RELAY_REAL_DATA, or noise where it is unset.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from PIL import Image

from datamodules.listing import list_source
from datamodules.loading import load
from datamodules.packing.layout import DESCRIPTION, FORMAT, MANIFEST, part_name, set_digest
from datamodules.packing.read import read_manifest
from stages.machine.digest import file_digest, sealed
from stages.source import Source

_SIZE = 32
_IN_MEMORY = 1 << 40


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1_000_000, help="of the packed set, 1 KiB each")
    parser.add_argument("--jpegs", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--speed", type=float, default=160.0, help="training images per second, for the last column"
    )
    arguments = parser.parse_args()
    print("| start | with, s | without, s | ratio | more, of one epoch |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        packed, jpegs = Path(folder) / "packed", Path(folder) / "jpegs"
        write_packed(packed, arguments.images)
        for limit, how in ((0, "by memory map"), (_IN_MEMORY, "into memory")):
            source = Source(kind="packed", root=str(packed))
            compare(f"packed set, {how}", source, limit, arguments.images, arguments)
        shutil.rmtree(packed)
        write_jpegs(jpegs, arguments.jpegs)
        for limit, how in ((0, "streamed"), (_IN_MEMORY, "into memory")):
            source = Source(kind="folder", root=str(jpegs))
            compare(f"folder of JPEGs, {how}", source, limit, arguments.jpegs, arguments)


def compare(title: str, source: Source, limit: int, images: int, arguments: argparse.Namespace) -> None:
    """Print the medians of the first and of the second start."""
    seconds: dict[tuple[str, bool], list[float]] = {}
    for _ in range(arguments.rounds):
        for verified in (True, False):
            with tempfile.TemporaryDirectory() as cache, ExitStack() as stack:
                if not verified:
                    stack.enter_context(without_verification())
                for start in ("first", "second"):
                    began = time.process_time()
                    load(list_source(source), cache, memory_limit_bytes=limit)
                    seconds.setdefault((start, verified), []).append(time.process_time() - began)
    for start in ("first", "second"):
        with_it, without = (statistics.median(seconds[start, verified]) for verified in (True, False))
        share = (with_it - without) * arguments.speed / images
        print(
            f"| {title}, {start} | {with_it:.2f} | {without:.2f} | {with_it / without:.2f} | {share:.2%} |",
            flush=True,
        )


@contextmanager
def without_verification() -> Iterator[None]:
    """Loading that believes what it finds."""
    with (
        patch("datamodules.loading.packed.verified_manifest", lambda root, *_: read_manifest(root)),
        patch("datamodules.loading.files.read_hashes", lambda locations, _: list(locations)),
        patch("datamodules.loading.cache.checksum", lambda _: ""),
    ):
        yield


def write_packed(folder: Path, images: int) -> None:
    """A set of 8-bit noise: one array file, ten images a group."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (images, _SIZE, _SIZE), dtype=np.uint8)
    np.save(folder / part_name(0), pixels)
    number = np.arange(images)
    manifest = pd.DataFrame(
        {
            "sample": [f"{each:08d}" for each in number],
            "class": np.where(number % 2, "a", "b"),
            "group": [f"{each // 10:016x}" for each in number],
            "split": np.where(number // 10 % 5 == 0, "val", "train"),
            "part": 0,
            "place": number,
        }
    )
    manifest.to_csv(folder / MANIFEST, index=False)
    parts = [{"number": 0, "samples": images, "sha256": file_digest(folder / part_name(0))}]
    sides = {side: manifest[manifest["split"] == side] for side in ("train", "val", "test")}
    description = {
        "format": FORMAT,
        "classes": ["a", "b"],
        "samples": {side: len(rows) for side, rows in sides.items()},
        "groups": {side: rows["group"].nunique() for side, rows in sides.items()},
        "crossing": {"groups": 0, "duplicates": 0, "looked": True},
        "split": {"provided": True, "fraction": None, "seed": None},
        "notes": [],
        "shape": [_SIZE, _SIZE],
        "dtype": "uint8",
        "parts": parts,
        "digest": set_digest(manifest, parts),
    }
    (folder / DESCRIPTION).write_text(json.dumps(sealed(description)))


def write_jpegs(folder: Path, images: int) -> None:
    """Two classes of JPEGs of 224 px, a fifth for evaluation."""
    real = os.environ.get("RELAY_REAL_DATA")
    found = sorted(Path(real).glob("natural/imagenette-224/train/*/*")) if real else []
    random = np.random.default_rng(0)
    for number in range(images):
        side = folder / ("val" if number % 5 == 0 else "train") / f"class{number % 2}"
        side.mkdir(parents=True, exist_ok=True)
        file = side / f"{number:06d}.jpeg"
        if number < len(found):
            shutil.copyfile(found[number], file)
        else:
            noise = random.integers(0, 256, (28, 28, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((224, 224)).save(file, quality=90)


if __name__ == "__main__":
    main()
