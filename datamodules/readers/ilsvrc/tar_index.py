"""Where the members of an uncompressed tar archive lie.

Python's own tarfile needs an object and 30 microseconds a member: too much for a million images. Ordinary
headers are read here, and only an archive with others is left to tarfile.
"""

import tarfile
from collections import Counter
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from datamodules.files.names import first_and_more, leaves_folder
from stages.errors import RelayError

BLOCK = 512  # bytes: headers are of one, contents are padded to whole ones
_END = bytes(BLOCK)
_FILE_TYPES = frozenset(b"0\x007")
_FOLDER_TYPE = ord("5")
_CHECKSUM = slice(148, 156)
_SPACES = 8 * ord(" ")  # the checksum is taken with spaces in its place


class Member(NamedTuple):
    """A file in an archive: its name, and where its content begins in the whole archive's file, in bytes."""

    name: str
    offset: int
    size: int


def members(stream: BinaryIO, start: int, end: int, what: str) -> list[Member]:
    """The files of the archive in bytes `start` to `end` of a stream, in their order; folders are left out.

    Args:
        stream: Open for reading, seekable; unbuffered is quickest.
        start: Where the archive begins.
        end: Where it ends: the file's size, or the end of the member that it is.
        what: The archive, for the messages.

    Raises:
        RelayError: The archive is cut short or damaged, or holds a link, a name twice or a name outside of
            its folder.
    """
    found: list[Member] = []
    position, ended = start, False
    while position + BLOCK <= end:
        stream.seek(position)
        header = stream.read(BLOCK)
        if header == _END:
            ended = True
            break
        if len(header) < BLOCK:
            break
        kind = header[156]
        try:
            expected = int(header[_CHECKSUM].split(b"\0")[0], 8)
        except ValueError:
            expected = -1
        if sum(header) - sum(header[_CHECKSUM]) + _SPACES != expected:
            raise RelayError(
                f"{what}: there is no member at byte {position - start}, where one should begin; "
                "it is damaged or cut short. Copy it again."
            )
        if header[124] & 0x80 or (kind not in _FILE_TYPES and kind != _FOLDER_TYPE):
            return _by_tarfile(stream, start, end, what)
        size = int(header[124:136].rstrip(b"\0 ") or b"0", 8)
        if kind != _FOLDER_TYPE:
            name = header[:100].split(b"\0")[0]
            if header[257:262] == b"ustar" and header[345] and header[262] == 0:
                name = header[345:500].split(b"\0")[0] + b"/" + name
            found.append(Member(name.decode("utf-8", "surrogateescape"), position + BLOCK, size))
        position += BLOCK + -(-size // BLOCK) * BLOCK
    if not ended:
        raise RelayError(f"{what} is cut short: {_shortfall(position - start, end - start)}. Copy it again.")
    _check_names(found, what)
    return found


def _shortfall(needed: int, size: int) -> str:
    if needed > size:
        return f"it has {size} bytes, and its members need {needed}"
    return f"it ends after {size} bytes without the mark of an archive's end"


def _by_tarfile(stream: BinaryIO, start: int, end: int, what: str) -> list[Member]:
    """Long names, sparse files, sizes of 8 GiB and more."""
    stream.seek(start)
    found: list[Member] = []
    reached = start
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                if not (member.isreg() or member.isdir()) or member.issparse():
                    raise RelayError(
                        f"{what}: member {len(found) + 1} is a link, a device or a sparse file; "
                        "only plain files are read. Make the archive again."
                    )
                if member.isreg():
                    found.append(Member(member.name, member.offset_data, member.size))
                reached = member.offset_data + -(-member.size // BLOCK) * BLOCK
                if reached > end:
                    break
    except (tarfile.TarError, OSError, EOFError) as error:
        raise RelayError(f"{what} is damaged or cut short ({error}). Copy it again.") from error
    stream.seek(reached)
    if reached + BLOCK > end or stream.read(BLOCK) != _END:
        raise RelayError(f"{what} is cut short: {_shortfall(reached - start, end - start)}. Copy it again.")
    _check_names(found, what)
    return found


def _check_names(found: Sequence[Member], what: str) -> None:
    for number, member in enumerate(found, 1):
        # Names without a slash are by far the most, and cannot leave a folder but as "..".
        if ("/" in member.name or "\\" in member.name or member.name == "..") and leaves_folder(member.name):
            raise RelayError(
                f"{what}: the path of member {number} leaves the folder; such an archive is not read. "
                "Get it from its provider again."
            )
    names = [member.name for member in found]
    if len(set(names)) < len(names):
        times = Counter(names)
        twice = [index for index, name in enumerate(names, 1) if times[name] > 1]
        places = first_and_more([f"member {index}" for index in twice], 2)
        raise RelayError(f"{what}: {places} have one name; make the archive again.")
