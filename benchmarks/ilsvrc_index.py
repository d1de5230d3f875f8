"""Seconds and peak memory of listing ILSVRC2012's archives, at its full number of images.

    python -m benchmarks.ilsvrc_index                   # 1000 classes x 1,281 and 50,000; 1.5 GB on disk
    python -m benchmarks.ilsvrc_index --image-bytes 110000 --cold   # as far apart as the real ones; 5.5 GB

The archives are generated: real headers, names and ground truth, but the images are holes of a sparse file,
since listing does not look at them. `survey`, the whole of what a preparation does before it decodes, then
runs in a fresh process, whose peak resident memory is the figure. Aims: 60 s and 1 GB (10^9 bytes).

Without `--cold` the headers come from the system's memory, so that the time is the program's own; with it
they are read from the disk, one small read an image.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.io import savemat

_BLOCK = 512
CLASSES, PER_CLASS, VALIDATION = 1000, 1281, 50_000


def main() -> None:
    """Generate, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", help="where the archives are generated; a temporary folder by default")
    parser.add_argument("--image-bytes", type=int, default=_BLOCK)
    parser.add_argument("--per-class", type=int, default=PER_CLASS)
    parser.add_argument("--cold", action="store_true", help="put the archives out of the system's memory")
    parser.add_argument("--survey", type=Path, help=argparse.SUPPRESS)  # the fresh process
    arguments = parser.parse_args()
    if arguments.survey:
        measure(arguments.survey)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        write_archives(Path(name), arguments.per_class, arguments.image_bytes)
        if arguments.cold:
            for archive in Path(name).glob("*.tar"):
                forget(archive)
        command = [sys.executable, "-m", "benchmarks.ilsvrc_index", "--survey", name]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(
        f"{result['images']:,} images in {result['units']:,} units: {result['seconds']:.1f} s, "
        f"{result['peak_bytes'] / 1e6:.0f} MB at most"
    )


def measure(source: Path) -> None:
    """List a source and print what it took, as JSON."""
    from datamodules.readers.ilsvrc.reader import IlsvrcOptions, survey
    from datamodules.readers.ilsvrc.units import ImageUnit

    start = time.perf_counter()
    found = survey(source, IlsvrcOptions(), "raise")
    seconds = time.perf_counter() - start
    images = sum(len(unit.entries) for unit in found.units if isinstance(unit, ImageUnit))
    # ru_maxrss is in KiB on Linux, in bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"images": images, "units": len(found.units), "seconds": seconds, "peak_bytes": peak}))


def forget(file: Path) -> None:
    """Put a file out of the system's memory; Linux only."""
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def write_archives(folder: Path, per_class: int, image_bytes: int) -> None:
    """The three archives; images are holes."""
    wnids = [f"n{1_440_764 + 1009 * index:08d}" for index in range(CLASSES)]
    inner = -(-(per_class * (_BLOCK + _padded(image_bytes)) + 2 * _BLOCK) // 10240) * 10240
    with open(folder / "ILSVRC2012_img_train.tar", "wb") as train:
        for wnid in wnids:
            train.write(_header(f"{wnid}.tar", inner))
            end = train.tell() + inner
            _write_members(train, [f"{wnid}_{7 * number}.JPEG" for number in range(per_class)], image_bytes)
            train.seek(end)
        train.truncate(train.tell() + 2 * _BLOCK)
    with open(folder / "ILSVRC2012_img_val.tar", "wb") as val:
        _write_members(val, [f"ILSVRC2012_val_{n + 1:08d}.JPEG" for n in range(VALIDATION)], image_bytes)
        val.truncate(val.tell() + 2 * _BLOCK)
    _write_devkit(folder, wnids, per_class)


def _write_members(stream: io.BufferedWriter, names: list[str], image_bytes: int) -> None:
    for name in names:
        stream.write(_header(name, image_bytes))
        stream.seek(_padded(image_bytes), os.SEEK_CUR)


def _write_devkit(folder: Path, wnids: list[str], per_class: int) -> None:
    fields = ("ILSVRC2012_ID", "WNID", "words", "num_children", "num_train_images")
    synsets = np.empty((len(wnids), 1), dtype=[(field, object) for field in fields])
    for index, wnid in enumerate(wnids):
        synsets[index, 0] = (index + 1, wnid, f"class {index + 1}", 0, per_class)
    meta = io.BytesIO()
    savemat(meta, {"synsets": synsets})  # type: ignore[arg-type]  # the stubs know paths only
    truth = "".join(f"{number % CLASSES + 1}\n" for number in range(VALIDATION)).encode()
    with tarfile.open(folder / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as devkit:
        for name, content in (
            ("meta.mat", meta.getvalue()),
            ("ILSVRC2012_validation_ground_truth.txt", truth),
        ):
            member = tarfile.TarInfo(f"ILSVRC2012_devkit_t12/data/{name}")
            member.size = len(content)
            devkit.addfile(member, io.BytesIO(content))


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


if __name__ == "__main__":
    main()
