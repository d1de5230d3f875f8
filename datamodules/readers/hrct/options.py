"""The options of the HRCT reader."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from datamodules.pixels.window import HOUNSFIELD_WINDOW
from datamodules.readers.hrct.classes import SEVEN_PATTERNS, ClassMap, checked_class_map, plain_label
from datamodules.readers.hrct.order import Direction
from stages.checks import is_whole
from stages.errors import RelayError

Patient = Literal["tag", "folder"]


@dataclass(frozen=True)
class HrctOptions:
    """Options of the HRCT reader.

    Attributes:
        size: Side of a patch in pixels (paper, section 5.1: 32).
        stride: Step of the grid of patches in pixels.
        coverage: Least share of a patch inside regions of its class, above 0 and at most 1.
        mm_per_pixel: What slices are resampled to before patches are cut, None keeps their pixels. The
            paper's 32 pixels are about 20 mm, 0.625 mm a pixel.
        window: Hounsfield units that training maps to black and to white; the stored patches keep theirs.
        class_map: A provider's label -> class; None leaves its regions out. Capitals, spaces, hyphens and
            underscores do not matter. Anything else in a set is an unknown label.
        labels: A mask's value -> class or label of `class_map`; None leaves the value out. Needed for masks.
        patient: What tells patients apart in DICOM: the tag PatientID, or the first folder below the source
            (for sets whose PatientID is a placeholder). Files without that tag go by the folder.
        groups: CSV file with the columns path and group, for sets without patients: the path of a slice or of
            its folder below the source, with forward slashes and without the slice's suffix. Wins over
            `patient`.
        slice_order: Which end of a series is slice 1, for contours and boxes.
        spacing: mm between rows and between columns of slices that are image files, which do not say.
        unsigned_offset: What is added to unsigned 16-bit image files to make them Hounsfield units.
    """

    size: int = 32
    stride: int = 16
    coverage: float = 0.75
    mm_per_pixel: float | None = None
    window: tuple[float, float] = HOUNSFIELD_WINDOW
    class_map: ClassMap = field(default_factory=lambda: dict(SEVEN_PATTERNS))
    labels: Mapping[int, str | None] | None = None
    patient: Patient = "tag"
    groups: Path | None = None
    slice_order: Direction = "image_numbers"
    spacing: tuple[float, float] | None = None
    unsigned_offset: int | None = None

    def check(self) -> None:
        """Check all that can be checked without the source.

        Raises:
            RelayError: An option has a value that cannot be followed; names it.
        """
        for name, pixels in (("size", self.size), ("stride", self.stride)):
            if not is_whole(pixels) or pixels < 1:
                raise RelayError(f"{name} is {pixels}; set it to a number of pixels, 1 or more.")
        if not 0 < self.coverage <= 1:
            raise RelayError(f"coverage is {self.coverage}; set it to a share above 0 and at most 1.")
        if self.mm_per_pixel is not None and not 0.05 <= self.mm_per_pixel <= 20:
            raise RelayError(f"mm_per_pixel is {self.mm_per_pixel}; set it to some 0.3 to 2 mm, or to null.")
        if not (all(map(math.isfinite, self.window)) and self.window[0] < self.window[1]):
            raise RelayError(f"window is {list(self.window)}; set it to two numbers, the lower one first.")
        if self.spacing is not None and not all(math.isfinite(mm) and mm > 0 for mm in self.spacing):
            raise RelayError(f"spacing is {list(self.spacing)}; set it to millimetres above 0.")
        for name, value, known in (
            ("patient", self.patient, get_args(Patient)),
            ("slice_order", self.slice_order, get_args(Direction)),
        ):
            if value not in known:
                raise RelayError(f"{name} is {value!r}; set it to one of {', '.join(known)}.")
        checked_class_map(self.class_map)
        self.mask_classes()

    def mask_classes(self) -> dict[int, str | None]:
        """Value of a mask -> class, None: left out.

        Raises:
            RelayError: A value is below 1, or a class is not in `class_map`.
        """
        known = checked_class_map(self.class_map)
        by_value: dict[int, str | None] = {}
        for value, name in (self.labels or {}).items():
            if int(value) < 1:
                raise RelayError(f"labels has the value {value}; labels count from 1, 0 is outside.")
            if name is None or name in known.values():
                by_value[int(value)] = name
            elif plain_label(name) in known:
                by_value[int(value)] = known[plain_label(name)]
            else:
                raise RelayError(
                    f"labels gives {value} the class {name!r}, which class_map does not have; add it."
                )
        return by_value
