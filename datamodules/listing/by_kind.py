"""A source of any kind, listed: the one step before loading that a plan needs too."""

import importlib

from datamodules.listing.check import counted_sides
from datamodules.listing.digest import generator_digest, packed_digest
from datamodules.listing.folder import list_folder
from datamodules.listing.listing import Listing, PackedListing
from datamodules.listing.manifest import list_manifest
from datamodules.packing.read import read_description
from datamodules.pixels.window import HOUNSFIELD_WINDOW, Window
from stages.errors import RelayError
from stages.source import Source


def list_source(source: Source, *, to_train: bool = True) -> Listing:
    """List a source, without decoding an image; give the result to `datamodules.loading.load`.

    Args:
        source: Where the images come from.
        to_train: Whether it is to be trained on. If not, it may lack classes on a side, have one class or
            one image, or a group on several sides.

    Returns:
        Its classes, numbers of images and identity.

    Raises:
        RelayError: The data cannot be trained on: see `list_folder` and `list_manifest`; there is no such
            set, or a window is given for a set of 8-bit images.

    Examples:
        >>> made = {"classes": 7, "train_images": 14, "val_images": 7, "size": 32, "seed": 0}
        >>> list_source(Source(kind="embedded", generator="dld", **made)).classes
        ('CON', 'GGO', 'HCM', 'RET', 'EMP', 'NOD', 'NOR')
    """
    match source.kind:
        case "folder":
            return list_folder(source, to_train=to_train)
        case "manifest":
            return list_manifest(source, to_train=to_train)
        case "packed":
            return _list_packed(source)
        case "embedded":
            return _list_generator(source)


def _list_generator(source: Source) -> Listing:
    assert source.classes is not None
    assert source.train_images is not None
    assert source.val_images is not None
    generator = importlib.import_module(f"datamodules.embedded.{source.generator}")
    classes = tuple(generator.class_names(source.classes))
    digest = generator_digest(source, generator.VERSION)
    return Listing(source, digest, classes, source.train_images, source.val_images)


def _list_packed(source: Source) -> PackedListing:
    assert source.root is not None
    description = read_description(source.root)
    window = _window(source, description["dtype"])
    samples, split = description["samples"], description["split"]
    train, val = samples["train"], samples["val"]
    if source.split == "ignore":
        train, val = train + val, 0
    train_images, val_images = counted_sides(source, source.root, train, val)
    return PackedListing(
        source,
        packed_digest(source, description["digest"], window),
        tuple(description["classes"]),
        train_images,
        val_images,
        description,
        window,
        test_images=samples["test"],
        provided=val > 0 and split["provided"] and split["fraction"] is None,
        notes=tuple(map(str, description.get("notes", ()))),
    )


def _window(source: Source, dtype: str) -> Window | None:
    if dtype != "uint8":
        return source.window or HOUNSFIELD_WINDOW
    if source.window is not None:
        raise RelayError(
            f"window is {list(source.window)}, but the set {source.root} has 8-bit images; remove it"
        )
    return None
