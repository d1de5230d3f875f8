"""Listed images brought into memory, or made ready to be read batch by batch."""

from datamodules.loading.by_kind import load

__all__ = ["load"]
