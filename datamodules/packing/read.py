"""A packed set read back: its manifest, and its pixels by memory map, from a disk or a bucket."""

import hashlib
import json
import os
import resource
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from datamodules.packing.layout import DESCRIPTION, FORMAT, MANIFEST, part_name
from datamodules.pixels.window import Window, window_to_uint8
from stages.errors import RelayError
from stages.machine.digest import check_seal

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PackedImages:
    """Images of a packed set that stay on disk and are mapped when asked for; small enough for workers.

    Attributes:
        root: The set's folder, or its address in a bucket.
        parts: int32, (N,), the part of each image.
        rows: int32, (N,), its row there.
        shape: Of an image: (H, W) or (H, W, 3).
        window: (low, high) of grey values mapped to 0..255, for sets of Hounsfield units.
    """

    root: str
    parts: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int32]
    shape: tuple[int, ...]
    window: Window | None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.rows)

    def __getitem__(self, index: int, /) -> npt.NDArray[np.uint8]:
        """One image: uint8, of `shape`.

        Raises:
            RelayError: Its part is missing or damaged.
        """
        return window_to_uint8(self._part(int(self.parts[index]))[self.rows[index]], self.window)

    def gather(self, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Copy some images out of their parts.

        Args:
            indices: Which ones.

        Returns:
            uint8, (len(indices), *shape).

        Raises:
            RelayError: A part is missing or damaged.
        """
        images = np.empty((len(indices), *self.shape), dtype=np.uint8)
        for here, stored in self.stored(indices):
            images[here] = window_to_uint8(stored, self.window)
        return images

    def stored(self, indices: Sequence[int]) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[Any]]]:
        """As `gather`, but values as they are stored: for each part, places in `indices`, and images."""
        chosen = np.asarray(indices, dtype=np.int64)
        parts = self.parts[chosen]
        for part in np.unique(parts):
            here = np.flatnonzero(parts == part)
            yield here, self._part(int(part))[self.rows[chosen[here]]]

    def _part(self, number: int) -> npt.NDArray[Any]:
        if number not in self._mapped:
            while len(self._mapped) >= _most_mapped():
                self._mapped.popitem(last=False)
            name = part_name(number)
            try:
                self._mapped[number] = np.load(local_file(self.root, name), mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise RelayError(
                    f"{name} of the packed set cannot be read ({error}); prepare it again"
                ) from None
        self._mapped.move_to_end(number)
        return self._mapped[number]

    @cached_property
    def _mapped(self) -> OrderedDict[int, npt.NDArray[Any]]:
        return OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Without the maps: a worker makes its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_mapped"}


def _most_mapped() -> int:
    """How many parts may be mapped at once: each holds a file open, and a process may have some only."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 4096 if allowed == resource.RLIM_INFINITY else max(8, allowed // 4)


def read_description(root: str) -> dict[str, Any]:
    """What `set.json` of a packed set holds.

    Raises:
        RelayError: There is none, it was changed, or it is of another format.
    """
    for last in (not is_remote(root), True):
        try:
            content: dict[str, Any] = json.loads(Path(local_file(root, DESCRIPTION)).read_text())
            form = content["format"]
            if form == FORMAT:
                check_seal(content)
            break
        except (OSError, ValueError, KeyError, TypeError) as error:
            if last:
                raise RelayError(
                    f"{root} is not a packed set ({error}); make one with python -m datamodules.prepare, let "
                    "an interrupted one finish, or copy a damaged one again"
                ) from None
            forget_fetched(root, DESCRIPTION)
    if form == 1 and not (content["domain"] == "dld" and content["split"]["provided"]):
        content["samples"]["test"] = content["groups"]["test"] = 0
    elif form == 1:
        raise RelayError(
            f"{root} was prepared by a version of Relay that merged a provider's test side into val. Prepare "
            "it again: the test side stays locked now; to evaluate on it, name its folder val"
        )
    elif form not in (2, FORMAT):
        raise RelayError(
            f"{root} is of format {form}; this version of Relay reads {FORMAT}. Prepare it again"
        )
    return content


def read_manifest(root: str) -> "pd.DataFrame":
    """A packed set's manifest: sample, class, group, split, part, place.

    Raises:
        RelayError: It cannot be read.
    """
    import pandas as pd  # half a second that a plan does without

    from stages.machine.cells import original

    columns: dict[str, Any] = dict.fromkeys(("sample", "class", "group", "split"), "str")
    columns |= dict.fromkeys(("part", "place"), "int32")
    try:
        manifest = pd.read_csv(
            local_file(root, MANIFEST), usecols=list(columns), dtype=columns, keep_default_na=False
        )
        return manifest.assign(
            **{name: manifest[name].map(original) for name in ("sample", "class", "group")}
        )
    except (OSError, ValueError) as error:
        raise RelayError(
            f"{MANIFEST} of the packed set {root} cannot be read ({error}); copy the set again, or prepare "
            "it again"
        ) from None


def local_file(root: str, name: str) -> str:
    """A file of a set on this machine; one in a bucket is fetched once.

    It goes to the folder that RELAY_FETCHED names, ~/.cache/relay/fetched if unset.

    Raises:
        RelayError: The bucket's protocol needs a package that is not installed.
        OSError: There is no such file.
    """
    if not is_remote(root):
        return str(Path(root).expanduser() / name)
    import fsspec

    address = f"filecache::{root.rstrip('/')}/{name}"
    try:
        fetched: str = fsspec.open_local(address, filecache={"cache_storage": str(_fetched(root))})
    except ImportError as error:
        raise RelayError(f"{root.partition('://')[0]}:// needs a package: {error}") from None
    return fetched


def is_remote(root: str) -> bool:
    """Whether a set lies in a bucket or on a server."""
    return "://" in root


def forget_fetched(root: str, name: str) -> None:
    """Remove a damaged file that was fetched, so that it is fetched again; a set on a disk is left alone."""
    if is_remote(root):
        with suppress(OSError):
            os.unlink(local_file(root, name))


def _fetched(root: str) -> Path:
    """A folder of its own for each set."""
    kept = Path(os.environ.get("RELAY_FETCHED", "~/.cache/relay/fetched")).expanduser()
    return kept / hashlib.sha256(root.rstrip("/").encode()).hexdigest()[:16]
