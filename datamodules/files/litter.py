"""Names that systems, network drives and tools leave among a person's files: no images, no tables.

The one place that knows them. What is dropped is counted by kind, so that a note can name it.
"""

import re
from collections import Counter
from fnmatch import translate

Dropped = Counter[str]
"""How often each kind was passed over."""

# Kind -> patterns of the whole name of a file or folder, in any case. The first that matches is the kind.
_KINDS: dict[str, tuple[str, ...]] = {
    "macOS (._*, .DS_Store, __MACOSX)": (
        *(
            "._*",
            ".DS_Store",
            "__MACOSX",
            ".AppleDouble",
            ".AppleDB",
            ".AppleDesktop",
            ".localized",
            ".apdisk",
        ),
        *(".fseventsd", ".Spotlight-V100", ".DocumentRevisions-V100", ".TemporaryItems", ".VolumeIcon.icns"),
        *("Icon\r", "Temporary Items", "Network Trash Folder"),
    ),
    "Windows (Thumbs.db, desktop.ini)": (
        *(
            "Thumbs.db*",
            "ehthumbs*.db",
            "desktop.ini",
            "$RECYCLE.BIN",
            "RECYCLER",
            "System Volume Information",
        ),
        *("*:Zone.Identifier", "Picasa.ini", "ZbThumbnail.info"),
    ),
    "network drives (@eaDir, #recycle)": (
        *("@eaDir", "#recycle", "#snapshot", ".snapshot", ".snapshots", "~snapshot", "@Recycle", ".@__thumb"),
        *("@Recently-Snapshot", "@tmp", "*@SynoEAStream", "*@SynoResource", ".nfs*", "lost+found"),
    ),
    "wastebaskets (.Trashes)": (".Trash", ".Trashes", ".Trash-*"),
    "lock and temporary files (~$*, *.tmp)": (
        *("~$*", ".~lock.*#", "*.tmp", "*~", "*.sw[op]", "*.part", "*.partial", "*.crdownload", ".dropbox*"),
    ),
    "tools (.git, .ipynb_checkpoints)": (
        *(".git", ".svn", ".hg", ".ipynb_checkpoints", "__pycache__", ".vscode", ".idea"),
    ),
    "hidden files (names that start with a dot)": (".*",),
}
_LITTER = re.compile(
    "|".join(f"({'|'.join(map(translate, patterns))})" for patterns in _KINDS.values()), re.IGNORECASE
)


def is_litter(name: str, dropped: Dropped | None = None) -> bool:
    """Whether a file or folder is litter by its name; then its kind is counted in `dropped`."""
    found = _LITTER.match(name)
    if found is not None and dropped is not None:
        dropped[list(_KINDS)[(found.lastindex or 1) - 1]] += 1
    return found is not None


def listed(dropped: Dropped) -> str:
    """What was dropped, for a note: `2 of macOS (._*, .DS_Store, __MACOSX), 1 of ...`."""
    return ", ".join(f"{count} of {kind}" for kind, count in sorted(dropped.items()))


def in_litter(path: str, dropped: Dropped | None = None) -> bool:
    """Whether a part of a path, with forward slashes, is litter: for the members of archives."""
    return any(is_litter(name, dropped) for name in path.split("/"))
