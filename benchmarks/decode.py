"""Images per second of the ILSVRC2012 reader against torchvision's ImageFolder with PIL, at the same output.

    python -m benchmarks.decode                     # the real files of RELAY_REAL_DATA, else generated ones
    python -m benchmarks.decode --generated         # 64 JPEGs of 500 x 375
    python -m benchmarks.decode --decoders          # and what other decoders take, of those installed

One run, one thread, rounds that alternate in order: the reader's `read` of its units (files opened, decoded,
resized, cropped, 224 x 224 uint8) and `ImageFolder` with Resize(224), CenterCrop and PILToTensor, once
bicubic, which gives the same pixels, and once bilinear, torchvision's default and quicker. Ratios are of the
two in one round, median and range over the rounds, by the clock on the wall and by the processor time of the
process, which a busy machine disturbs less. The packed set is read as training reads it, in random order by
memory map. Aims against bicubic: 2 or more for the reader, 20 or more for the packed set.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torchvision.datasets import ImageFolder  # type: ignore[import-untyped]
from torchvision.transforms import (  # type: ignore[import-untyped]
    CenterCrop,
    Compose,
    InterpolationMode,
    PILToTensor,
    Resize,
)

from datamodules.packing.finish import SplitRule
from datamodules.packing.pack import pack
from datamodules.packing.read import PackedImages, read_manifest
from datamodules.readers.ilsvrc.reader import IlsvrcOptions, survey

SIZE = 224
_BATCH = 32
_REAL = Path(os.environ.get("RELAY_REAL_DATA", ""), "natural", "imagenet-sample-fullres")
Times = dict[str, list[tuple[float, float]]]
"""Variant -> seconds of each round, on the wall and of the processor."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--generated", action="store_true")
    parser.add_argument("--decoders", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real = os.environ.get("RELAY_REAL_DATA") and _REAL.is_dir() and not arguments.generated
        files = link_real(folder) if real else generate(folder)
        size = sum(file.stat().st_size for file in files) / len(files) / 1000
        kind = "real" if real else "generated"
        print(f"{len(files)} {kind} JPEGs of {size:.0f} kB, {arguments.rounds} rounds")
        report(timed(whole_readers(folder), arguments.rounds), len(files), "ImageFolder, bicubic")
        if arguments.decoders:
            contents = [file.read_bytes() for file in files]
            decoders = {name: over(decode, contents) for name, decode in installed_decoders().items()}
            report(timed(decoders, arguments.rounds), len(files), "Pillow")


def link_real(folder: Path) -> list[Path]:
    """Class folders for the flat real files, one file a class, as links."""
    files = sorted(_REAL.glob("*.JPEG"))
    for file in files:
        for side in ("train", "val"):
            of_class = folder / side / file.name[:9]
            of_class.mkdir(parents=True)
            (of_class / file.name).symlink_to(file)
    return files


def generate(folder: Path, images: int = 64) -> list[Path]:
    """Mostly grey noise whose power falls with the square of frequency, as photographs' does; 110 kB."""
    generator = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(375)[:, None], np.fft.fftfreq(500)[None])
    frequency[0, 0] = 1.0
    files = []
    for number in range(images):
        spectrum = np.fft.fft2(generator.normal(size=(4, 375, 500))) / frequency
        noise = np.fft.ifft2(spectrum).real.transpose(1, 2, 0)
        noise /= noise.std(axis=(0, 1))
        levels = np.clip(128 + 50 * noise[..., :1] + 10 * noise[..., 1:], 0, 255).astype(np.uint8)
        name = f"n{number // 8:08d}"
        for side in ("train", "val"):
            file = folder / side / name / f"{name}_{number}.JPEG"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(levels).save(file, quality=85, subsampling=0)
        files.append(folder / "train" / name / f"{name}_{number}.JPEG")
    return files


