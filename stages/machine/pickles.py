"""What checkpoints ask for, seen without unpickling them: names in their pickles, sizes in their archives."""

import pickletools
import re
import zipfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from stages.stored import open_file


def room_fault(path: Path) -> str | None:
    """Why a checkpoint would take more memory than its file has; None if it would not."""
    try:
        with open_file(path) as file:
            zipped = zipfile.is_zipfile(file)
        if zipped:
            with zipfile.ZipFile(path) as archive:
                check_archive(path, archive)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        return getattr(error, "strerror", None) or str(error)
    names = makes_room(pickled_names(path, zipped=zipped))
    return f"it asks for {', '.join(sorted(names))}" if names else None


def check_archive(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse an archive that holds more than its file: compressed, or with entries that share bytes.

    Raises:
        ValueError: which of the two.
    """
    entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("it was compressed")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ValueError("its entries claim more bytes than the file has")


def makes_room(names: Collection[str]) -> set[str]:
    """Those of the names in a pickle that take memory by a number, and that torch calls all the same."""
    return {name for name in names if name.rpartition(".")[2] == "bytearray"}


def pickled_names(file: Path, *, zipped: bool) -> set[str]:
    """Every `module.name` that the pickles at the start of a file refer to, read without unpickling."""
    names: set[str] = set()
    try:
        if zipped:
            with zipfile.ZipFile(file) as archive:
                for entry in archive.namelist():
                    if entry.endswith("data.pkl"):
                        with archive.open(entry) as stream:
                            names.update(_globals(pickletools.genops(stream)))
        else:
            with file.open("rb") as stream:
                for _ in range(5):  # the old format: a magic number, a version, the machine, the object, keys
                    names.update(_globals(pickletools.genops(stream)))
    except Exception:  # past the end of what is a pickle; what was found until there stands
        return names
    return names


def _globals(operations: Iterable[tuple[pickletools.OpcodeInfo, object, int | None]]) -> Iterator[str]:
    """The globals among a pickle's operations; STACK_GLOBAL takes the two strings pushed last."""
    strings, memo = ["?", "?"], dict[object, str]()
    for operation, argument, _ in operations:
        match operation.name:
            case "GLOBAL" | "INST":
                if re.fullmatch(r"[A-Za-z_][\w.]* [A-Za-z_][\w.]*", str(argument)):
                    yield str(argument).replace(" ", ".")
            case "STACK_GLOBAL":
                yield ".".join(strings)
            case "MEMOIZE":
                memo[len(memo)] = strings[1]
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = strings[1]
            case "GET" | "BINGET" | "LONG_BINGET":
                strings = [strings[1], memo.get(argument, "?")]
            case _ if isinstance(argument, str):
                strings = [strings[1], argument]
