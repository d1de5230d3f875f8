"""Whether a packed set is the one that was prepared: read whole once, then known by sizes and times.

`set.json` has a digest of its own, that of each part, and that of the set, which is over parts and manifest.
What was found right is kept outside of the set, in the folder of the caches.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.domain import SIDES
from datamodules.packing.layout import DESCRIPTION, MANIFEST, part_name, set_digest
from datamodules.packing.read import forget_fetched, is_remote, local_file, read_manifest
from stages.errors import RelayError
from stages.machine.atomic import write_text
from stages.machine.digest import check_seal, file_digest, file_state, sealed
from stages.machine.resources import available_cores

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

_KEPT = "verified"
"""Folder in that of the caches: a file for each set, with the state of its files when they were right."""


def set_content(description: Mapping[str, Any]) -> str:
    """SHA-256 of the digests of a set's parts: its `Domain.content`."""
    return hashlib.sha256("\n".join(part["sha256"] for part in description["parts"]).encode()).hexdigest()


def verified_manifest(root: str, description: Mapping[str, Any], cache_dir: Path) -> "pd.DataFrame":
    """A set's manifest; refuses a set whose files are not those that were prepared.

    A damaged file that was fetched is fetched once more first. Where the folder of the caches cannot be
    written, each start reads the whole set again.

    Args:
        root: The set's folder, or its address.
        description: What its `set.json` holds.
        cache_dir: Folder of the caches.

    Raises:
        RelayError: A file is missing, was changed, or is another set's; names it.
    """
    digests = {part_name(part["number"]): str(part["sha256"]) for part in description["parts"]}
    kept = cache_dir / _KEPT / f"{hashlib.sha256(_address(root).encode()).hexdigest()[:16]}.json"
    state = _state(root, digests)
    if _is_kept(kept, description["digest"], state):
        return read_manifest(root)
    manifest = _right_manifest(root, description)
    with ThreadPoolExecutor(available_cores()) as pool:
        found = pool.map(partial(_is_right, root), digests, digests.values())
        wrong = [name for name, right in zip(digests, found, strict=True) if not right]
    if wrong:
        more = f" and those of {len(wrong) - 1} more parts" if len(wrong) > 1 else ""
        raise _damaged(root, wrong[0], f"its pixels{more} are not those that were prepared")
    _note_unknown(root, digests)
    with suppress(OSError):  # it is only a cache
        kept.parent.mkdir(parents=True, exist_ok=True)
        document = {"digest": description["digest"], "files": state}
        write_text(kept, json.dumps(sealed(document)))
    return manifest


def _damaged(root: str, name: str, why: str) -> RelayError:
    return RelayError(
        f"{name} of the prepared set {root} is damaged: {why}. Copy the set again, or prepare it again"
    )


def _address(root: str) -> str:
    return root.rstrip("/") if is_remote(root) else os.path.abspath(Path(root).expanduser())


def _state(root: str, parts: Mapping[str, str]) -> dict[str, list[int]]:
    found = {}
    for name in (DESCRIPTION, MANIFEST, *parts):
        try:
            found[name] = file_state(local_file(root, name))
        except OSError as error:
            raise _damaged(root, name, f"it cannot be read ({error.strerror or error})") from None
    return found


def _is_kept(kept: Path, digest: str, state: Mapping[str, Sequence[int]]) -> bool:
    try:
        found = json.loads(kept.read_text())
        check_seal(found)
    except (OSError, ValueError, AttributeError):
        return False
    return bool((found["digest"], found["files"]) == (digest, state))


def _right_manifest(root: str, description: Mapping[str, Any]) -> "pd.DataFrame":
    """The manifest that was prepared; refuses another, and counts in `set.json` that are not its own."""
    for last in (not is_remote(root), True):
        try:
            manifest = read_manifest(root)
            if set_digest(manifest, description["parts"]) == description["digest"]:
                break
            raise _damaged(root, MANIFEST, f"its rows are not those that {DESCRIPTION} was written for")
        except RelayError:
            if last:
                raise
            forget_fetched(root, MANIFEST)
    of_side = {side: manifest[manifest["split"] == side] for side in SIDES}
    counted = {
        "classes": sorted(set(manifest["class"])),
        "samples": {side: len(rows) for side, rows in of_side.items()},
        "groups": {side: int(rows["group"].nunique()) for side, rows in of_side.items()},
    }
    for key, value in counted.items():
        if description[key] != value:
            raise _damaged(root, DESCRIPTION, f"its {key} are not those of {MANIFEST}")
    return manifest


def _is_right(root: str, name: str, expected: str) -> bool:
    """Whether a part is as it was prepared."""
    try:
        if file_digest(local_file(root, name)) == expected:
            return True
        forget_fetched(root, name)
        return is_remote(root) and file_digest(local_file(root, name)) == expected
    except OSError as error:
        raise _damaged(root, name, f"it cannot be read ({error.strerror or error})") from None


def _note_unknown(root: str, parts: Mapping[str, str]) -> None:
    if is_remote(root):
        return
    found = {file.name for file in Path(root).expanduser().glob(part_name(0).replace("00000", "*"))}
    for name in sorted(found - parts.keys())[:1]:
        log.warning("%s: %s is no part of the set, and is not used.", root, name)
