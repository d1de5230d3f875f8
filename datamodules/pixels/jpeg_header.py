"""What a JPEG says before its pixels are decoded."""

from collections.abc import Iterator
from typing import NamedTuple

# Frame headers (SOF0 to SOF15); three markers between them are tables: DHT, JPG, DAC.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length: TEM and restarts


class Frame(NamedTuple):
    """What a JPEG's frame header says: bits a component, pixels, number of components."""

    precision: int
    height: int
    width: int
    components: int


def jpeg_frame(data: bytes) -> Frame | None:
    """The frame header of a JPEG, without decoding; None if there is none."""
    for marker, start, end in segments(data):
        if marker in FRAMES and start + 8 <= end:
            height = int.from_bytes(data[start + 1 : start + 3], "big")
            width = int.from_bytes(data[start + 3 : start + 5], "big")
            return Frame(data[start], height, width, data[start + 5])
    return None


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker of each segment, and where its content begins and ends; until one that is not whole."""
    if data[:2] != b"\xff\xd8":
        return
    position, length = 2, len(data)
    while position + 4 <= length and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _STANDALONE:
            position += 2
        else:
            end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
            yield marker, position + 4, min(end, length)
            position = end
