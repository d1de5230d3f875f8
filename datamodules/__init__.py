"""Domains: where images come from, how they are read, and how they reach the network.

`StageData` is imported from `datamodules.batches.stage_data`: it needs Lightning, which takes seconds to load
and which listing and preparing data does not need.
"""

from datamodules.domain import Domain, Side
from datamodules.listing import Listing, list_source
from datamodules.loading import load
from stages.source import Source

__all__ = ["Domain", "Listing", "Side", "Source", "list_source", "load"]
