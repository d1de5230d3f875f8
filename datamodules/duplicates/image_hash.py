"""A hash of 63 bits of what an image shows, and the similarity of two images."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.fft import dct
from scipy.ndimage import gaussian_filter

SIDE = 64  # of the version on which images are compared
_WAVES = 8  # cosines along each axis; the constant one is left out
_LEAST_CONTRAST = 1.0  # standard deviation in grey levels or Hounsfield units; below it there is no picture
_SHIFT = 2  # pixels that near duplicates may be shifted by
_HOPELESS = 0.5  # correlation below which no shift is tried
_DETAIL = 0.5  # least correlation of what is left when the smooth part is taken away
_SMOOTH = 2.0  # pixels of 64: the scale above which structure is taken away
_BLOCK_BYTES = 1 << 25

_Pixels = npt.NDArray[Any]
_Float = npt.NDArray[np.float32]


def picture_hashes(images: Iterable[_Pixels]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Hash what images show.

    A bit is the sign of one coefficient of the cosine transform of the 64x64 version, 8x8 waves without the
    constant one. Brightness and contrast change no sign; noise, JPEG and small shifts change those of weak
    coefficients only.

    Args:
        images: M images, (H, W) or (H, W, 3), read once and in order.

    Returns:
        uint64, (M,); and whether each image has contrast, bool, (M,). The hash of one without means nothing.
    """
    found: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]] = []
    block: list[_Float] = []
    for pixels in images:
        grey = _grey(pixels)
        if block and (grey.shape != block[0].shape or len(block) * grey.nbytes >= _BLOCK_BYTES):
            found.append(_hash_block(np.stack(block)))
            block = []
        block.append(grey)
    if not block:
        return np.empty(0, np.uint64), np.empty(0, np.bool_)
    found.append(_hash_block(np.stack(block)))
    return np.concatenate([each for each, _ in found]), np.concatenate([each for _, each in found])


def _hash_block(images: _Float) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    waves = dct(np.eye(SIDE), axis=0, norm="ortho")[:_WAVES].astype(np.float32)
    small = _standard_size(images)
    coefficients = (waves @ small @ waves.T).reshape(len(images), -1)[:, 1:]
    bits = (coefficients > 0).astype(np.uint64) << np.arange(_WAVES * _WAVES - 1, dtype=np.uint64)
    return np.bitwise_or.reduce(bits, axis=1), small.std(axis=(1, 2)) >= _LEAST_CONTRAST


def similarity(one: _Pixels, other: _Pixels, enough: float = 1.0) -> float:
    """The normalised correlation of two images at 64x64.

    Where it is below `enough`, shifts of up to 2 pixels either way are tried on what both images show then.
    Images that agree only in their smooth part, such as two patches across the same straight edge, are not
    alike: fine structure must correlate too, each place weighted alike, or the result is 0.

    Args:
        one: (H, W) or (H, W, 3).
        other: The same; the size may differ.
        enough: The correlation that no shift needs to better.

    Returns:
        -1 to 1; 0 where an image is constant.
    """
    first, second = _grey(one), _grey(other)
    a, b = _standard_size(first[None])[0], _standard_size(second[None])[0]
    best = _correlation(a, b)
    if _HOPELESS <= best < enough:
        centre = _windows(first, shifts=(0,))[0]
        for shifted in _windows(second, shifts=tuple(range(-_SHIFT, _SHIFT + 1))):
            value = _correlation(centre, shifted)
            if value > best:
                best, a, b = value, centre, shifted
    return best if best < enough or _correlation(_detail(a), _detail(b)) >= _DETAIL else 0.0


def _grey(pixels: _Pixels) -> _Float:
    values = pixels.astype(np.float32)
    return values if values.ndim == 2 else np.asarray(values.mean(axis=2), np.float32)


def _standard_size(images: _Float) -> _Float:
    """(M, H, W) -> (M, 64, 64)."""
    rows, columns = _weights(images.shape[1], 0, 0), _weights(images.shape[2], 0, 0)
    return np.asarray(rows @ images @ columns.T, np.float32)


def _windows(image: _Float, shifts: tuple[int, ...]) -> _Float:
    """The image without a margin, shifted by each pair of whole pixels: (len(shifts) ** 2, 64, 64)."""
    rows, columns = (
        np.concatenate([_weights(length, _SHIFT, shift) for shift in shifts]) for length in image.shape
    )
    blocks = (rows @ image @ columns.T).reshape(len(shifts), SIDE, len(shifts), SIDE)
    windows: _Float = blocks.transpose(0, 2, 1, 3).reshape(-1, SIDE, SIDE)
    return windows


@lru_cache(maxsize=256)
def _weights(length: int, margin: int, shift: int) -> _Float:
    """Weights of `length` pixels in 64: a triangle as wide as a pixel of the coarser grid, (64, length)."""
    margin = min(margin, (length - 1) // 4)  # tiny images
    step = (length - 2 * margin) / SIDE
    centres = margin + shift + (np.arange(SIDE) + 0.5) * step - 0.5
    distances = np.abs(np.arange(length)[None, :] - centres[:, None]) / max(step, 1.0)
    weights: npt.NDArray[np.float64] = (
        np.maximum(1.0 - distances, 0.0) + 1e-12
    )  # never an empty row where a shift leaves the image
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _correlation(a: _Float, b: _Float) -> float:
    first, second = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((first * first).sum() * (second * second).sum()))
    return min(float((first * second).sum()) / norm, 1.0) if norm > _LEAST_CONTRAST**2 else 0.0


def _detail(image: _Float) -> _Float:
    """What is left without the smooth part, of equal strength everywhere."""
    fine = image - gaussian_filter(image, _SMOOTH)
    strength = np.sqrt(gaussian_filter(fine * fine, 2 * _SMOOTH))
    return np.asarray(fine / (strength + 0.1 * fine.std() + 1e-6), np.float32)
