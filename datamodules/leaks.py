"""Pictures of a test set that are, equal or nearly so, among the other images too."""

import numpy as np
import numpy.typing as npt

from datamodules.domain import SIDES, Domain
from datamodules.duplicates import crossing, find_duplicates
from stages.console.words import counted

_NAMED = 3


def leaks(domain: Domain, sides: npt.NDArray[np.str_]) -> str | None:
    """What a person should know of a test set that leaks. A second per 3,000 images of 32 px, 16 s of 224 px.

    Args:
        domain: As loaded.
        sides: Side of each image in a run, as `datamodules.splits.divided_sides` gives it.

    Returns:
        A sentence; None where no picture leaks, there is no test set, or images are not in memory.
    """
    pool = [domain.side(name) for name in SIDES]
    images = [image for side in pool if isinstance(side.images, np.ndarray) for image in side.images]
    if "test" not in sides or len(images) < len(sides):
        return None
    found = crossing(find_duplicates(images), sides == "test")
    if not found:
        return None
    names = [sample for side in pool for sample in side.samples]
    example = " and ".join(names[image] for image in found[0][:_NAMED])
    return (
        f"the test set shares {counted(len(found), 'picture')}, equal or nearly so, with the other images, "
        f"such as {example}. Give copies one group, or take them out, else the test set is not of new images"
    )
