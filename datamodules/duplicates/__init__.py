"""Equal and nearly equal images of a set."""

from datamodules.duplicates.find import crossing, find_duplicates

__all__ = ["crossing", "find_duplicates"]
