"""Reading checkpoints: what is accepted comes back bit for bit, all else is refused by name, and nothing
runs."""

from __future__ import annotations

import copy
import io
import os
import pickle
import shlex
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lightning_modules.build import build_network
from lightning_modules.weights import find_weights, read_checkpoint
from lightning_modules.weights.entries import DTYPES
from stages.errors import RelayError
from tests.helpers.ordinary_user import ordinary_user


def _tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv1.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "conv1.bias": torch.tensor([0.0, -0.0, 1e-42, 3.4e38]),
        "fc8.weight": torch.randn(2, 4, generator=generator),
    }


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """All tensors, by their names inside their part."""
    checkpoint = read_checkpoint(path)
    return checkpoint.checked({name: it for part in checkpoint.parts.values() for name, it in part.items()})


def read_network(path: Path, like: dict[str, Tensor]) -> dict[str, Tensor]:
    network = build_network("alexnet", 2, width=1 / 96)
    return find_weights(read_checkpoint(path), like, network).tensors


def _same(read: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(read) == list(expected)
    for name, tensor in expected.items():
        assert read[name].dtype == tensor.dtype
        assert read[name].shape == tensor.shape
        bits = [it.detach().flatten().contiguous().view(torch.uint8) for it in (tensor, read[name])]
        assert torch.equal(*bits), name


def _sorted(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """In another order: safetensors has its own."""
    return dict(sorted(tensors.items()))


def _save(path: Path, payload: object, **options: Any) -> Path:
    torch.save(payload, path, **options)
    return path


def _refusal(path: Path, *parts: str) -> str:
    with pytest.raises(RelayError) as caught:
        read_weights(path)
    message = str(caught.value)
    for part in (str(path), *parts):
        assert part in message
    return message


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("prefix", ["", "network.", "model.", "net.", "module.", "network._orig_mod."])
@pytest.mark.parametrize("lightning", [True, False])
def test_reads_lightning_and_plain_files(tmp_path: Path, zipped: bool, prefix: str, lightning: bool) -> None:
    state = OrderedDict((prefix + name, tensor) for name, tensor in _tensors().items())
    payload: dict[str, object] = {
        "epoch": 3,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": state,
        "optimizer_states": [{"state": {0: {"momentum_buffer": torch.full((2,), torch.nan)}}}],
    }
    file = _save(tmp_path / "x.ckpt", payload if lightning else state, _use_new_zipfile_serialization=zipped)
    _same(read_network(file, _tensors()), _tensors())


def test_reads_what_lightning_writes(tmp_path: Path) -> None:
    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
            self.save_hyperparameters({"learning_rate": 0.1, "stage": "dld"})

    module = Module()
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", barebones=True)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    expected = dict(module.network.state_dict())
    _same(read_network(tmp_path / "x.ckpt", expected), expected)


@pytest.mark.parametrize("dtype", sorted(DTYPES, key=str), ids=str)
def test_dtype_is_the_files(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {"w": torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)}
    _same(read_weights(_save(tmp_path / "x.pt", state)), state)


def test_parameters_and_shared_storages(tmp_path: Path) -> None:
    base = torch.arange(12.0)
    state = {"a": nn.Parameter(base[:6].view(2, 3)), "b": base[6:], "c": base.view(3, 4).t()}
    read = read_weights(_save(tmp_path / "x.pt", state))
    _same(read, {name: tensor.detach() for name, tensor in state.items()})
    assert all(type(tensor) is Tensor and not tensor.requires_grad for tensor in read.values())


def test_large_file_is_mapped_and_may_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _save(tmp_path / "x.pt", {"w": torch.arange(1000.0)})
    asked = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: asked.append(k) or load(*a, **k))
    read = read_weights(file)
    assert [(options["mmap"], options["weights_only"]) for options in asked] == [(True, True)]
    read["w"][0] = 7.0  # a private mapping: the file stays
    os.replace(_save(tmp_path / "y.pt", {"w": torch.zeros(1000)}), file)
    assert read["w"][999] == 999
    assert read_weights(file)["w"].abs().sum() == 0


def test_file_system_without_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _save(tmp_path / "x.pt", _tensors())
    load = torch.load

    def without_mapping(*arguments: Any, **options: Any) -> object:
        if options["mmap"]:
            raise RuntimeError("unable to mmap 1000 bytes from file: No such device (19)")
        return load(*arguments, **options)

    monkeypatch.setattr(torch, "load", without_mapping)
    _same(read_weights(file), _tensors())


def test_home_and_strings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _save(tmp_path / "x.pt", _tensors())
    _same(read_weights("~/x.pt"), _tensors())


# What is not a checkpoint.


def test_missing_and_folder(tmp_path: Path) -> None:
    _refusal(tmp_path / "absent.ckpt", "does not exist")
    _refusal(tmp_path, "folder", "no .ckpt")
    _save(tmp_path / "best.ckpt", _tensors())
    _refusal(tmp_path, "folder", "best.ckpt")
    _refusal(tmp_path / "best.ckpt" / "more.ckpt", "cannot be read")


def test_unreadable(open_dir: Path) -> None:
    file = _save(open_dir / "x.pt", _tensors())
    file.chmod(0)
    with ordinary_user():
        _refusal(file, "Permission denied")


def test_empty_and_text(tmp_path: Path) -> None:
    file = tmp_path / "x.ckpt"
    file.write_bytes(b"")
    _refusal(file, "empty (0 bytes)")
    for text in (
        "hello world\n",
        "version https://git-lfs.github.com/spec/v1\noid",
        "{}",
        "conv1 weights\nx\n",
        ".",
    ):
        file.write_text(text)
        _refusal(file, "not a PyTorch checkpoint", repr(text[:40].encode()))


def test_other_archives(tmp_path: Path) -> None:
    file = tmp_path / "x.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    _refusal(file, "zip archive without weights")
    original = _save(tmp_path / "good.pt", _tensors())
    with zipfile.ZipFile(original) as good, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in good.namelist():
            archive.writestr(name, good.read(name))
    _refusal(file, "compressed")
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("a/data.pkl", "a/constants.pkl"):
            archive.writestr(name, b"\x80\x02}.")
    _refusal(file, "TorchScript", "state_dict()")
    with tarfile.open(file, "w") as tar:
        tar.add(original, "pickle")
    _refusal(file, "tar archive")


ODD_NAMES = ["x", "it's mine", 'a "b" $HOME `c`']


def _advised(message: str) -> str:
    """The program of the command in the last line, as a shell would hand it on."""
    python, option, program = shlex.split(message.splitlines()[-1])
    assert (python, option) == ("python", "-c")
    return program


def _bytes(zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": _tensors()}, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def scratch_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights") / "x.ckpt"


@given(share=st.floats(0, 1, exclude_max=True), zipped=st.booleans())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_cut_short_anywhere(scratch_file: Path, share: float, zipped: bool) -> None:
    whole = _bytes(zipped)
    scratch_file.write_bytes(whole[: int(share * len(whole))])
    _refusal(scratch_file)
    if share > 0.1:
        _refusal(scratch_file, "cut short or damaged", "bytes")


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_flipped_byte_never_becomes_a_weight(scratch_file: Path, place: float, flip: int) -> None:
    whole = bytearray(_bytes(True))
    whole[int(place * len(whole))] ^= flip
    scratch_file.write_bytes(whole)
    try:
        read = read_weights(scratch_file)
    except RelayError:
        return
    _same(read, _tensors())  # it was in the padding or in a field nobody reads


@given(content=st.binary(max_size=200))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_bytes_are_refused(scratch_file: Path, content: bytes) -> None:
    scratch_file.write_bytes(content)
    _refusal(scratch_file)


# What would run.


class _Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.folder,)


