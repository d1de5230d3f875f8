"""Domains: where images come from, how they are read, and how they reach the network.

`StageData` is imported from `datamodules.base`: it needs Lightning, which takes seconds to load and which
identifying and preparing data does not need.
"""

from datamodules.domain import Domain, Split
from datamodules.identity import DataIdentity, data_identity
from datamodules.prepare_domain import prepare
from datamodules.prepared import PreparedDomain, PreparedSplit
from datamodules.source import Source
from datamodules.subset import stratified_subset

__all__ = [
    "DataIdentity",
    "Domain",
    "PreparedDomain",
    "PreparedSplit",
    "Source",
    "Split",
    "data_identity",
    "prepare",
    "stratified_subset",
]
