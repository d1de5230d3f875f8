"""Windowing: grey values of any type as bytes."""

from typing import Any

import numpy as np
import numpy.typing as npt

Window = tuple[float, float]
"""(low, high): the grey values that become 0 and 255."""

HOUNSFIELD_WINDOW: Window = (-1000.0, 400.0)
"""Hounsfield units from air to dense soft tissue; the paper gives no window."""


def default_window(dtype: np.dtype[Any], window: Window | None) -> Window:
    """The values of a type that become 0 and 255: of the window, or as `window_to_uint8` says."""
    return window or (HOUNSFIELD_WINDOW if dtype.kind == "i" else (0.0, 65535.0))


def window_to_uint8(pixels: npt.NDArray[np.generic], window: Window | None) -> npt.NDArray[np.uint8]:
    """Map grey values linearly to 0..255, low and below to 0, high and above to 255.

    Args:
        pixels: Any shape. uint8 is returned as it is.
        window: (low, high); None is 0..65535 for uint16 and -1000..400 (Hounsfield units) for int16.

    Returns:
        uint8 of the same shape, rounded to nearest.
    """
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, dtype=np.uint8)
    low, high = default_window(pixels.dtype, window)
    scaled = (pixels.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    levels: npt.NDArray[np.uint8] = np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)
    return levels