_WRITERS: dict[str, Callable[[object, Path], object]] = {
    "zip": torch.save,
    "zip, protocol 4": lambda payload, file: torch.save(payload, file, pickle_protocol=4),
    "legacy": lambda payload, file: torch.save(payload, file, _use_new_zipfile_serialization=False),
    **{
        f"pickle {protocol}": lambda payload, file, protocol=protocol: file.write_bytes(
            pickle.dumps(payload, protocol=protocol)
        )
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


_RUNS_IT = dict.fromkeys(("zip", "zip,", "legacy"), ("weights_only=False",)) | {"pickle": ("pickle.loads(",)}


@pytest.mark.parametrize("writer", _WRITERS)
@pytest.mark.parametrize("inside", ["state_dict", "hyper_parameters"])
def test_malicious_file_is_named_and_not_run(tmp_path: Path, writer: str, inside: str) -> None:
    file, marker = tmp_path / "x.ckpt", tmp_path / "marker"
    payload: dict[str, Any] = {"state_dict": _tensors(), "hyper_parameters": {"seed": 1}}
    payload[inside] = {**payload[inside], "extra": _Malicious(marker)}
    _WRITERS[writer](payload, file)
    message = _refusal(file, "not trusted", "posix.mkdir", *_RUNS_IT[writer.split(maxsplit=1)[0]])
    assert "Nothing of it was run" in message
    assert not marker.exists()
    with warnings.catch_warnings():  # the file is what the test says it is: believed, it runs
        warnings.simplefilter("ignore")
        if writer.startswith("pickle"):
            pickle.loads(file.read_bytes())
        else:
            torch.load(file, weights_only=False)
    assert marker.is_dir()


class Settings:
    """A class of the user's, as Lightning stores among hyperparameters."""


def test_all_refused_names_are_listed_and_harmless_ones_are_not(tmp_path: Path) -> None:
    payload = {"state_dict": OrderedDict(_tensors()), "a": Settings(), "b": _Malicious(tmp_path / "marker")}
    message = _refusal(_save(tmp_path / "x.ckpt", payload), "asks for posix.mkdir, which")
    assert "OrderedDict" not in message
    assert "torch._utils" not in message
    assert "Settings" not in message


def test_names_whose_module_is_stored_once(tmp_path: Path) -> None:
    class Removing(_Malicious):
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return os.rmdir, (self.folder,)

    payload = [_Malicious(tmp_path / "marker"), Removing(tmp_path / "marker")]
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(payload, protocol=4))
    _refusal(tmp_path / "x.pkl", "asks for posix.mkdir, posix.rmdir, which")


def test_plain_pickle_of_protocol_four_without_strangers(tmp_path: Path) -> None:
    _refusal(
        _save(tmp_path / "x.pt", {"a": 1}, pickle_protocol=4), "not trusted", "torch.save does not write"
    )


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("old", ["zip", "legacy", "pickle.dump"])
def test_the_advice_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, old: str) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"model": _tensors(), "args": Settings(), "b": _Malicious(tmp_path / "marker")}
    if old == "pickle.dump":
        file = tmp_path / f"{name}.pkl"
        file.write_bytes(pickle.dumps(content))
    else:
        file = _save(tmp_path / f"{name}.ckpt", content, _use_new_zipfile_serialization=old == "zip")
    exec(compile(_advised(_refusal(file)), "advice", "exec"), {})
    _same(_sorted(read_network(tmp_path / "weights.safetensors", _tensors())), _sorted(_tensors()))


