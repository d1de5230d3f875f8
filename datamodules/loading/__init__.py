"""Listed images brought into memory, or made ready to be read batch by batch."""

from datamodules.loading.by_kind import check_unchanged, known_content, load

__all__ = ["check_unchanged", "known_content", "load"]
