"""Which images a source consists of, and their identity, without decoding one."""

from datamodules.listing.by_kind import list_source
from datamodules.listing.hidden import Hiding, revealed
from datamodules.listing.listing import FileListing, ImageFile, Listing, PackedListing

__all__ = ["FileListing", "Hiding", "ImageFile", "Listing", "PackedListing", "list_source", "revealed"]
