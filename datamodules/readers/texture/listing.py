"""Lists the images of a texture database in a folder, by what their names say.

Full Columbia CUReT: `sampleNN/NN-VV-MM.bmp`, also `.bmp.Z`, also in zips; VV-MM is the viewing and lighting
condition. Oxford crops of it: `sampleNN/NN-III.png`; III is the condition. KTH-TIPS:
`CLASS/NN-scale_S_im_I_grey.png`, or `_col`, `_color`; I is pose and light, S the distance. KTH-TIPS2:
`CLASS/sample_a/NNa-scale_S_im_I_col.png`, where a to d are four objects of a material.
"""

import os
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from datamodules.faults import Faults
from datamodules.files.access import is_readable
from datamodules.files.litter import in_litter
from datamodules.files.names import is_image, leaves_folder, normalised
from datamodules.files.walk import walk
from datamodules.readers.texture.names import CURET_MATERIALS
from stages.console.words import counted
from stages.errors import RelayError

Layout = Literal["columbia", "oxford", "kth-tips"]
KNOWN = "CUReT, its Oxford crops or KTH-TIPS"

_NAMES: dict[Layout, re.Pattern[str]] = {
    "columbia": re.compile(
        r"(?P<material>\d{2})-(?P<view>\d{1,3})-(?P<light>\d{1,3})\.bmp(\.z)?", re.I | re.A
    ),
    "oxford": re.compile(r"(?P<material>\d{2})-(?P<image>\d{1,3})\.(png|bmp|jpe?g|tiff?)", re.I | re.A),
    "kth-tips": re.compile(
        r"(?P<material>\d{2})(?P<sample>[a-d])?-scale_(?P<scale>\d{1,2})_im_(?P<image>\d{1,2})"
        r"(_(grey|gray|col|color|colour))?\.(png|bmp|jpe?g|tiff?)",
        re.I | re.A,
    ),
}
_OBJECT_FOLDER = re.compile(r"sample_?([a-d])", re.I | re.A)
_SAMPLE_FOLDER = re.compile(r"sample_?(\d{2})", re.I | re.A)


@dataclass(frozen=True)
class TextureImage:
    """One image file of a texture database, not opened.

    Attributes:
        layout: Which database.
        label: Its class.
        material: Number of the CUReT sample.
        condition: Viewing and lighting, such as "12-45" (Columbia), "002" (Oxford) or "7" (KTH-TIPS: pose and
            light, the same at every scale).
        scale: KTH-TIPS' scale; 0 elsewhere.
        sample: KTH-TIPS2's object of the material, a to d; empty elsewhere.
        path: Below the source, with forward slashes; a zip counts as a folder.
        location: The file, or the zip that holds it.
        member: Name in the zip, or None.
        size: Bytes.
        stamp: Time of change of the file in nanoseconds, or the member's checksum.
    """

    layout: Layout
    label: str
    material: int
    condition: str
    scale: int
    sample: str
    path: str
    location: str
    member: str | None
    size: int
    stamp: int

    @property
    def name(self) -> str:
        """What a message calls it."""
        scale = f"scale {self.scale}, " if self.scale else ""
        return f"{self.label} (sample {self.material:02d}{self.sample}), {scale}condition {self.condition}"


def list_textures(source: Path, faults: Faults) -> list[TextureImage]:
    """List the images of a source, by class, scale and condition, and what cannot be one.

    Folders may hold folders; litter is counted and passed over, and so are files that are not images.
    Links are followed, but never back into a folder that contains them.

    Args:
        source: The provider's folder.
        faults: Takes the files that look like images and are not.
    """
    images: list[TextureImage] = []
    for number, (path, entry) in enumerate(sorted(_walk(source, faults)), start=1):
        what = _called(path, number)
        status = _status(entry)
        if status is None:
            faults.add(what, "it is a link that leads nowhere; fix or remove it")
        elif not stat.S_ISREG(status.st_mode):
            faults.add(what, "it is not an ordinary file; remove it")
        elif status.st_size == 0:
            faults.add(what, "it has zero bytes; copy it again or remove it")
        elif not is_readable(entry):
            faults.add(what, "it may not be read; change its permissions")
        elif path.lower().endswith(".zip"):
            _list_zip(path, entry, what, images, faults)
        else:
            _add(path, entry, None, (status.st_size, status.st_mtime_ns), what, images, faults)
    named = [problem for problem in faults.problems if KNOWN in problem.why]
    if named and not images and len(named) == len(faults.problems):
        raise RelayError(
            f"none of its {counted(len(named), 'image file')} has a name of a known layout ({KNOWN}). Other "
            "sets need no preparing: give the folder that holds their class folders to training, as "
            "{kind: folder, root: FOLDER}, or write a manifest of paths and classes (docs/real-data.md)."
        )
    return _without_repeats(images, faults)


