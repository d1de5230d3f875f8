"""HRCT of the lungs: DICOM series and image slices with outlined regions, cut into patches."""

from datamodules.readers.hrct.patches import extract_patches
from datamodules.readers.hrct.reader import READER

__all__ = ["READER", "extract_patches"]
