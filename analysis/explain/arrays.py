"""Named arrays in a file, read whole or not at all."""

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FOLDER = ".observed"
"""Below a store: what was computed of its networks."""

Arrays = dict[str, npt.NDArray[Any]]

DAMAGED = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading a file that is missing, cut short or changed raises."""


def read_arrays(file: Path) -> Arrays:
    """All arrays of an .npz file; nothing in it is unpickled.

    Raises:
        DAMAGED: one of these, if the file is not there or not whole.
    """
    # From memory: numpy leaves a file open that turns out to be no archive.
    with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
