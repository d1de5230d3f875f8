"""What a network takes from an image: backward paths, frequency responses, similarity of layers.

The public names are loaded when they are asked for: a report that draws what was computed does without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.explain.cka import linear_cka
    from analysis.explain.desalinet import backward
    from analysis.explain.frequency import frequency_response, reference_image
    from analysis.explain.stored_network import load_network

__all__ = ["backward", "frequency_response", "linear_cka", "load_network", "reference_image"]

_HOMES = {
    "backward": "desalinet",
    "frequency_response": "frequency",
    "linear_cka": "cka",
    "load_network": "stored_network",
    "reference_image": "frequency",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
