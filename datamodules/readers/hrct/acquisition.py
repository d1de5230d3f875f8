"""How the series were taken that patches are cut from: for the set's description, and a network's record."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from datamodules.readers.hrct.regions.drawn import Grouped
from datamodules.readers.hrct.sources.options import HrctOptions
from stages.record import AcquisitionRecord

_KERNEL = re.compile(r"[\w+./\\\-\[\]', ]{1,64}", re.ASCII)
_OTHER = "another one"  # text that is no kernel's name may be anything


def acquisition_of(usable: Sequence[Grouped], options: HrctOptions) -> AcquisitionRecord:
    """Spacing of the patches' pixels, slice thickness and kernels, over series.

    Args:
        usable: the series that patches are cut from.
        options: says whether these are resampled.
    """
    scans = [one.scan for one, _, _ in usable]
    spacings = [sum(scan.spacing) / 2 for scan in scans if scan.spacing is not None]
    if options.mm_per_pixel is not None:
        spacings = [options.mm_per_pixel]
    kernels = (name if _KERNEL.fullmatch(name) else _OTHER for scan in scans for name in scan.kernels)
    return AcquisitionRecord(
        spacing_mm=_reach(spacings),
        thickness_mm=_reach(max(scan.thickness) for scan in scans if scan.thickness),
        kernels=dict(sorted(Counter(kernels).items())),
    )


def _reach(values: Iterable[float]) -> list[float] | None:
    """The least, the median and the greatest; None of none."""
    found = sorted(map(float, values))
    return [found[0], float(median(found)), found[-1]] if found else None
