"""The names of a source's images, where they are known before an image is decoded."""

import numpy as np

from datamodules.listing.listing import FileListing, Listing, PackedListing
from datamodules.packing.read import read_manifest
from datamodules.splits import Names


def listed_names(listing: Listing) -> Names | None:
    """Classes, groups and sides of all images; None for a generator's, which draws them with the images.

    Raises:
        RelayError: The manifest of a packed set cannot be read.
    """
    if isinstance(listing, FileListing):
        files = listing.files
        return Names(
            listing.classes,
            np.array([file.label for file in files], dtype=np.int64),
            np.array([file.group for file in files]),
            np.array([file.side for file in files]),
        )
    if isinstance(listing, PackedListing):
        manifest = read_manifest(str(listing.source.root))
        sides = manifest["split"].to_numpy(str)
        label_of = {name: label for label, name in enumerate(listing.classes)}
        return Names(
            listing.classes,
            np.array([label_of[name] for name in manifest["class"]], dtype=np.int64),
            manifest["group"].to_numpy(str),
            np.where(sides == "val", "train", sides) if listing.source.split == "ignore" else sides,
        )
    return None