def whole_readers(folder: Path) -> dict[str, Callable[[], None]]:
    """Each variant as a pass over all training images."""
    found = survey(folder, IlsvrcOptions(size=SIZE), "raise")
    units = [unit for unit in found.units if "train" in unit.key]
    rule = SplitRule(allow_crossing=True, duplicates=False)  # the same files stand on both sides
    pack(found, folder / "set", rule, on_error="raise", workers=1)
    manifest = read_manifest(str(folder / "set"))
    manifest = manifest[manifest["split"] == "train"]
    stored = PackedImages(
        str(folder / "set"), manifest["part"].to_numpy(), manifest["place"].to_numpy(), (SIZE, SIZE, 3), None
    )
    batches = np.array_split(np.random.default_rng(0).permutation(len(stored)), -(-len(stored) // _BATCH))

    def prepared() -> None:
        for batch in batches:
            stored.gather(batch.tolist())

    def reader() -> None:
        for unit in units:
            unit.read("raise")

    def image_folder(mode: InterpolationMode) -> Callable[[], None]:
        transform = Compose([Resize(SIZE, mode), CenterCrop(SIZE), PILToTensor()])
        dataset = ImageFolder(str(folder / "train"), transform)

        def read() -> None:
            for index in range(len(dataset)):
                dataset[index]

        return read

    return {
        "this reader": reader,
        "its packed set": prepared,
        "ImageFolder, bicubic": image_folder(InterpolationMode.BICUBIC),
        "ImageFolder, bilinear": image_folder(InterpolationMode.BILINEAR),
    }


def installed_decoders() -> dict[str, Callable[[bytes], object]]:
    """Decoders to RGB at full size, and Pillow's resizing after its reduced decode."""
    from datamodules.pixels.quick import decode_image

    def pillow(data: bytes) -> npt.NDArray[np.uint8]:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def pillow_draft(data: bytes) -> npt.NDArray[np.uint8]:
        image = Image.open(io.BytesIO(data))
        shorter = min(image.size)
        image.draft("RGB", (SIZE, SIZE))
        small = image.convert("RGB")
        wanted = (int(SIZE * small.width / min(small.size)), int(SIZE * small.height / min(small.size)))
        return np.asarray(small if shorter == SIZE else small.resize(wanted, Image.Resampling.BICUBIC))

    def turbo(data: bytes) -> object:
        import simplejpeg  # type: ignore[import-untyped]

        return simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False)

    decoders: dict[str, Callable[[bytes], object]] = {
        "Pillow": pillow,
        "Pillow, draft, and its resize": pillow_draft,
        "simplejpeg": turbo,
        "decode_image of this reader": lambda data: decode_image(data, SIZE),
    }
    if find_spec("torchcodec"):
        from torchcodec.decoders import decode_jpeg  # type: ignore[import-not-found]

        decoders["torchcodec"] = lambda data: decode_jpeg(data, mode="RGB")
    if find_spec("cv2"):
        import cv2  # type: ignore[import-not-found]

        cv2.setNumThreads(1)
        decoders["opencv"] = lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return decoders


def over(decode: Callable[[bytes], object], contents: list[bytes]) -> Callable[[], None]:
    """A pass of a decoder over all contents."""

    def run() -> None:
        for data in contents:
            decode(data)

    return run


def timed(variants: dict[str, Callable[[], None]], rounds: int) -> Times:
    """Time each variant in each round, in alternating order, after a pass that is not counted."""
    times: Times = {name: [] for name in variants}
    for run in variants.values():
        run()
    for number in range(rounds):
        order = list(variants.items())
        for name, run in order if number % 2 else reversed(order):
            wall, processor = time.perf_counter(), time.process_time()
            run()
            times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return times


def report(times: Times, images: int, reference: str) -> None:
    """Print images per second, and how many times as fast as the reference each variant is."""
    for name, of_variant in times.items():
        columns = []
        for clock, word in enumerate(("wall", "processor")):
            speed = statistics.median(images / seconds[clock] for seconds in of_variant)
            pairs = zip(times[reference], of_variant, strict=True)
            ratios = [one[clock] / other[clock] for one, other in pairs]
            span = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            columns.append(f"{word} {speed:6.1f} images/s, {span}")
        print(f"{name:30} {'; '.join(columns)}", flush=True)


if __name__ == "__main__":
    main()
