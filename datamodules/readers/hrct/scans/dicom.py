"""Opens DICOM files.

What is raised or returned never holds a tag's value that could identify the patient, and pydicom's own
warnings and log lines, which can, are kept from being seen.
"""

import logging
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

import numpy as np

from datamodules.faults import UnusableError

DICOM_MARK_END = 132  # bytes: a preamble of 128, then DICM
_LOGGERS = ("pydicom", "pylibjpeg", "libjpeg", "openjpeg", "highdicom", "nibabel")
_BARE = b"\x02\0\0\0UL"  # the first element of a file that was saved without preamble and mark
_DEFLATED = "1.2.840.10008.1.2.1.99"  # Deflated Explicit VR Little Endian
_PIECE = 1 << 20
MOST_INFLATED = 1 << 28  # bytes
_DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage, the DICOMDIR of a disc


def is_dicom(location: str) -> bool:
    """Whether the file has DICOM's mark behind its preamble (PS3.10, 7.1), or begins with what follows it.

    Raises:
        UnusableError: It cannot be read.
    """
    try:
        with open(location, "rb") as file:
            head = file.read(DICOM_MARK_END)
            return head[128:] == b"DICM" or head.startswith(_BARE)
    except OSError as error:
        raise UnusableError(f"it cannot be read: {error.strerror}") from None


def read_dicom(location: str, tags: Sequence[str | tuple[int, int]], stop_before_pixels: bool = False) -> Any:
    """Read the tags that are named, and no others.

    Raises:
        UnusableError: It is not a DICOM file, or is damaged.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError
    from pydicom.tag import Tag

    try:
        with silent(), open(location, "rb") as file:
            bare = file.read(len(_BARE)) == _BARE
            file.seek(0)
            return dcmread(
                _bounded(file, bare),
                force=bare,
                specific_tags=[Tag(tag) for tag in tags],
                stop_before_pixels=stop_before_pixels,
            )
    except UnusableError:
        raise
    except InvalidDicomError:
        raise UnusableError(
            "it is not a DICOM file, although its name says so; copy it again or remove it"
        ) from None
    except OSError as error:
        reason = error.strerror or "it ends early"
        raise UnusableError(f"it cannot be read: {reason}; copy it again") from None
    except Exception:  # messages quote the file's content
        raise UnusableError("its DICOM header cannot be read; copy the file again") from None


def check_inflated(location: str) -> None:
    """Refuse a deflated file that becomes larger than any: others read it to its end before they look at it.

    Raises:
        UnusableError: It does.
    """
    with silent(), suppress(OSError), open(location, "rb") as file:
        _bounded(file, bare=False)


def _bounded(file: BinaryIO, bare: bool) -> BinaryIO:
    """A file from its beginning, if it may be read: pydicom inflates a deflated one (PS3.5, A.5) at once.

    Raises:
        UnusableError: It is deflated, and larger than any file when it is inflated.
    """
    from pydicom.filereader import _read_file_meta_info, read_preamble

    syntax = ""
    with suppress(Exception):  # what is wrong with it is said by who reads it
        read_preamble(file, bare)
        syntax = str(_read_file_meta_info(file).get("TransferSyntaxUID"))
    if syntax == _DEFLATED:
        inflating, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        with suppress(zlib.error):
            while (content := inflating.unconsumed_tail or file.read(_PIECE)) and size <= MOST_INFLATED:
                size += len(inflating.decompress(content, _PIECE))
        if size > MOST_INFLATED:
            raise UnusableError(
                f"it is compressed as a whole (deflated), and has more than {MOST_INFLATED >> 20} MiB "
                "when it is inflated, which no such file has; export it again, or remove it"
            )
    file.seek(0)
    return file


def is_directory(data: Any) -> bool:
    """Whether it is a disc's table of contents."""
    meta = getattr(data, "file_meta", None)
    return meta is not None and meta.get("MediaStorageSOPClassUID") == _DIRECTORY


def numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """The numbers of a tag, None where they are missing, fewer, not finite or no numbers.

    A comma, which DICOM does not allow in a number, stands for the point; so fo-dicom reads it, too.
    """
    if value is None or value == "":
        return None
    several = value.split("\\") if isinstance(value, str) else value  # of a tag that was written as a text
    parts = several if count > 1 and isinstance(several, Sequence) else [value]
    try:
        values = tuple(float(str(part).replace(",", ".")) for part in parts)
    except ValueError:
        return None
    return values if len(values) == count and bool(np.isfinite(values).all()) else None


@contextmanager
def silent() -> Iterator[None]:
    """Keep what these libraries warn of and log: they quote values, which can be names and dates."""
    # Loggers below these hand on to these, and no further.
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.disabled, logger.propagate, logger.handlers) for logger in loggers]
    for logger in loggers:
        logger.disabled, logger.propagate, logger.handlers = True, False, [logging.NullHandler()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, (disabled, propagate, handlers) in zip(loggers, before, strict=True):
            logger.disabled, logger.propagate, logger.handlers = disabled, propagate, handlers
