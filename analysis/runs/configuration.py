"""What the configuration of a study's runs says beyond their recipes, such as the study's name."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stages.store import RunFolder
from stages.stored import read_yaml

UNNAMED = "default"
"""`logger.study` where the user gave no name."""


def read_configuration(folders: Iterable[str]) -> dict[str, Any] | None:
    """The configuration of the first run that has one; None if none can be read."""
    for folder in folders:
        try:
            content = read_yaml(RunFolder(Path(folder)).config)
        except (OSError, ValueError):
            continue
        if isinstance(content, dict):
            return content
    return None


def given_name(folders: Iterable[str]) -> str | None:
    """What the user called the study of some runs (`logger.study`), or None."""
    logger = (read_configuration(folders) or {}).get("logger")
    name = logger.get("study") if isinstance(logger, dict) else None
    return None if name in (None, UNNAMED) else str(name)
