"""Listed images brought into memory, or made ready to be read batch by batch."""

from datamodules.loading.by_kind import known_content, load

__all__ = ["known_content", "load"]
