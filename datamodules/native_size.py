"""The size that listed images have, beside that at which the network takes them, before one is decoded."""

from collections.abc import Callable, Iterable

from datamodules.faults import UnusableError
from datamodules.listing.listing import FileListing, Listing, PackedListing
from datamodules.pixels.image_file import open_image, quiet_pillow
from stages.config import source_of
from stages.plan import StageRun
from stages.source import Source


def native_size(listing: Listing) -> tuple[int, int] | None:
    """Height and width of a source's images in pixels; None where its first image cannot be read.

    Of files it is `decode_size`, or what the first file's header says: all have one size then.
    """
    source = listing.source
    if isinstance(listing, PackedListing):
        height, width = listing.description["shape"][:2]
        return height, width
    side = source.size if source.kind == "embedded" else source.decode_size
    if side is not None:
        return side, side
    if not isinstance(listing, FileListing):
        return None
    try:
        with quiet_pillow(), open_image(listing.files[0].location) as image:
            return image.height, image.width
    except (UnusableError, IndexError):
        return None


def size_notes(runs: Iterable[StageRun], listing_of: Callable[[Source], Listing]) -> list[str]:
    """A line for all stages whose images are trained at their own size, and one for each other stage."""
    stages = {(run.stage, run.recipe.data.image_size): run for run in runs}
    kept: dict[int, list[str]] = {}
    notes = []
    for (stage, size), run in stages.items():
        native = native_size(listing_of(source_of(run.config)))
        if native == (size, size):
            kept.setdefault(size, []).append(stage)
        elif native is not None:
            height, width = native
            least = min(native)
            how = "reduced" if least > size else "enlarged" if least < size else "squeezed"
            hint = f"; data.image_size={least} keeps their detail" if least > size else ""
            trained = f"{size} x {size} px (data.image_size={size})"
            notes.append(f"{stage}: images of {height} x {width} px, {how} to {trained}{hint}")
    same = [f"{', '.join(names)}: images of {size} x {size} px" for size, names in kept.items()]
    return [*same, *notes]
