"""A file that a person's table names, found below a root however the name was written."""

import os
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from urllib.parse import unquote

from datamodules.files.names import one_spelling
from stages.errors import RelayError

_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")  # C:\... or \\server\...
SPELLING = "found under another spelling (capitals, blanks, forms of letters)"
ENCODED = "found as written in an address (%20)"


class OutsideError(RelayError):
    """A path that is not below the root."""


class Finder:
    """Finds files below a root.

    A name is tried as it stands, then with forward slashes and without the signs of an address, then by
    `one_spelling`, folder by folder, where exactly one name fits. Absolute paths below the root are taken.

    Args:
        root: A folder.

    Attributes:
        noted: How many names were found in another way than they stand, by way.
    """

    def __init__(self, root: str) -> None:
        self.noted: Counter[str] = Counter()
        self._root = root
        self._above = {os.path.abspath(root), os.path.realpath(root)}
        self._folders: dict[str, dict[str, list[str]]] = {}

    def find(self, name: str) -> tuple[str, str, os.stat_result] | None:
        """A file: its path below the root, equal on every machine; its location; and its status.

        Args:
            name: In Unicode's NFC.

        Returns:
            None where there is no such file, or where several fit.

        Raises:
            OutsideError: The path is not below the root.
            RelayError: It may not be read.
        """
        tried = list(dict.fromkeys([name, name.replace("\\", "/"), unquote(name.replace("\\", "/"))]))
        paths = [path for each in tried if (path := self._relative(each)) is not None]
        if not paths:
            raise OutsideError(f"{name} is not below the root")
        for path in dict.fromkeys(paths):
            # The disk may hold the decomposed form of a name (copied from macOS).
            for form in dict.fromkeys((path, unicodedata.normalize("NFD", path))):
                status = _status(at := os.path.join(self._root, form))
                if status is not None:
                    return self._noting(name, path), at, status
        for path in dict.fromkeys(paths):
            location = self._spelled(path)
            if location is not None and (status := _status(location)) is not None:
                self.noted[SPELLING] += 1
                return self._noting(name, path), location, status
        return None

    def _noting(self, name: str, path: str) -> str:
        if "%" in name and "%" not in path:
            self.noted[ENCODED] += 1
        return path

    def _relative(self, name: str) -> str | None:
        if os.path.isabs(name) or _DRIVE.match(name):
            for above in self._above:
                for place in (os.path.normpath(name), os.path.realpath(name)):
                    if place.startswith(above + os.sep):
                        return place[len(above) + 1 :].replace(os.sep, "/")
            return None
        path = posixpath.normpath(name)
        return None if path == ".." or path.startswith("../") else path

    def _spelled(self, path: str) -> str | None:
        """The location whose parts have the path's spelling; None where none has, or several do."""
        location = self._root
        for part in path.split("/"):
            if location not in self._folders:
                by_spelling: defaultdict[str, list[str]] = defaultdict(list)
                try:
                    for entry in os.listdir(location):
                        by_spelling[one_spelling(entry)].append(entry)
                except OSError:
                    pass  # no such folder
                self._folders[location] = dict(by_spelling)
            fitting = self._folders[location].get(one_spelling(part), [])
            exact = [entry for entry in fitting if unicodedata.normalize("NFC", entry) == part]
            if len(exact or fitting) != 1:
                return None
            location = os.path.join(location, (exact or fitting)[0])
        return location


def _status(location: str) -> os.stat_result | None:
    try:
        return os.stat(location)
    except PermissionError as error:
        raise RelayError(f"{location} may not be read; change its permissions.") from error
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return None