def _walk(source: Path, faults: Faults) -> Iterator[tuple[str, str]]:
    """(path in NFC with forward slashes, location) of every file that may be an image or a zip."""
    for path, entry in walk(source, on_unreadable=_unreadable, dropped=faults.litter):
        if _may_hold_image(entry.name):
            yield path, entry.path


def _unreadable(_folder: str, depth: int, error: OSError) -> NoReturn:
    where = f"a folder {depth} levels below the source" if depth else "the source"
    raise RelayError(f"{where} cannot be read: {error.strerror}; check its permissions.") from None


def _may_hold_image(name: str) -> bool:
    lower = name.lower()
    return is_image(lower) or lower.endswith((".bmp.z", ".zip", ".gif"))


def _status(location: str) -> os.stat_result | None:
    try:
        return os.stat(location)
    except OSError:
        return None


def _list_zip(path: str, location: str, what: str, images: list[TextureImage], faults: Faults) -> None:
    try:
        with zipfile.ZipFile(location) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        faults.add(what, "it is not a complete zip; copy it again")
        return
    if any(leaves_folder(info.filename) for info in members):
        faults.add(what, "it holds paths that leave its folder; take it from the provider again")
        return
    before = len(images) + len(faults.problems)
    for number, info in enumerate(sorted(members, key=lambda info: info.filename), start=1):
        name = normalised(info.filename)
        if in_litter(name, faults.litter) or not _may_hold_image(name):
            continue
        inside = f"{what}, file {number} in it"
        if info.flag_bits & 1:
            faults.add(inside, "it is encrypted; unpack the zip")
        elif info.file_size == 0:
            faults.add(inside, "it has zero bytes; copy the zip again")
        else:
            origin = (info.file_size, info.CRC)
            _add(f"{path}/{name}", location, info.filename, origin, inside, images, faults)
    if len(images) + len(faults.problems) == before:
        faults.add(what, "it holds no images; remove it")


def _add(
    path: str,
    location: str,
    member: str | None,
    origin: tuple[int, int],
    what: str,
    images: list[TextureImage],
    faults: Faults,
) -> None:
    """Read the name; adds to `images` or to `faults`."""
    folder, _, name = path.rpartition("/")
    for layout, pattern in _NAMES.items():
        found = pattern.fullmatch(name)
        if found is None:
            continue
        parts = found.groupdict()
        material, sample = int(parts["material"]), (parts.get("sample") or "").lower()
        if layout == "kth-tips":
            if inside := _OBJECT_FOLDER.fullmatch(folder.rpartition("/")[2]):
                folder, sample = folder.rpartition("/")[0], inside[1].lower()
            label = folder.rpartition("/")[2].removesuffix(".zip")
            if not label:
                faults.add(what, "it lies in no class folder; put it into one")
                return
        else:
            if not 1 <= material <= len(CURET_MATERIALS):
                faults.add(what, f"CUReT has no sample {material:02d}; its samples are 01 to 61")
                return
            stated = _SAMPLE_FOLDER.fullmatch(folder.rpartition("/")[2].removesuffix(".zip"))
            if stated and int(stated[1]) != material:
                faults.add(what, f"its name says sample {material:02d}, its folder sample {stated[1]}")
                return
            label = CURET_MATERIALS[material - 1]
        condition = f"{parts['view']}-{parts['light']}" if layout == "columbia" else parts["image"]
        scale = int(parts.get("scale") or 0)
        place = (path, location, member, *origin)
        images.append(TextureImage(layout, label, material, condition, scale, sample, *place))
        return
    faults.add(what, f"its name is of no known layout ({KNOWN})")


def _called(path: str, number: int) -> str:
    """What a message calls a file whose name may say anything."""
    kind = "zip" if path.lower().endswith(".zip") else "image file"
    stated = _SAMPLE_FOLDER.search(path)
    return f"{kind} {number} in sorted order" + (f", of sample {stated[1]}" if stated else "")


def _without_repeats(images: list[TextureImage], faults: Faults) -> list[TextureImage]:
    """One image per class, object, scale and condition, sorted; the first path is kept."""
    first: dict[tuple[str, str, str, int, str], TextureImage] = {}
    for image in sorted(images, key=lambda image: image.path):
        key = (image.layout, image.label, image.sample, image.scale, image.condition)
        if key in first:
            faults.add(image.name, "it is there twice; keep one file")
        else:
            first[key] = image
    return [first[key] for key in sorted(first)]
