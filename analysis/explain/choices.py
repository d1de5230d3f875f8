"""The names that settings of the analyses can take, apart from the code that loads torch."""

from typing import Literal

Rule = Literal["desalinet", "saliency", "deconvnet"]
"""Of a backward path; see `analysis.explain.reverses`."""

Norm = Literal["paper", "unit"]
"""Of a reference image; see `analysis.explain.frequency.reference_image`."""

Directions = Literal["grid", "cosine"]
"""Of reference images; see `analysis.explain.frequency.reference_image`."""

Precision = Literal["float32", "bfloat16"]
"""Of the arithmetic of a frequency response."""
