"""Files of arrays, tables and plain data, written whole or not at all and read without unpickling."""

import hashlib
import io
import json
import logging
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.machine.atomic import write_bytes

log = logging.getLogger(__name__)

Arrays = dict[str, npt.NDArray[Any]]

Floats = npt.NDArray[Any]

MOST_BYTES = 1 << 30
"""Of a file, and of its arrays unpacked."""

_read_header = np.lib.format.read_array_header_1_0

DAMAGED = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""The errors of reading a file that is missing, cut short or changed; RuntimeError is zipfile's too."""

_SEAL = "$seal"

_PLAIN = "plain"
_ARRAY, _BYTES, _TABLE = "$array", "$bytes", "$table"  # the only key of what stands for one


def read_arrays(file: Path) -> Arrays:
    """All arrays of an .npz file.

    Raises:
        DAMAGED: One of these, if the file is not there or not whole.
    """
    if not file.is_file() or file.stat().st_size > MOST_BYTES:
        raise ValueError(f"it is not an ordinary file of {MOST_BYTES} bytes at most")
    # From memory: numpy leaves a file open that turns out not to be an archive.
    content = io.BytesIO(file.read_bytes())
    _check_sizes(content)
    with np.load(content, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    if str(arrays.pop(_SEAL, "")) != _seal(file, arrays):
        raise ValueError("it was changed, or stands under another name than it was written under")
    return arrays


def _check_sizes(content: io.BytesIO) -> None:
    """Refuse arrays that say they have more bytes than they have, or all of them too many.

    Raises:
        ValueError: One of these, before memory is taken for them.
    """
    with zipfile.ZipFile(content) as archive:
        left = MOST_BYTES
        for member in archive.infolist():
            left -= member.file_size
            if left < 0:
                raise ValueError(f"its arrays have more than {MOST_BYTES} bytes")
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_2_0 if version > (1, 0) else _read_header
                shape, _, dtype = read(stream)
            if math.prod(shape) * dtype.itemsize > member.file_size:
                raise ValueError(f"its array {member.filename} is cut short")
    content.seek(0)


def write_arrays(file: Path, arrays: Arrays, *, compressed: bool = False) -> None:
    """Write arrays as an .npz file; equal arrays give equal bytes. The folder is made if it is not there.

    A digest of their values and of the file's name goes with them: the name says what they are of.
    """
    content = io.BytesIO()
    named: dict[str, Any] = {**arrays, _SEAL: np.asarray(_seal(file, arrays))}
    (np.savez_compressed if compressed else np.savez)(content, **named)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, content.getvalue())


def keep(write: Callable[[], object], folder: Path) -> None:
    """Write what can be made again; a store that is only read is no error, and is warned of once.

    Args:
        write: writes a file.
        folder: of the store's explanations.
    """
    try:
        write()
    except OSError as error:
        _warn_not_kept(folder, error.strerror or str(error))


@cache
def _warn_not_kept(folder: Path, why: str) -> None:
    log.warning("What is computed is not kept in %s, and will be computed again: %s", folder, why)


def write_tree(file: Path, tree: Mapping[str, Any]) -> None:
    """Write nested dicts and lists of arrays, tables, bytes and JSON values.

    Args:
        file: An .npz file, replaced as a whole.
        tree: Keys are text; tuples come back as lists.
    """
    plain, arrays = _split(tree)
    write_arrays(file, {_PLAIN: np.asarray(json.dumps(plain)), **arrays}, compressed=True)


def read_tree(file: Path) -> Any:
    """What `write_tree` wrote.

    Raises:
        DAMAGED: One of these, or KeyError, if the file is not there or not whole.
    """
    arrays = read_arrays(file)
    return _joined(json.loads(str(arrays[_PLAIN])), arrays)


def tree_digest(tree: Mapping[str, Any]) -> str:
    """SHA-256 of a tree as `write_tree` takes it; the same before it was written and after it was read."""
    plain, arrays = _split(tree)
    return _digest(json.dumps(plain, sort_keys=True), arrays)


def _seal(file: Path, arrays: Arrays) -> str:
    return _digest(file.name, arrays)


def _digest(text: str, arrays: Arrays) -> str:
    digest = hashlib.sha256(text.encode())
    for name, values in sorted(arrays.items()):
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode() + values.tobytes())
    return digest.hexdigest()


def _split(tree: Mapping[str, Any]) -> tuple[Any, Arrays]:
    """The tree as JSON data, and its arrays by the names that stand in their places."""
    arrays: Arrays = {}

    def plain(value: Any, path: str) -> Any:
        if isinstance(value, np.ndarray):
            arrays[path] = value
            return {_ARRAY: path}
        if isinstance(value, bytes):
            arrays[path] = np.frombuffer(value, dtype=np.uint8)
            return {_BYTES: path}
        if isinstance(value, pd.DataFrame):
            return {_TABLE: value.to_dict("split", index=False)}
        if isinstance(value, Mapping):
            return {name: plain(part, f"{path}/{name}".lstrip("/")) for name, part in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [plain(part, f"{path}/{place}") for place, part in enumerate(value)]
        return value

    return plain(tree, ""), arrays


def _joined(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, list):
        return [_joined(part, arrays) for part in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_ARRAY}:
        return arrays[value[_ARRAY]]
    if value.keys() == {_BYTES}:
        return arrays[value[_BYTES]].tobytes()
    if value.keys() == {_TABLE}:
        return pd.DataFrame(value[_TABLE]["data"], columns=value[_TABLE]["columns"])
    return {name: _joined(part, arrays) for name, part in value.items()}
