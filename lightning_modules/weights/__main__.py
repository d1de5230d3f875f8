"""Writes one part of a checkpoint into a file of its own, for `init_from`.

python -m lightning_modules.weights file=FILE out=weights.safetensors
python -m lightning_modules.weights file=FILE out=weights.safetensors part=model_ema
python -m lightning_modules.weights file=FILE out=weights.pt channels=3

file=FILE    a checkpoint of any kind that init_from takes; nothing of it is run
out=FILE     the state dict that is written: .safetensors, or as torch.save does (.pt, .pth, .ckpt)
part=NAME    what stands before the network's names, such as `model_ema` or `state_dict.ema_model`; `.` for
             the file's own tensors, without those of dictionaries inside it; all of the file's if not given
channels=3   the first convolution takes 1 channel and shall take 3: each gets a third of its weights, so that
             a grey picture of three equal channels gives what it gave. channels=1 is the opposite: their sum
layer=NAME   with channels: the first convolution, such as conv_stem, where others take as many channels
"""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from lightning_modules.weights.entries import Checkpoint, read_checkpoint
from lightning_modules.weights.file import listed
from stages.console.arguments import key_values
from stages.console.output import output, refuse
from stages.console.words import counted
from stages.errors import RelayError, unknown_name
from stages.machine.atomic import write_bytes


def main(arguments: Sequence[str]) -> None:
    """Write the file, and say how many tensors it has.

    Raises:
        SystemExit: with code 2 and one message if that is not possible.
    """
    try:
        given = key_values(arguments, ("file", "out", "part", "channels", "layer"))
        if missing := [key for key in ("file", "out") if key not in given]:
            raise RelayError(
                f"{missing[0]}= is missing: python -m lightning_modules.weights file=... out=..."
            )
        checkpoint, out = read_checkpoint(given["file"]), Path(given["out"]).expanduser()
        if out.suffix not in (".safetensors", ".pt", ".pth", ".ckpt"):
            raise RelayError(f"out={out}: end the name in .safetensors or .pt, the formats that are written")
        if out.exists():
            raise RelayError(f"out={out} exists; choose another name, nothing is overwritten")
        tensors = checkpoint.checked(_part(checkpoint, given.get("part")))
        if "channels" in given:
            tensors = _with_channels(checkpoint.file, tensors, given["channels"], given.get("layer"))
        write_bytes(out, _written(tensors, out.suffix))
    except RelayError as error:
        refuse(error)
    except OSError as error:
        refuse(RelayError(f"out={given['out']} cannot be written: {error.strerror or error}"))
    output().print(f"{counted(len(tensors), 'tensor')} in {out}", soft_wrap=True)


def _written(tensors: dict[str, Tensor], suffix: str) -> bytes:
    """The file's bytes."""
    if suffix == ".safetensors":
        # A copy each: the format refuses tensors that share their numbers.
        return save({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, {"format": "pt"})
    content = io.BytesIO()
    torch.save({name: tensor.contiguous() for name, tensor in tensors.items()}, content)
    return content.getvalue()


def _part(checkpoint: Checkpoint, part: str | None) -> dict[str, Tensor]:
    """The tensors of a part, without its name before theirs."""
    if part is None:
        return checkpoint.tensors
    before = "" if part == "." else part.removesuffix(".") + "."
    holder = max((each for each in checkpoint.parts if before.startswith(each)), key=len, default="")
    inside = {holder + name: tensor for name, tensor in checkpoint.parts.get(holder, {}).items()}
    found = {name.removeprefix(before): it for name, it in inside.items() if name.startswith(before)}
    if not found:
        raise RelayError(
            f"part={part}: no tensor of {checkpoint.file} is there; it has "
            f"{listed(list(checkpoint.tensors), 5)}"
        )
    return found


def _with_channels(
    file: Path, tensors: dict[str, Tensor], channels: str, layer: str | None
) -> dict[str, Tensor]:
    """The tensors with another number of input channels in the first convolution."""
    if channels not in ("1", "3"):
        raise unknown_name("channels", channels, ("1", "3"))
    now = 1 if channels == "3" else 3
    end = "." if layer is None else f".{layer}.weight"
    found = [
        name
        for name, tensor in tensors.items()
        if tensor.ndim == 4 and tensor.shape[1] == now and (layer is None or f".{name}".endswith(end))
    ]
    if not found:
        what = "convolution" if layer is None else f"convolution {layer}"
        raise RelayError(f"channels={channels}: {file} has no {what} that takes {counted(now, 'channel')}")
    if len(found) > 1:  # those that take each channel apart have one, too
        raise RelayError(
            f"channels={channels}: {listed(found, 5)} of {file} take {counted(now, 'channel')}; add "
            "layer= and the name of the first, without .weight"
        )
    first = tensors[found[0]]
    changed = first.repeat(1, 3, 1, 1) / 3 if channels == "3" else first.sum(1, keepdim=True)
    return tensors | {found[0]: changed}


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        output().print(__doc__, soft_wrap=True)
    else:
        main(sys.argv[1:])
