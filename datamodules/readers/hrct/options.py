"""The options of the HRCT reader."""

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import Strict

from datamodules.pixels.window import HOUNSFIELD_WINDOW
from datamodules.readers.hrct.classes import SEVEN_PATTERNS, checked_class_map, plain_label
from datamodules.readers.hrct.order import Direction
from stages.errors import RelayError
from stages.parameters import Number, Says, execution, group, recipe
from stages.source import Window

Patient = Literal["tag", "folder"]
_Millimetres = Annotated[tuple[Annotated[Number, Gt(0)], Annotated[Number, Gt(0)]], Strict(False)]
_Labels = Annotated[dict[int, str | None], Says("a class for each value, such as {1: GGO, 2: CON}")]


@group
class HrctOptions:
    """How HRCT slices with regions are read and cut into patches."""

    size: Annotated[int, Ge(1)] = recipe("Side of a patch (paper, section 5.1: 32).", unit="px", default=32)
    stride: Annotated[int, Ge(1)] = recipe("Step of the grid of patches.", unit="px", default=16)
    coverage: Annotated[Number, Gt(0), Le(1)] = recipe(
        "Least share of a patch inside regions of its class.", default=0.75
    )
    mm_per_pixel: Annotated[Number, Ge(0.05), Le(20)] | None = recipe(
        "What slices are resampled to before patches are cut; null keeps their pixels. The paper's 32 pixels "
        "are about 20 mm, 0.625 mm per pixel.",
        unit="mm",
        default=None,
    )
    window: Window = recipe(
        "What training maps to black and to white; the stored patches keep their values.",
        unit="HU",
        default=HOUNSFIELD_WINDOW,
    )
    class_map: Annotated[dict[str, str | None], Says("a class for each label")] | None = recipe(
        "A provider's label: class, such as {healthy: NOR}; a label with null is left out. Capitals, spaces, "
        "hyphens and underscores do not matter; any other label is an error. null: the seven patterns.",
        default=None,
    )
    labels: _Labels | None = recipe(
        "A mask's value: class, or label of class_map; a value with null is left out. Needed for masks.",
        default=None,
    )
    patient: Patient = recipe(
        "What identifies patients in DICOM: the tag PatientID, or the first folder below the source (for "
        "sets whose PatientID is a placeholder). Files without that tag go by the folder.",
        default="tag",
    )
    groups: Annotated[Path, Strict(False), Says("a path")] | None = execution(
        "CSV file with the columns path and group, for sets without patients: the path of a slice or of its "
        "folder below the source, with forward slashes and without the slice's suffix. Wins over patient.",
        default=None,
    )
    slice_order: Direction = recipe(
        "Which end of a series is slice 1, for contours and boxes.", default="image_numbers"
    )
    spacing: _Millimetres | None = recipe(
        "Step between rows and between columns of slices that are image files, which do not say.",
        unit="mm",
        default=None,
    )
    unsigned_offset: int | None = recipe(
        "What is added to unsigned 16-bit image files to make them Hounsfield units, such as -1024.",
        unit="HU",
        default=None,
    )

    def __post_init__(self) -> None:
        self.mask_classes()

    def plain_class_map(self) -> dict[str, str | None]:
        """The class of each label, None: left out; labels as `plain_label` writes them.

        Raises:
            RelayError: Two spellings of a label have different classes, or there are no classes.
        """
        return checked_class_map(SEVEN_PATTERNS if self.class_map is None else self.class_map)

    def mask_classes(self) -> dict[int, str | None]:
        """Value of a mask -> class, None: left out.

        Raises:
            RelayError: A value is below 1, or a class is not in `class_map`.
        """
        known = self.plain_class_map()
        by_value: dict[int, str | None] = {}
        for value, name in (self.labels or {}).items():
            if value < 1:
                raise RelayError(f"labels has the value {value}; labels count from 1, 0 is outside.")
            if name is None or name in known.values():
                by_value[value] = name
            elif plain_label(name) in known:
                by_value[value] = known[plain_label(name)]
            else:
                raise RelayError(
                    f"labels gives {value} the class {name!r}, which class_map does not have; add it."
                )
        return by_value
