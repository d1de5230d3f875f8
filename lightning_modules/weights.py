"""Reading the weights of a checkpoint, the user's or a parent's, without running anything the file says.

A checkpoint is a pickle, and a pickle is a program. Every file is read with `weights_only=True`, with no
class allowed beyond PyTorch's own tensors, and whatever is not a finite tensor under a name is refused by
name.

What is read: a Lightning checkpoint (its `state_dict`), or a plain state dict, as `torch.save` writes them,
in today's zip format or the older one. The `safetensors` format is not read: that package is not a
dependency.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import shlex
import tarfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from stages.errors import RelayError
from stages.machine.pickles import check_archive, makes_room, pickled_names
from stages.record import REMEDY
from stages.store import RunFolder
from stages.stored import open_file

WRAPPERS = ("network.", "model.", "net.", "module.", "_orig_mod.")
"""Prefixes that a LightningModule, DataParallel or torch.compile puts before every name of a network."""

DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool}) | frozenset(
    {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
)
"""What a weight or a buffer may be stored as. Complex, quantised and 8-bit floating numbers are refused."""

# Names may share a tensor, and a tensor its numbers; but not beyond what reading them may take.
_MOST_SHARED, _SMALL = 16, 64 * 1024**2

_HARMLESS = frozenset({"collections.OrderedDict", "_codecs.encode"})
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint's state dict.

    A prefix of `WRAPPERS` that every name shares is taken off, and again until none is shared.

    Args:
        path: A Lightning checkpoint or a plain state dict, written by `torch.save`. `~` is expanded.

    Returns:
        Name -> tensor on the CPU, without gradient, in the file's order and in the file's dtype (one of
        `DTYPES`); `transfer.apply_transfer` casts to the network's. Tensors may be mapped from the file
        instead of read into memory, so copy what is to be kept and do not overwrite the file while they are
        in use (renaming another file onto it is safe).

    Raises:
        RelayError: The file is missing, a folder, empty, cut short, damaged, not a checkpoint, asks for
            anything but tensors to be built, or holds no tensors, entries that are not tensors, or numbers
            that are not finite. The message names the file, the entry and what to do.
    """
    file = Path(path).expanduser()
    zipped = _check_file(file)
    entries = _without_wrappers(_state_dict(file, _load(file, zipped=zipped)))
    _check_entries(file, entries)
    return {name: tensor.detach() for name, tensor in entries.items() if isinstance(tensor, Tensor)}


def read_stored_weights(run: RunFolder) -> dict[str, Tensor]:
    """Read the weights of a complete stage run, if they are those that it ended with.

    Args:
        run: The stage run's folder.

    Raises:
        RelayError: The record cannot be read, or the file is missing or is not the one whose SHA-256 stands
            in the record. The message says what to do.
    """
    if not run.weights.exists():
        raise RelayError(
            f"{run.path} has no {run.weights.name}, the weights that its run ended with; {REMEDY}"
        )
    run.check_files(run.read_record(), run.weights)
    return read_weights(run.weights)


def _check_file(file: Path) -> bool:
    """Refuse files that are clearly not checkpoints; say whether the file is a zip archive."""
    try:
        if file.is_dir():
            inside = sorted(
                entry.name for entry in file.iterdir() if entry.suffix in {".ckpt", ".pt", ".pth"}
            )
            advice = f"it holds {_listed(inside)}" if inside else "there is no .ckpt, .pt or .pth in it"
            raise RelayError(f"checkpoint {file} is a folder; give the file inside it ({advice})")
        with open_file(file) as stream:
            start = stream.read(len(_ZIP))
    except FileNotFoundError as error:
        raise RelayError(f"checkpoint {file} does not exist; check the path (from {Path.cwd()})") from error
    except OSError as error:
        raise RelayError(f"checkpoint {file} cannot be read: {error.strerror or error}") from error
    if not start:
        raise RelayError(f"checkpoint {file} is empty (0 bytes); copy or write it again")
    if file.suffix == ".safetensors":
        raise RelayError(
            f"checkpoint {file} is in the safetensors format, which Relay does not read (safetensors is not "
            "one of its dependencies). Convert it where that package is installed:\n"
            + _command(
                "import torch; from safetensors.torch import load_file; "
                f'torch.save(load_file({json.dumps(str(file))}), "weights.pt")'
            )
        )
    if start == _ZIP:
        _check_archive(file)
    return start == _ZIP