def test_the_advice_for_torchscript_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network = nn.Linear(3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        torch.jit.trace(network, torch.ones(1, 3)).save(tmp_path / "script.pt")
        exec(compile(_advised(_refusal(tmp_path / "script.pt", "TorchScript")), "advice", "exec"), {})
    _same(_sorted(read_weights(tmp_path / "weights.safetensors")), _sorted(network.state_dict()))


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1f\x8b\x08\x00", "gunzip"),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path: Path, start: bytes, said: str) -> None:
    (tmp_path / "x.pth").write_bytes(start + bytes(100))
    _refusal(tmp_path / "x.pth", "not a PyTorch checkpoint", said)


def test_classes_registered_by_others_are_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.serialization.safe_globals([Settings]):
        registered = set(torch.serialization.get_safe_globals())
        file = _save(tmp_path / "x.ckpt", {"state_dict": _tensors(), "a": Settings()})
        monkeypatch.setattr(Settings, "__setstate__", lambda *_: pytest.fail("it was made"), raising=False)
        _same(read_weights(file), _tensors())
        assert set(torch.serialization.get_safe_globals()) == registered
        read_weights(_save(file, _tensors()))
        assert set(torch.serialization.get_safe_globals()) == registered


def test_environment_cannot_switch_the_safety_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    file = _save(tmp_path / "x.ckpt", {"state_dict": _tensors(), "a": _Malicious(tmp_path / "marker")})
    _refusal(file, "posix.mkdir")
    assert not (tmp_path / "marker").exists()


# What is in it.


@pytest.mark.parametrize(
    ("payload", "parts"),
    [
        (torch.ones(2), ["one Tensor"]),
        ([torch.ones(2)], ["one list"]),
        ({"state_dict": [1]}, ["no tensors", "it has state_dict"]),
        ({}, ["no tensors", "empty dictionary"]),
        ({"state_dict": {}}, ["no tensors"]),
        ({"epoch": 1}, ["no tensors"]),
        ({"state": {0: {"exp_avg": torch.ones(1)}}, "param_groups": []}, ["an optimiser's state"]),
        ({"optimizer": {"state": {0: {"exp_avg": torch.ones(1)}}, "param_groups": []}}, ["an optimiser's"]),
        ({1: torch.ones(1)}, ["not named by a string: 1"]),
        ({"w": torch.ones(1, dtype=torch.complex64)}, ["w (torch.complex64", "float32"]),
        ({"w": torch.ones(2).to(torch.float8_e4m3fn)}, ["w (torch.float8_e4m3fn"]),
        ({"w": torch.empty(2, device="meta")}, ["w (torch.float32, torch.strided, meta)"]),
        ({"w": torch.eye(2).to_sparse()}, ["w (torch.float32, torch.sparse_coo"]),
        (
            {"b": torch.tensor([1.0, torch.inf]), "a": torch.full((3,), torch.nan), "c": torch.ones(1)},
            ["NaN or infinite: a (3 of 3), b (1 of 2)"],
        ),
        ({"w": torch.tensor([torch.nan], dtype=torch.bfloat16)}, ["w (1 of 1)"]),
        ({f"w{i:02}": torch.tensor(torch.nan) for i in range(14)}, ["w09 (1 of 1) and 4 more"]),
    ],
    ids=str,
)
def test_refused_content(tmp_path: Path, payload: object, parts: list[str]) -> None:
    _refusal(_save(tmp_path / "x.pt", payload), *parts)


class _Room:
    """Takes memory by a number: 40 bytes in a file."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return bytearray, (self.size,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tensors_larger_than_their_file_are_refused(tmp_path: Path, zipped: bool) -> None:
    """800 GB in 1.6 KB: views of one number."""
    file = tmp_path / "expanded.pt"
    torch.save(
        {"fc6.weight": torch.zeros(1).expand(200_000_000_000)}, file, _use_new_zipfile_serialization=zipped
    )
    _refusal(file, "fc6.weight alone 800,000,000,000", ".contiguous()")


def test_a_small_view_is_what_it_shows(tmp_path: Path) -> None:
    file = _save(tmp_path / "small.pt", {"a": torch.ones(1).expand(1000), "b": torch.arange(9)[3:5]})
    assert read_weights(file)["a"].tolist() == [1.0] * 1000


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_memory_by_a_number_is_refused_before_it_is_taken(tmp_path: Path, zipped: bool) -> None:
    file = _save(tmp_path / "room.pt", {"w": torch.ones(2)})
    content = pickle.dumps({"w": _Room(10**13)}, protocol=2)
    if zipped:
        with zipfile.ZipFile(file) as whole:
            entries = {name: whole.read(name) for name in whole.namelist()}
        with zipfile.ZipFile(file, "w") as made:
            for name, stored in entries.items():
                made.writestr(name, content if name.endswith("data.pkl") else stored)
    else:
        file.write_bytes(content)
    _refusal(file, "bytearray", "Nothing of it was run")


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """An archive whose directory names the same megabyte a hundred times."""
    file = tmp_path / "overlapping.pt"
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a/data.pkl", pickle.dumps({}, protocol=2))
        made.writestr("a/data/0", bytes(1_000_000))
        shared = made.infolist()[-1]
        for number in range(1, 100):
            another = copy.copy(shared)
            another.filename = f"a/data/{number}"
            made.filelist.append(another)
    _refusal(file, "claim more bytes than the file has")


@pytest.mark.timeout(20)
def test_a_pipe_is_no_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.ckpt")
    _refusal(tmp_path / "model.ckpt", "not a file")
