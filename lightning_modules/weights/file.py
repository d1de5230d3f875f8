"""Reading the file of a checkpoint, the user's or a parent's, without running anything that it says.

A checkpoint is a pickle, and a pickle is a program. Every file is read with `weights_only=True`; of classes
that it names beyond PyTorch's own tensors, stand-ins are made. A file that names functions is refused.
"""

import json
import os
import pickle
import shlex
import tarfile
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from lightning_modules.weights.safetensors import read_safetensors
from lightning_modules.weights.stand_ins import mappings_among, present_names, stand_ins, that_run
from stages.errors import RelayError
from stages.machine.pickles import check_archive, makes_room, pickled_names
from stages.stored import open_file

_ZIP, _PICKLE, _TORCH = b"PK\x03\x04", b"\x80", b"l\xfc\x9cF\xf9 j\xa8P\x19"  # the last: before 1.6
_SUFFIXES = frozenset({".ckpt", ".pt", ".pth", ".bin", ".safetensors"})
_OTHERS = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file: type `git lfs pull` where it lies",
    b"\x89HDF": "an HDF5 file (Keras); convert it with the library that wrote it",
    b"\x1f\x8b": "compressed by gzip: unpack it first (gunzip, tar -xzf)",
    b"<": "a web page or XML: what was downloaded is not the file",
}

# Of whatever a checkpoint holds, the tensors under their names, for safetensors: a function and its call.
_TENSORS_ALONE = (
    'f = lambda v, n: f(dict(v.state_dict()), n) if hasattr(v, "state_dict") else '
    '{a: b for k, x in v.items() for a, b in f(x, f"{n}.{k}" if n else str(k)).items()} '
    "if isinstance(v, dict) else {n: torch.as_tensor(v).detach().clone().contiguous()} "
    'if hasattr(v, "shape") else {}; save_file(f(c, ""), "weights.safetensors")'
)


def read_file(path: str | os.PathLike[str]) -> object:
    """What a checkpoint holds: tensors on the CPU, and what is around them.

    Args:
        path: A file that `torch.save`, Lightning or safetensors wrote. `~` is expanded.

    Returns:
        As it was saved, with stand-ins in place of objects that are not PyTorch's. Tensors may be mapped from
        the file instead of read into memory, so copy what is to be kept and do not overwrite the file while
        they are in use (renaming another file onto it is safe).

    Raises:
        RelayError: The file is missing, a folder, empty, cut short, damaged, not a checkpoint, or asks for
            functions to be run. The message names the file and what to do.
    """
    file = Path(path).expanduser()
    start = _first_bytes(file)
    zipped = start.startswith(_ZIP)
    if zipped:
        _check_archive(file)
    elif file.suffix == ".safetensors" or start[8:9] == b"{":
        return read_safetensors(file)
    return _load(file, start, zipped=zipped)


def _first_bytes(file: Path) -> bytes:
    """The first 40 bytes; refuses what cannot be opened, a folder and an empty file."""
    try:
        if file.is_dir():
            inside = sorted(entry.name for entry in file.iterdir() if entry.suffix in _SUFFIXES)
            advice = f"it holds {listed(inside)}" if inside else "there is no .ckpt, .pt or .pth in it"
            raise RelayError(f"checkpoint {file} is a folder; give the file inside it ({advice})")
        with open_file(file) as stream:
            start = stream.read(40)
    except FileNotFoundError as error:
        raise RelayError(f"checkpoint {file} does not exist; check the path (from {Path.cwd()})") from error
    except OSError as error:
        raise RelayError(f"checkpoint {file} cannot be read: {error.strerror or error}") from error
    if not start:
        raise RelayError(f"checkpoint {file} is empty (0 bytes); copy or write it again")
    return start


