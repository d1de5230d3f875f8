"""Reading the safetensors format, which is data by construction: a header in JSON, then numbers."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from stages.errors import RelayError


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Raises:
        RelayError: It is cut short, damaged or of another format.
    """
    try:
        with safe_open(str(file), framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError, ValueError, AttributeError) as error:
        raise RelayError(
            f"checkpoint {file} is cut short, damaged or not in the safetensors format "
            f"({file.stat().st_size} bytes; {error}); copy or download it again"
        ) from None
