"""The options of the HRCT reader."""

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import Strict

from datamodules.pixels.window import HOUNSFIELD_WINDOW
from datamodules.readers.hrct.classes import SEVEN_PATTERNS, checked_class_map, plain_label
from datamodules.readers.hrct.scans.order import Direction
from stages.errors import RelayError
from stages.parameters import Number, Says, execution, group, recipe
from stages.source import Window

Patient = Literal["tag", "folder"]
_Millimetres = Annotated[tuple[Annotated[Number, Gt(0)], Annotated[Number, Gt(0)]], Strict(False)]
_Labels = Annotated[
    dict[int | str, str | None], Says("a class for each value or name, such as {1: GGO, 2: CON}")
]


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
        "A mask's value, or the name of a region: class, or label of class_map; "
        "null leaves it out. Needed for masks.",
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
        self.plain_class_map()

    def plain_class_map(self) -> dict[str, str | None]:
        """The class of each label, those of `labels` included; None: left out. As `plain_label` writes them.

        Raises:
            RelayError: A label has several classes, there are no classes, or `labels` has one that they lack.
        """
        known = self._known()
        named: dict[str, str | None] = {}
        for key, name in (self.labels or {}).items():
            if isinstance(key, str):
                label, meant = plain_label(key), self._class(key, name)
                others = (named, {} if self.class_map is None else known)
                if any(other.get(label, meant) != meant for other in others):
                    raise RelayError(f"labels or class_map give {key!r} two classes; keep one.")
                named[label] = meant
        return known | named

    def mask_classes(self) -> dict[int, str | None]:
        """Value of a mask -> class, None: left out.

        Raises:
            RelayError: A value is below 1, or a class is not in `class_map`.
        """
        values = {key: name for key, name in (self.labels or {}).items() if isinstance(key, int)}
        if values and min(values) < 1:
            raise RelayError(f"labels has the value {min(values)}; labels count from 1, 0 is outside.")
        return {value: self._class(value, name) for value, name in values.items()}

    def _known(self) -> dict[str, str | None]:
        return checked_class_map(SEVEN_PATTERNS if self.class_map is None else self.class_map)

    def _class(self, key: int | str, name: str | None) -> str | None:
        known = self._known()
        if name == "":
            raise RelayError(
                f"labels gives {key} no class; write a blank behind each colon, as in {{1: GGO}}, and null "
                "for what is left out."
            )
        if name is None or name in known.values():
            return name
        if plain_label(name) in known:
            return known[plain_label(name)]
        raise RelayError(f"labels gives {key} the class {name!r}, which class_map does not have; add it.")