def _check_archive(file: Path) -> None:
    """Refuse a zip archive that is cut short, damaged or not written by `torch.save`.

    PyTorch's reader does not compare checksums, so that a flipped bit would become a weight. This does.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
            if "constants.pkl" in names:
                raise RelayError(
                    f"checkpoint {file} is a TorchScript program; save its `state_dict()` instead:\n"
                    + _command(
                        "import torch; from safetensors.torch import save_file; c = torch.jit.load("
                        f'{json.dumps(str(file))}, map_location="cpu"); {_TENSORS_ALONE}'
                    )
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


def _load(file: Path, start: bytes, *, zipped: bool) -> object:
    """`torch.load` with stand-ins for what the pickle names; refuses functions before anything is read."""
    names = present_names(pickled_names(file, zipped=zipped))
    if room := makes_room(names):
        raise RelayError(
            f"checkpoint {file} is not trusted: besides tensors it asks for {listed(sorted(room))}, which "
            "takes as much memory as the file says. Nothing of it was run"
        )
    if run := that_run(names):
        raise _not_trusted(file, f"{listed(sorted(run))}, which could run any code on this machine", start)
    classes = stand_ins(names)
    while True:
        try:
            return _load_with(classes, file, zipped=zipped)
        except Exception as error:  # a malformed pickle can raise anything
            # A class whose objects are given items is a dictionary: once more with that.
            if not (classes := mappings_among(classes, str(error))):
                raise _unreadable(file, start, error, zipped=zipped) from error


def _load_with(classes: Mapping[str, type], file: Path, *, zipped: bool) -> object:
    """`torch.load` with `weights_only=True`; nothing that another library registered as safe is allowed."""
    registered = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([(made, name) for name, made in classes.items()])
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
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(registered)


def _not_trusted(file: Path, asked: str, start: bytes) -> RelayError:
    """The refusal of a file that cannot be read without running it, with how to do that elsewhere."""
    source = json.dumps(str(file))
    torchs = start.startswith(_ZIP) or _TORCH in start or _is_tar(file)
    load = (
        f'c = torch.load({source}, map_location="cpu", weights_only=False)'
        if torchs
        else f"import pathlib, pickle; c = pickle.loads(pathlib.Path({source}).read_bytes())"
    )
    return RelayError(
        f"checkpoint {file} is not trusted: besides tensors it asks for {asked}. Nothing of it was run. If "
        "you trust whoever made the file, save its tensors alone (this does run what is in it, so do it "
        "where the file came from):\n"
        + _command(f"import torch; from safetensors.torch import save_file; {load}; {_TENSORS_ALONE}")
    )


def _unreadable(file: Path, start: bytes, error: Exception, *, zipped: bool) -> RelayError:
    """Say why `torch.load` refused a file: it is of another kind, damaged, or not a checkpoint."""
    if zipped and isinstance(error, pickle.UnpicklingError):
        return _not_trusted(file, "operations that torch.save does not write by default", start)
    if not zipped and start.startswith(_PICKLE) and _TORCH not in start:
        return _not_trusted(file, "what pickle.dump writes, in place of torch.save", start)
    if "persistent_load of storage" in str(error):
        return _not_trusted(file, "a whole network, as torch.save wrote it before PyTorch 1.6", start)
    if zipped or start.startswith(_PICKLE):
        return _damaged(file, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
    if _is_tar(file):
        return _not_trusted(file, "what is in a tar archive (of PyTorch before 0.4)", start)
    known = next((f"it is {kind}" for magic, kind in _OTHERS.items() if start.startswith(magic)), "")
    return RelayError(
        f"{file} is not a PyTorch checkpoint: it begins with {start!r}; "
        + (known or "give a file written by torch.save, Lightning or safetensors")
    )


def _is_tar(file: Path) -> bool:
    try:
        tarfile.open(file, "r:").close()
    except (tarfile.TarError, OSError):
        return False
    return True


def _damaged(file: Path, cause: str) -> RelayError:
    return RelayError(
        f"checkpoint {file} is cut short or damaged ({file.stat().st_size} bytes; {cause}); copy or download "
        "it again"
    )


def _command(program: str) -> str:
    """A Python program as a line for a shell, whatever the paths in it."""
    return f"  python -c {shlex.quote(program)}"


def listed(names: Sequence[str], most: int = 10) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
