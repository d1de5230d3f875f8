"""Reading small files that somebody else may have written: a bound on their size, and plain data only.

A pipe in place of a file would wait for ever, and a device would never end.
"""

import errno
import os
import stat
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 64 * 1024**2  # of a text file: a record of a thousand classes has 20 MB

_MOST_VALUES = 1_000_000  # of a YAML file once its references are written out

# libyaml where PyYAML was built with it: ten times as fast, and as safe.
_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def open_file(path: str | os.PathLike[str], *, follow: bool = True) -> BufferedReader:
    """Open a file to read; never wait for a writer, as opening a pipe does.

    Args:
        path: the file.
        follow: whether it may be a link.

    Raises:
        OSError: if it is no file, or cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags | (0 if follow else getattr(os, "O_NOFOLLOW", 0)))
    if not stat.S_ISREG(mode := os.fstat(descriptor).st_mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    return os.fdopen(descriptor, "rb")


def read_stored(path: Path, most: int = MOST_BYTES, *, follow: bool = True) -> str:
    """The text of a file, UTF-8.

    Raises:
        OSError: as `read_stored_bytes`.
        UnicodeDecodeError: if it is no text.
    """
    return read_stored_bytes(path, most, follow=follow).decode()


def read_stored_bytes(path: Path, most: int = MOST_BYTES, *, follow: bool = True) -> bytes:
    """The content of a file.

    Raises:
        OSError: if it is no file, is larger than `most` bytes, or cannot be read.
    """
    with open_file(path, follow=follow) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes, which no such file has", str(path))
    return content


def read_yaml(path: Path) -> Any:
    """What a YAML file holds: mappings, lists, numbers and text. `${...}` in a text is text.

    Raises:
        OSError: as `read_stored`.
        ValueError: if it is not YAML, or grows beyond measure when its references are written out.
    """
    try:
        content = yaml.load(read_stored_bytes(path), Loader=_SafeLoader)
        if _values(content, _MOST_VALUES) > _MOST_VALUES:
            raise ValueError("its references stand for more values than any such file has")
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error).partition("\n")[0]) from None
    return content


def _values(content: Any, most: int) -> int:
    """How many values there are; counting ends soon after `most`."""
    found, waiting = 0, [content]
    while waiting and found <= most:
        value = waiting.pop()
        found += 1
        if isinstance(value, Mapping):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value
    return found
