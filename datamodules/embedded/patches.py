"""Labelled lung patches as files, to evaluate on: `python -m datamodules.embedded.patches out=DIR`.

Written are evaluation images of the dld domain in class folders, a folder for each patient below them:
CLASS/PATIENT/NAME.tif, 32-bit Hounsfield units. With another seed than the training's (0), the patients are
others.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge
from PIL import Image

from datamodules.embedded.dld import generate
from datamodules.embedded.series import check_empty
from stages.console.arguments import key_values
from stages.console.output import output, refuse
from stages.errors import RelayError
from stages.parameters import described, execution, group, parameters, typed

_CLASSES = 7
_LEAST = 2 * _CLASSES  # of the side that is not written


def write_patches(folder: Path, images: int, size: int, seed: int) -> None:
    """Write patches in class folders.

    Args:
        folder: It is made; nothing may be in it.
        images: How many, in the proportions of the paper's evaluation set.
        size: Side of a patch, px.
        seed: Of the patients.

    Raises:
        RelayError: There is something in the folder, or a number is out of bounds.
    """
    check_empty(folder)
    drawn = generate(classes=_CLASSES, train_images=_LEAST, val_images=images, size=size, seed=seed)
    side = drawn.val
    pixels = side.images
    assert isinstance(pixels, np.ndarray)
    for patch, label, sample in zip(pixels, side.labels, side.samples, strict=True):
        place = folder / drawn.classes[label] / f"{sample}.tif"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(patch.astype(np.int32)).save(place)


@group
class PatchArguments:
    """What the command takes."""

    out: str = execution("Folder to write to; it is made, and must be empty if it is there.")
    images: Annotated[int, Ge(_LEAST)] = execution("Over all classes.", default=280)
    size: Annotated[int, Ge(8)] = execution("Rows and columns.", unit="pixels", default=32)
    seed: Annotated[int, Ge(0)] = execution("Which patients.", default=1)


def main(arguments: Sequence[str]) -> None:
    """Write the patches that the command line asks for.

    Raises:
        SystemExit: With one message, if that is not possible.
    """
    if {"-h", "--help"} & set(arguments):
        output().print("\n".join((str(__doc__), *described(PatchArguments))), soft_wrap=True)
        return
    try:
        given = key_values(arguments, list(parameters(PatchArguments)))
        if "out" not in given:
            raise RelayError("out is missing: python -m datamodules.embedded.patches out=DIR")
        options = PatchArguments(**typed(PatchArguments, given))
        write_patches(Path(options.out).expanduser(), options.images, options.size, options.seed)
    except (RelayError, OSError) as error:
        refuse(error)
    output().print(f"{options.images} patches: {options.out}", soft_wrap=True)


if __name__ == "__main__":
    main(sys.argv[1:])
