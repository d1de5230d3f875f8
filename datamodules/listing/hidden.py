"""Names that may be a patient's, as a run writes them: digests under a key that is written nowhere.

Paths and groups of a person's own images are theirs, such as `DOE_JANE/01.png`. A run writes
`name_hash(name, names_key(listing))` of each. The key is a digest of all paths and sizes of the source: equal
on every machine, so that runs, folds and seeds can be compared by name. Who has a store alone would have to
know all paths and sizes to try one name; who has the images has the names anyway. Names of prepared sets are
digests already (`datamodules.packing`), those of generators are nobody's.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path

from datamodules.domain import SIDES, Domain, side_named
from datamodules.files.names import name_hash, normalised
from datamodules.listing.by_kind import list_source
from datamodules.listing.listing import FileListing, Listing
from datamodules.listing.masks import CONTAINERS
from stages.errors import RelayError
from stages.source import Source
from stages.stored import read_stored_bytes

_UNKNOWN = "<name>"
_SHORTEST, _SHORTEST_NUMBER = 3, 4  # letters, digits: shorter ones stand for nobody, and in any text
_DIGEST = re.compile(r"\b[0-9a-f]{16}\b")


def names_key(listing: FileListing) -> bytes:
    """The key of a source's names: SHA-256 of the paths and sizes of all its images. A second per million."""
    listed = hashlib.sha256(b"relay names\0")
    for file in listing.files:
        listed.update(f"{file.path}\0{file.size}\0".encode("utf-8", "surrogateescape"))
    return listed.digest()


def with_hidden_names(domain: Domain, listing: Listing) -> Domain:
    """The domain with digests in place of samples and groups, where these are a person's own names."""
    if not isinstance(listing, FileListing):
        return domain
    name_of = cache(partial(name_hash, key=names_key(listing)))  # an image without a group is its own

    def hidden(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(map(name_of, names))

    sides = (domain.side(name) for name in SIDES)
    return replace(
        domain.with_sides(
            *(replace(side, samples=hidden(side.samples), groups=hidden(side.groups)) for side in sides)
        ),
        copies=tuple(map(hidden, domain.copies)),
    )


@dataclass
class Hiding:
    """Takes a source's names out of what a run writes of its failure, and puts them back on a terminal.

    Attributes:
        source: The images.
        listing: Of them; None as long as they are not listed, or cannot be. Then names become `<name>`.
    """

    source: Source
    listing: Listing | None = None

    def hide(self, text: str) -> str:
        """The text with each path, folder, file and group of the source hidden.

        Names of classes and sides stay, and so do names of two letters or three digits that stand alone.
        """
        present = [name for name in self._names() if name in text and self._is_somebodys(name)]
        if not present:
            return text
        longest_first = map(re.escape, sorted(present, key=len, reverse=True))
        known = re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)")
        lines = text.split("\n")
        return "\n".join(line if _FRAME.match(line) else known.sub(self._digest, line) for line in lines)

    def reveal(self, text: str) -> str:
        """The text with the source's names in place of their digests."""
        if not _DIGEST.search(text) or not isinstance(self.listing, FileListing):
            return text
        name_of = {name_hash(name, self._key): name for name in self._names()}
        return _DIGEST.sub(lambda found: name_of.get(found[0], found[0]), text)

    @cached_property
    def _key(self) -> bytes:
        assert isinstance(self.listing, FileListing)
        return names_key(self.listing)

    def _digest(self, found: re.Match[str]) -> str:
        return name_hash(found[0], self._key) if isinstance(self.listing, FileListing) else _UNKNOWN

    def _names(self) -> set[str]:
        """Paths, folders, files, groups, as they are and as messages quote them; also what is nobody's."""
        if isinstance(self.listing, FileListing):
            of_files = {(file.path, file.location, file.group) for file in self.listing.files}
            paths = {name for names in of_files for name in names}
        elif self.listing is None and self.source.kind in ("folder", "manifest"):
            paths = set(_names_there(self.source))
        else:
            return set()
        root = os.path.expanduser(str(self.source.root)).rstrip("/") + "/"
        names = set(_with_parts(path.removeprefix(root) for path in paths))
        return names | {repr(name)[1:-1] for name in names if not name.isprintable() or "'" in name}

    def _is_somebodys(self, name: str) -> bool:
        shortest = _SHORTEST_NUMBER if name.isdigit() else _SHORTEST
        known = () if self.listing is None else self.listing.classes
        return (
            len(name) >= shortest
            and name not in known
            and name.lower() not in CONTAINERS
            and side_named(name) is None
        )


_FRAME = re.compile(r'\s*File ".*", line \d+, in ')  # of a traceback


def revealed(text: str, source: Source) -> str:
    """What a job says, for this user's terminal: with the names in place of their digests."""
    if not _DIGEST.search(text):
        return text
    with suppress(RelayError):  # the images have changed since: digests stay
        return Hiding(source, list_source(source)).reveal(text)
    return text


def _with_parts(paths: Iterable[str]) -> Iterator[str]:
    """Paths, the folders above them, and the names of all of them, with and without a suffix."""
    folders = set()
    for path in paths:
        folder, _, name = path.replace("\\", "/").rpartition("/")
        folders.add(folder)
        yield from (path, name, os.path.splitext(name)[0])
    for folder in folders:
        steps = folder.split("/")
        yield from steps
        yield from ("/".join(steps[: place + 1]) for place in range(len(steps)))


def _names_there(source: Source) -> Iterator[str]:
    """All names that lie below the root, and all cells of the source's tables."""
    root = os.path.expanduser(str(source.root))
    given = [table for table in (source.manifest, source.groups) if table]
    tables = [os.path.join(root, os.path.expanduser(table)) for table in given]
    for folder, _, files in os.walk(root):
        for name in files:
            location = os.path.join(folder, name)
            if location not in tables:
                yield os.path.relpath(location, root)
                yield normalised(os.path.relpath(location, root))
    for table in tables:
        with suppress(OSError):
            content = read_stored_bytes(Path(table))
            wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
            for cell in re.split(r'[,;\t\r\n"]', content.decode("utf-16" if wide else "utf-8", "replace")):
                yield cell.strip()
