"""JPEG files of one or three 8-bit components, decoded by libjpeg-turbo itself, reduced where asked for."""

from collections.abc import Iterator

import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # it has stubs, but no py.typed

from datamodules.pixels.jpeg_header import FRAMES, Frame, jpeg_frame, segments
from datamodules.pixels.stored import Kind, Remark, Stored, is_foreign, is_turned

_APP1, _APP2 = 0xE1, 0xE2
_EXIF, _PROFILE = b"Exif\0\0", b"ICC_PROFILE\0"
_GREY, _RGB = Kind(np.dtype(np.uint8), False, 255), Kind(np.dtype(np.uint8), True, 255)


def ordinary_frame(data: bytes) -> Frame | None:
    """The frame header of a JPEG that `by_turbo` decodes; None for all other files."""
    frame = jpeg_frame(data)
    if frame is None or frame.precision != 8 or frame.components not in (1, 3):
        return None
    return frame if frame.height and frame.width else None


def by_turbo(data: bytes, frame: Frame, factor: int = 1, *, copies: bool = False) -> Stored | None:
    """Decode a JPEG with the exact transform and smooth chroma, to Pillow's bits where it is not reduced.

    Args:
        data: The whole file.
        frame: Its `ordinary_frame`.
        factor: By how much it is reduced: 1, 2, 4 or 8.
        copies: Whether grey becomes three equal channels.

    Returns:
        None where it is damaged.
    """
    color = copies or frame.components == 3
    try:
        # The quick transform and chroma gain 4% and cost a grey level.
        pixels = simplejpeg.decode_jpeg(
            data,
            "RGB" if color else "GRAY",
            fastdct=False,
            fastupsample=False,
            min_height=-(-frame.height // factor) if factor > 1 else 0,
            min_width=-(-frame.width // factor) if factor > 1 else 0,
        )
    except ValueError:  # damaged, or in a way it does not like: Pillow decides
        return None
    return Stored(pixels if color else pixels[..., 0], _RGB if color else _GREY, tuple(_remarks(data)))


def _remarks(data: bytes) -> Iterator[Remark]:
    profile = b""
    for marker, start, end in segments(data):
        if marker == _APP1 and data.startswith(_EXIF, start):
            if is_turned(data[start:end]):
                yield Remark.TURNED
        elif marker == _APP2 and data.startswith(_PROFILE, start):
            profile += data[start + len(_PROFILE) + 2 : end]
        elif marker in FRAMES:
            break
    if is_foreign(profile):
        yield Remark.PROFILE
