"""Image files by hand, from known arrays: what Pillow cannot write, after the formats' own documents."""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_FORMATS = {"u": 1, "b": 1, "i": 2, "f": 3}  # SampleFormat (TIFF 6.0, section 19)
NONE, LZW, DEFLATE = 1, 5, 8
_TYPES = {3: "H", 4: "I", 16: "Q"}


def tiff(
    *pages: npt.NDArray[Any],
    order: str = "<",
    compression: int = NONE,
    predictor: int = 1,
    photometric: int | None = None,
    planar: int = 1,
    tile: int = 0,
    big: bool = False,
    extra: Sequence[tuple[int, int]] = (),
) -> bytes:
    """A TIFF file (TIFF 6.0), one directory for each page, each of one strip or of square tiles.

    Args:
        pages: (H, W) or (H, W, C), of any number type; stored as they are.
        order: "<" little-endian, ">" big-endian.
        compression: NONE, LZW or DEFLATE.
        predictor: 2 for differences, 3 for the bytes of floating point (Technical note 3).
        photometric: 0 white is zero, 1 black is zero; by default 1, and 2 (RGB) for three channels.
        planar: 2 puts channels one behind the other.
        tile: Side of the tiles; 0 for one strip.
        big: Whether it is a BigTIFF.
        extra: Further tags: number and value.
    """
    start = 16 if big else 8
    head = struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HI", 42, start)
    body = {"<": b"II", ">": b"MM"}[order] + head
    for number, page in enumerate(pages):
        height, width = page.shape[:2]
        channels = page.shape[2] if page.ndim == 3 else 1
        planes = [page] if planar == 1 else [page[..., channel] for channel in range(channels)]
        pieces = [piece for plane in planes for piece in _pieces(plane, tile)]
        blocks = [_packed(piece, order, compression, predictor) for piece in pieces]
        bits = page.dtype.itemsize * 8
        tags: dict[int, tuple[int, Sequence[int]]] = {
            256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * channels), 259: (3, [compression]),
            262: (3, [photometric if photometric is not None else (2 if channels >= 3 else 1)]),
            277: (3, [channels]), 284: (3, [planar]), 317: (3, [predictor]),
            339: (3, [_FORMATS[page.dtype.kind]] * channels),
        }  # fmt: skip
        sizes = (16 if big else 4, [len(block) for block in blocks])
        if tile:
            tags |= {322: (3, [tile]), 323: (3, [tile]), 325: sizes}
        else:
            tags |= {278: (4, [height]), 279: sizes}
        tags[324 if tile else 273] = (16 if big else 4, [0] * len(blocks))
        tags |= {tag: (3, [value]) for tag, value in extra}
        at = len(body)
        directory = _directory(tags, at, order, big, last=number == len(pages) - 1, follows=0)
        places = [at + len(directory) + sum(map(len, blocks[:place])) for place in range(len(blocks))]
        tags[324 if tile else 273] = (16 if big else 4, places)
        follows = at + len(directory) + sum(map(len, blocks))
        padding = bytes(follows % 2)
        last = number == len(pages) - 1
        body += _directory(tags, at, order, big, last=last, follows=follows + len(padding))
        body += b"".join(blocks) + padding
    return body


def _directory(
    tags: dict[int, tuple[int, Sequence[int]]], at: int, order: str, big: bool, *, last: bool, follows: int
) -> bytes:
    count, word, room = ("Q", "Q", 8) if big else ("H", "I", 4)
    length = struct.calcsize(order + count) + len(tags) * (4 + 2 * room) + room
    entries, behind = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        content = struct.pack(f"{order}{len(values)}{_TYPES[kind]}", *values)
        if len(content) > room:
            place = at + length + len(behind)
            behind += content + bytes(len(content) % 2)
            content = struct.pack(order + word, place)
        entries += struct.pack(order + "HH" + word, tag, kind, len(values)) + content.ljust(room, b"\0")
    return (
        struct.pack(order + count, len(tags))
        + entries
        + struct.pack(order + word, 0 if last else follows)
        + behind
    )


def _pieces(plane: npt.NDArray[Any], tile: int) -> list[npt.NDArray[Any]]:
    if not tile:
        return [plane]
    pieces = []
    for top in range(0, plane.shape[0], tile):
        for left in range(0, plane.shape[1], tile):
            piece = np.zeros((tile, tile, *plane.shape[2:]), plane.dtype)
            part = plane[top : top + tile, left : left + tile]
            piece[: part.shape[0], : part.shape[1]] = part
            pieces.append(piece)
    return pieces


def _packed(piece: npt.NDArray[Any], order: str, compression: int, predictor: int) -> bytes:
    ordered = np.ascontiguousarray(piece.astype(piece.dtype.newbyteorder(order)))
    if predictor == 2:
        before = np.zeros_like(ordered)
        before[:, 1:] = ordered[:, :-1]
        ordered = (ordered.astype(np.int64) - before.astype(np.int64)).astype(ordered.dtype)
    data = ordered.tobytes()
    if predictor == 3:  # the bytes of a row by their place, greatest first, then differences
        rows = piece.astype(piece.dtype.newbyteorder(">")).reshape(len(piece), -1)
        size = rows.dtype.itemsize
        planes = rows.view(np.uint8).reshape(len(rows), -1, size).transpose(0, 2, 1).reshape(len(rows), -1)
        before = np.zeros_like(planes)
        before[:, 1:] = planes[:, :-1]
        data = (planes - before).tobytes()
    if compression == DEFLATE:
        return zlib.compress(data)
    return _lzw(data) if compression == LZW else data


def _lzw(data: bytes) -> bytes:
    """Each byte as a code of its own, of nine bits; the table is cleared before it needs ten."""
    bits = []
    for place, byte in enumerate(data):
        if place % 200 == 0:
            bits.append(f"{256:09b}")
        bits.append(f"{byte:09b}")
    text = "".join([*bits, f"{257:09b}"])
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def png(rows: npt.NDArray[Any], color_type: int, *, chunks: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """A PNG file of 8 or 16 bits: (H, W) or (H, W, C), with chunks between its header and its pixels."""
    height, width = rows.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, rows.dtype.itemsize * 8, color_type, 0, 0, 0)
    content = rows.astype(rows.dtype.newbyteorder(">")).reshape(height, -1)
    lines = b"".join(b"\0" + line.tobytes() for line in content)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