def _check_archive(file: Path) -> None:
    """Refuse a zip archive that is cut short, damaged or not written by `torch.save`.

    PyTorch's reader does not compare checksums, so that a flipped bit would become a weight. This does.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
            if "constants.pkl" in names:
                raise RelayError(
                    f"checkpoint {file} is a TorchScript program; save its `state_dict()` instead"
                )
            if "data.pkl" not in names:
                raise RelayError(f"{file} is a zip archive without weights, not a PyTorch checkpoint")
            try:
                check_archive(file, archive)
            except ValueError as error:
                raise RelayError(
                    f"checkpoint {file}: {error}; torch.save writes no such file: give the original one"
                ) from None
            damaged = archive.testzip()
    except RelayError:
        raise
    except Exception as error:  # zipfile raises half a dozen kinds on malformed input
        raise _damaged(file, str(error)) from error
    if damaged is not None:
        raise RelayError(
            f"checkpoint {file} is damaged: the checksum of {damaged} is wrong; copy or download it again. "
            "(If it was saved under torch.serialization.set_crc32_options(False), save it again without.)"
        )


def _load(file: Path, *, zipped: bool) -> object:
    """`torch.load` with `weights_only=True` and nothing allowed that another library registered as safe."""
    if names := makes_room(pickled_names(file, zipped=zipped)):
        raise RelayError(
            f"checkpoint {file} is not trusted: besides tensors it asks for {_listed(sorted(names))}, which "
            "takes as much memory as the file says. Nothing of it was run"
        )
    registered = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols, typed storages: nothing a user can act on
            try:
                return torch.load(str(file), map_location="cpu", weights_only=True, mmap=zipped)
            except (OSError, RuntimeError):
                if not zipped:
                    raise
                # Not every file system can map a file.
                return torch.load(str(file), map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # a malformed pickle can raise anything
        raise _unreadable(file, error, zipped=zipped) from error
    finally:
        torch.serialization.add_safe_globals(registered)


def _unreadable(file: Path, error: Exception, *, zipped: bool) -> RelayError:
    """Say why `torch.load` refused a file: it asks to run code, is damaged, or is not a checkpoint."""
    # Of PyTorch's own names many are allowed; the one that was not is in the message of the error.
    refused = set(re.findall(r"GLOBAL ([\w.]+)", str(error)))
    found = pickled_names(file, zipped=zipped) - _HARMLESS
    names = {name for name in found if name in refused or not name.startswith("torch.")}
    if names or (zipped and isinstance(error, pickle.UnpicklingError)):
        asked = _listed(sorted(names)) if names else "operations that torch.save does not write by default"
        return RelayError(
            f"checkpoint {file} is not trusted: besides tensors it asks for {asked}, which could run any "
            "code on this machine. Nothing of it was run. If you trust whoever made the file, save its "
            "tensors alone (this does run what is in it, so do it where the file came from):\n"
            + _command(
                f'import torch; c = torch.load({json.dumps(str(file))}, map_location="cpu", '
                'weights_only=False); torch.save(c.state_dict() if hasattr(c, "state_dict") else '
                'c.get("state_dict", c), "weights.pt")'
            )
        )
    with file.open("rb") as stream:
        start = stream.read(40)
    if zipped or start.startswith(_PICKLE):
        return _damaged(file, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
    if tarfile.is_tarfile(file):
        return RelayError(
            f"checkpoint {file} is a tar archive (as PyTorch before 0.4 wrote), which cannot be read "
            "safely; save the state dict again with a current PyTorch"
        )
    return RelayError(
        f"{file} is not a PyTorch checkpoint: it begins with {start!r}; give a file written by torch.save or "
        "Lightning"
    )


def _damaged(file: Path, cause: str) -> RelayError:
    return RelayError(
        f"checkpoint {file} is cut short or damaged ({file.stat().st_size} bytes; {cause}); copy or download "
        "it again"
    )


def _state_dict(file: Path, payload: object) -> dict[str, object]:
    """The name -> value part of what was loaded, names checked to be strings."""
    if isinstance(payload, Mapping) and "state_dict" in payload:
        payload = payload["state_dict"]
    if not isinstance(payload, Mapping):
        raise RelayError(
            f"checkpoint {file} holds one {type(payload).__name__}, not tensors by name; save "
            "`network.state_dict()`"
        )
    unnamed = sorted(repr(name) for name in payload if not isinstance(name, str))
    if unnamed:
        raise RelayError(
            f"checkpoint {file} has entries not named by a string: {_listed(unnamed)}; save "
            "`network.state_dict()`"
        )
    if not any(isinstance(value, Tensor) for value in payload.values()):
        nested = sorted(name for name, value in payload.items() if isinstance(value, Mapping))
        advice = f"; if the weights are in {_listed(nested)}, save that alone" if nested else ""
        raise RelayError(f"checkpoint {file} holds no tensors{advice}")
    return dict(payload)


def _without_wrappers(entries: dict[str, object]) -> dict[str, object]:
    while True:
        shared = [
            prefix
            for prefix in WRAPPERS
            if all(name.startswith(prefix) and len(name) > len(prefix) for name in entries)
        ]
        if not shared:
            return entries
        entries = {name.removeprefix(shared[0]): value for name, value in entries.items()}


def _check_entries(file: Path, entries: Mapping[str, object]) -> None:
    """Refuse, by name, all that is not a dense tensor of finite numbers of a known dtype."""
    strangers = [
        f"{name} ({type(value).__name__})" for name, value in entries.items() if not isinstance(value, Tensor)
    ]
    if strangers:
        raise RelayError(
            f"checkpoint {file} has entries that are not tensors: {_listed(sorted(strangers))}; save "
            "`network.state_dict()` alone"
        )
    tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
    unusable = [
        f"{name} ({tensor.dtype}, {tensor.layout}, {tensor.device})"
        for name, tensor in tensors.items()
        if tensor.dtype not in DTYPES or tensor.layout != torch.strided or tensor.device.type != "cpu"
    ]
    if unusable:
        known = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in DTYPES))
        raise RelayError(
            f"checkpoint {file} has tensors that cannot be weights: {_listed(sorted(unusable))}; save them "
            f"dense, with their data, as one of {known}"
        )
    size = file.stat().st_size
    claimed = {name: tensor.numel() * tensor.element_size() for name, tensor in tensors.items()}
    if sum(claimed.values()) > _MOST_SHARED * size + _SMALL:
        largest = max(claimed, key=lambda name: claimed[name])
        raise RelayError(
            f"checkpoint {file} has {size:,} bytes, but its tensors claim {sum(claimed.values()):,}, "
            f"{largest} alone {claimed[largest]:,}: they are views of few numbers, as expand() makes. Save "
            "them with .contiguous()"
        )
    broken = [
        f"{name} ({int((~torch.isfinite(tensor)).sum())} of {tensor.numel()})"
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    if broken:
        raise RelayError(
            f"checkpoint {file} has weights that are NaN or infinite: {_listed(sorted(broken))}; its "
            "training diverged, start from an earlier checkpoint"
        )


def _command(program: str) -> str:
    """A Python program as a line for a shell, whatever the paths in it."""
    return f"  python -c {shlex.quote(program)}"


def _listed(names: list[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
