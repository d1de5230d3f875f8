"""What a CT scanner makes of a slice of the embedded lung: pixel size, kernel, noise and calibration."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from datamodules.embedded.dld_structures import Array


@dataclass(frozen=True)
class Scan:
    """What differs from patient to patient before any disease.

    Attributes:
        spacing: Pixel size, millimetres.
        density: Attenuation of normal parenchyma at this inspiration, HU.
        noise: Standard deviation of the noise, HU (dose).
        grain: Correlation length of the noise, pixels (reconstruction kernel).
        blur: Standard deviation of the point spread, pixels (reconstruction kernel).
        enhancement: Strength of edge enhancement (reconstruction kernel).
        gain: Scale error of the calibration, about air.
        offset: Shift error of the calibration, HU.
    """

    spacing: float
    density: float
    noise: float
    grain: float
    blur: float
    enhancement: float
    gain: float
    offset: float


def draw_scan(rng: np.random.Generator) -> Scan:
    """Draw a patient's scan."""
    # Inspiration and dose differ so much between patients that grey levels alone stay poor.
    sharp = rng.random()  # from a soft-tissue to a lung kernel; sharper kernels show finer, stronger noise
    return Scan(
        spacing=rng.uniform(0.62, 0.70),
        density=float(np.clip(rng.normal(-855.0, 38.0), -915.0, -770.0)),
        noise=float(np.exp(rng.uniform(np.log(8.0), np.log(26.0)))) * (0.8 + 0.6 * sharp),
        grain=1.1 - 0.65 * sharp,
        blur=0.95 - 0.5 * sharp,
        enhancement=max(0.0, 1.2 * (sharp - 0.4)),
        gain=rng.normal(1.0, 0.03),
        offset=rng.normal(0.0, 15.0),
    )


def acquire(attenuation: Array, scan: Scan, noise: float, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Scan a slice: the kernel's blur and edge enhancement, its coloured noise, calibration, whole HU."""
    signal = ndimage.gaussian_filter(attenuation, scan.blur, mode="reflect")
    grain = ndimage.gaussian_filter(rng.standard_normal(attenuation.shape), scan.grain, mode="reflect")
    grain *= noise / grain.std()
    image = signal + grain
    image += scan.enhancement * (image - ndimage.gaussian_filter(image, 1.0, mode="reflect"))
    measured = (image + 1000.0) * scan.gain - 1000.0 + scan.offset
    scanned: npt.NDArray[np.int16] = np.clip(np.rint(measured), -1024, 3071).astype(np.int16)
    return scanned
