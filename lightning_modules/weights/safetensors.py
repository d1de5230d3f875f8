"""Reading the safetensors format, which is data by construction: a header in JSON, then numbers.

The format is three lines long (github.com/huggingface/safetensors, "Format"): the header's length in 8 bytes,
the header {name: {"dtype", "shape", "data_offsets"}}, the bytes. The package that writes it is not needed.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.errors import RelayError
from stages.stored import open_file

_DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8},
    **{"U8": torch.uint8, "BOOL": torch.bool},
}
_LENGTH = 8
_LONGEST_HEADER = 100_000_000  # the format's own bound


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, in the order of their numbers.

    Raises:
        RelayError: It is cut short, damaged or of another format, or has numbers that no weight has.
    """
    size = file.stat().st_size
    with open_file(file) as stream:
        length = int.from_bytes(stream.read(_LENGTH), "little")
        try:
            if not 2 <= length <= min(_LONGEST_HEADER, size - _LENGTH):
                raise ValueError(f"its header would have {length} bytes")
            header = json.loads(stream.read(length))
            entries = {name: it for name, it in header.items() if name != "__metadata__"}
            entries = dict(sorted(entries.items(), key=lambda entry: entry[1]["data_offsets"]))
            end = 0
            for name, entry in entries.items():
                _check(name, entry, end)
                end = entry["data_offsets"][1]
            if end != size - _LENGTH - length:
                raise ValueError(f"it has {size - _LENGTH - length} bytes of numbers instead of {end}")
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
            raise RelayError(
                f"checkpoint {file} is cut short, damaged or not in the safetensors format ({size} bytes; "
                f"{error}); copy or download it again"
            ) from None
        strange = [f"{name} ({it['dtype']})" for name, it in entries.items() if it["dtype"] not in _DTYPES]
        if strange:
            raise RelayError(
                f"checkpoint {file} has tensors that cannot be weights: {', '.join(strange[:10])}; save them "
                f"as one of {', '.join(_DTYPES)}"
            )
        return {name: _tensor(stream.read(_bytes(entry)), entry) for name, entry in entries.items()}


def _check(name: str, entry: dict[str, Any], begin: int) -> None:
    """Refuse an entry that does not begin where the one before ended, or whose shape is not its size."""
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not all(isinstance(number, int) and number >= 0 for number in (*shape, *offsets)):
        raise ValueError(f"{name} has the shape {shape} at {offsets}")
    if offsets[0] != begin or offsets[1] < begin:
        raise ValueError(f"{name} begins at {offsets[0]} instead of {begin}")
    kind = _DTYPES.get(entry["dtype"])
    if kind is not None and math.prod(shape) * kind.itemsize != _bytes(entry):
        raise ValueError(f"{name} of shape {shape} has {_bytes(entry)} bytes")


def _bytes(entry: dict[str, Any]) -> int:
    begin, end = entry["data_offsets"]
    return int(end - begin)


def _tensor(content: bytes, entry: dict[str, Any]) -> Tensor:
    kind = _DTYPES[entry["dtype"]]
    if not content:
        return torch.empty(entry["shape"], dtype=kind)
    return torch.frombuffer(bytearray(content), dtype=kind).reshape(entry["shape"])
