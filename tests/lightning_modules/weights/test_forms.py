"""Checkpoints as people have them: each is written as its library writes it, and read tensor by tensor."""

import argparse
import json
import shlex
import struct
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lightning_modules.specification import Layer, Specification
from lightning_modules.transfer import TransferReport, apply_transfer, kept_tensors
from lightning_modules.transfer_rule import TransferRule
from lightning_modules.weights import Weights, find_weights, read_checkpoint
from lightning_modules.weights.__main__ import main
from lightning_modules.weights.stand_ins import mappings_among, stand_ins
from stages.errors import RelayError
from stages.record import TransferRecord


class Tiny(nn.Module):
    """Three layers with torchvision's kind of names, and a buffer."""

    specification = Specification(
        name="tiny",
        layers=(
            Layer("conv1", "features.0", "convolution"),
            Layer("bn1", "features.1", "normalisation"),
            Layer("fc", "classifier.1", "linear"),
        ),
        head="fc",
        taps={"bn1": "features.1"},
        default_tap="bn1",
        least_size=3,
    )

    def __init__(self, classes: int = 2, channels: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(4, classes))


HEAD = TransferRule("reuse_fc", ("fc",))
ALL = TransferRule("all", ())


def tiny(seed: int, *, classes: int = 2, channels: int = 3) -> Tiny:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Tiny(classes, channels)
        nn.init.normal_(network.get_parameter("features.1.weight"))
        return network


def under(prefix: str, network: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in network.state_dict().items()}


def start(path: Path, rule: TransferRule = ALL) -> tuple[Tiny, Weights, TransferReport]:
    """What a run does with `init_from`."""
    network = tiny(99)
    found = find_weights(read_checkpoint(path), kept_tensors(network, rule), network)
    file = f"init_from={path}"
    report = apply_transfer(
        network, found.tensors, rule, scheme="lecun_normal", seed=0, source="init_from 12", file=file
    )
    return network, found, report


def same(network: nn.Module, other: nn.Module) -> None:
    expected = other.state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def places365(network: Tiny) -> object:
    parallel = tiny(1)
    parallel.load_state_dict(network.state_dict())
    features: Any = nn.DataParallel(parallel.features)
    parallel.features = features
    return {"epoch": 90, "arch": "alexnet", "state_dict": parallel.state_dict(), "best_prec1": 47.3}


def lightning(network: Tiny) -> object:
    criterion = nn.CrossEntropyLoss(weight=torch.ones(2))
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": under("model.", network) | {"criterion.weight": criterion.weight},
        "optimizer_states": [torch.optim.SGD(network.parameters(), 0.1).state_dict()],
        "hyper_parameters": {"lr": 0.1, "folder": Path("/data")},
    }


def with_arguments(network: Tiny) -> object:
    optimizer = torch.optim.Adam(network.parameters())
    scores = defaultdict(list, best=np.float64(0.5))
    arguments = argparse.Namespace(lr=0.1, output=Path("/out"))
    return {
        "model": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "args": arguments,
        "scores": scores,
    }


def swa(network: Tiny) -> object:
    return AveragedModel(network).state_dict()


def ema_in_lightning(network: Tiny) -> object:
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    return {"state_dict": {f"ema.{name}": tensor for name, tensor in averaged.state_dict().items()}}


def moco(network: Tiny) -> object:
    names = under("module.encoder_q.", network)
    return {
        "arch": "tiny",
        "state_dict": names | {"module.queue": torch.ones(4, 9), "module.queue_ptr": torch.ones(1)},
    }


def swav(network: Tiny) -> object:
    return under("module.backbone.", network) | {"module.prototypes.weight": torch.ones(3, 4)}


def swav_released(network: Tiny) -> object:
    heads = {"projection_head.0.weight": torch.ones(3, 4), "prototypes.weight": torch.ones(3, 4)}
    return under("module.", network) | {f"module.{name}": tensor for name, tensor in heads.items()}


def masked_autoencoder(network: Tiny) -> object:
    decoder = {"mask_token": torch.ones(1, 1, 4), "decoder_embed.weight": torch.ones(4, 4)}
    return {"model": network.state_dict() | decoder}


def compiled(network: Tiny) -> object:
    return {f"_orig_mod.{name}": tensor for name, tensor in network.state_dict().items()}


def compiled_in_lightning(network: Tiny) -> object:
    return {"state_dict": under("net._orig_mod.", network)}


def beside(network: Tiny) -> object:
    return network.state_dict() | {"criterion.weight": torch.ones(2), "n_averaged": torch.tensor(5)}


def whole(network: Tiny) -> object:
    return network


def whole_in_a_dictionary(network: Tiny) -> object:
    return {"epoch": 4, "model": nn.DataParallel(network), "optimizer": None}


def dino(network: Tiny) -> object:
    return {"teacher": under("module.backbone.", network), "dino_loss": {"center": torch.ones(1, 4)}}


def numbered(network: Tiny) -> object:
    """As RadImageNet's and lightly's: the layers before the head in a sequence."""
    return under("backbone.", nn.Sequential(*network.children())) | {"head.weight": torch.ones(2)}


def half(network: Tiny) -> object:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.half().float())
    return {name: it.half() if it.is_floating_point() else it for name, it in network.state_dict().items()}


LIGHTNINGS = (
    "epoch",
    "pytorch-lightning_version",
    "state_dict.criterion.weight",
    "optimizer_states",
    "hyper_parameters",
)
FORMS: list[tuple[Callable[[Tiny], object], str, tuple[str, ...]]] = [
    (places365, "state_dict.", ("epoch", "arch", "best_prec1")),
    (lightning, "state_dict.model.", LIGHTNINGS),
    (with_arguments, "model.", ("optimizer", "args", "scores.best")),
    (swa, "module.", ("n_averaged",)),
    (ema_in_lightning, "state_dict.ema.module.", ("state_dict.ema.n_averaged",)),
    (
        moco,
        "state_dict.module.encoder_q.",
        ("arch", "state_dict.module.queue", "state_dict.module.queue_ptr"),
    ),
    (swav, "module.backbone.", ("module.prototypes.weight",)),
    (swav_released, "module.", ("module.projection_head.0.weight", "module.prototypes.weight")),
    (masked_autoencoder, "model.", ("model.mask_token", "model.decoder_embed.weight")),
    (compiled, "_orig_mod.", ()),
    (compiled_in_lightning, "state_dict.net._orig_mod.", ()),
    (beside, "", ("criterion.weight", "n_averaged")),
    (whole, "", ()),
    (whole_in_a_dictionary, "model.module.", ("epoch", "optimizer")),
    (dino, "teacher.module.backbone.", ("dino_loss.center",)),
    (numbered, "backbone.", ("head.weight",)),
    (half, "", ()),
]


@pytest.mark.parametrize(
    ("make", "prefix", "dropped", "zipped"),
    [
        pytest.param(make, prefix, dropped, zipped, id=f"{make.__name__}-{'zip' if zipped else 'legacy'}")
        for make, prefix, dropped in FORMS
        for zipped in (True, False)
        if zipped or make not in (whole, whole_in_a_dictionary)  # see test_a_whole_network_of_before_1_6
    ],
)
def test_taken(
    tmp_path: Path, make: Callable[[Tiny], object], prefix: str, dropped: tuple[str, ...], zipped: bool
) -> None:
    network = tiny(1)
    torch.save(make(network), tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    started, found, report = start(tmp_path / "x.pth")
    same(started, network)
    assert found.prefix == prefix
    assert sorted(found.dropped) == sorted(dropped)
    assert not report.rounded
    assert found.names.startswith(prefix)
    record = TransferRecord(**replace(report, names=found.names, dropped=found.dropped).as_dict())
    assert bool(record.note(None)) == bool(found.names or dropped)
    assert all(part in (record.note(None) or "") for part in (found.names, *dropped))
    assert bool(found.names) == bool(prefix)


def test_numbers_of_children_are_a_network_only_if_all_shapes_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning_modules.weights.names.hints", lambda *_: [])  # builds networks of timm's
    network, wider = tiny(1), tiny(1, classes=3)
    torch.save(nn.Sequential(*wider.children()).state_dict(), tmp_path / "x.pth")
    with pytest.raises(RelayError, match="of the 8 tensors that the network takes"):
        start(tmp_path / "x.pth")
    torch.save(nn.Sequential(*list(network.children())[::-1]).state_dict(), tmp_path / "x.pth")
    with pytest.raises(RelayError, match="of the 8 tensors that the network takes"):
        start(tmp_path / "x.pth")


def test_a_residual_network_before_its_head_in_a_sequence(tmp_path: Path) -> None:
    """As RadImageNet's: torchvision's layers before the head, read into timm's network of the same layers."""
    theirs = torchvision.models.resnet18(num_classes=3)
    body = nn.Sequential(*list(theirs.children())[:-1])
    torch.save(under("backbone.", body), tmp_path / "RadImageNet.pt")
    ours = timm.create_model("resnet18", num_classes=2)
    wanted = {name: it for name, it in ours.state_dict().items() if not name.startswith("fc.")}
    found = find_weights(read_checkpoint(tmp_path / "RadImageNet.pt"), wanted, ours)
    assert found.names == "backbone.0.weight is taken as conv1.weight"
    assert (found.tensors.keys(), found.dropped) == (wanted.keys(), ())
    expected = theirs.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.tensors.items())


def test_names_inside_are_named(tmp_path: Path) -> None:
    torch.save(places365(tiny(1)), tmp_path / "x.pth")
    names = start(tmp_path / "x.pth")[1].names
    assert names == "state_dict.features.module.0.weight is taken as features.0.weight"


def test_a_whole_network_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parameters and persistent buffers are those of its state dict; no class of it is made."""
    network = tiny(1)
    network.register_buffer("scratch", torch.ones(3), persistent=False)
    torch.save(network, tmp_path / "x.pt")
    monkeypatch.setattr(nn.Module, "__setstate__", lambda *_: pytest.fail("it was made"))
    assert read_checkpoint(tmp_path / "x.pt").tensors.keys() == network.state_dict().keys()
    same(start(tmp_path / "x.pt")[0], network)


def test_items_of_a_stand_in_are_refused_by_its_class() -> None:
    """Some versions of torch set items of any object: the error names the class, a dictionary next time."""
    (made,) = stand_ins(["addict.Dict"]).values()
    with pytest.raises(TypeError) as caught:
        made()["a"] = 1
    again = mappings_among({"addict.Dict": made}, str(caught.value))
    again["addict.Dict"]()["a"] = 1
    assert not mappings_among(again, str(caught.value))


def test_a_whole_network_of_before_1_6(tmp_path: Path) -> None:
    torch.save(tiny(1), tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(RelayError, match=r"a whole network, as torch.save wrote it before") as caught:
        start(tmp_path / "x.pt")
    assert "weights_only=False" in str(caught.value)


def test_other_heads_are_named_by_the_rule(tmp_path: Path) -> None:
    parent = tiny(1, classes=365)
    torch.save({"state_dict": under("model.", parent)}, tmp_path / "x.pt")
    started, _, report = start(tmp_path / "x.pt", HEAD)
    assert torch.equal(started.get_parameter("features.0.weight"), parent.get_parameter("features.0.weight"))
    assert report.ignored == ("classifier.1.bias", "classifier.1.weight")
    with pytest.raises(RelayError, match=r"Its head has 365 classes, the stage 2: take a transfer rule"):
        start(tmp_path / "x.pt")
    # Encoders come with a head of several layers, or without one.
    several = under("encoder_q.", parent) | {"encoder_q.classifier.1.2.weight": torch.ones(2)}
    torch.save(several, tmp_path / "z.pt")
    assert "classifier.1.2.weight" in start(tmp_path / "z.pt", HEAD)[2].ignored
    torch.save(
        {k: v for k, v in under("backbone.", parent).items() if "classifier" not in k}, tmp_path / "y.pt"
    )
    assert start(tmp_path / "y.pt", HEAD)[1].prefix == "backbone."


# Several networks in one file.


def command(message: str, label: str) -> list[str]:
    """The arguments of the command that a message has for a part."""
    (line,) = (line for line in message.splitlines() if f"part={label} " in line)
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "lightning_modules.weights"]
    return words[3:]


@pytest.mark.parametrize(
    ("payload", "labels"),
    [
        (lambda a, b: {"model": a.state_dict(), "model_ema": b.state_dict()}, ("model.", "model_ema.")),
        (
            lambda a, b: {"state_dict": under("model.", a) | under("ema_model.module.", b)},
            ("state_dict.model.", "state_dict.ema_model.module."),
        ),
        (
            lambda a, b: {"student": under("module.", a), "teacher": under("", b), "epoch": 3},
            ("student.module.", "teacher."),
        ),
        (lambda a, b: a.state_dict() | {"ema": b.state_dict()}, (".", "ema.")),
    ],
    ids=["timm", "lightning", "dino", "inside"],
)
def test_two_are_refused_and_the_commands_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    payload: Callable[[Tiny, Tiny], object],
    labels: tuple[str, str],
) -> None:
    monkeypatch.chdir(tmp_path)
    networks = tiny(1), tiny(2)
    file = tmp_path / "it's two.pth"
    torch.save(payload(*networks), file)
    with pytest.raises(
        RelayError, match=f"holds the network 2 times .* `{'` and `'.join(labels)}`"
    ) as caught:
        start(file)
    assert str(file) in str(caught.value)
    for network, label in zip(networks, labels, strict=True):
        main(command(str(caught.value), label))
        same(start(tmp_path / "weights.safetensors")[0], network)
        (tmp_path / "weights.safetensors").unlink()


def test_two_with_the_same_numbers_are_one(tmp_path: Path) -> None:
    network = tiny(1)
    torch.save({"model": network.state_dict(), "model_ema": network.state_dict()}, tmp_path / "x.pth")
    started, found, _ = start(tmp_path / "x.pth")
    same(started, network)
    assert found.dropped == ("model_ema",)


def test_shapes_tell_two_apart(tmp_path: Path) -> None:
    network = tiny(1)
    other = {name: torch.ones(5, 5) for name in network.state_dict()}
    torch.save({"decoder": other, "encoder": network.state_dict()}, tmp_path / "x.pth")
    assert start(tmp_path / "x.pth")[1].prefix == "encoder."


# What does not fit.


def test_a_grey_first_convolution_and_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    grey = tiny(1, channels=1)
    torch.save(grey.state_dict(), "grey.pt")
    with pytest.raises(RelayError, match=r"takes 1 channel, the network's 3; .* channels=3") as caught:
        start(tmp_path / "grey.pt")
    assert f"init_from={tmp_path / 'grey.pt'} does not fit" in str(caught.value)
    main(["file=grey.pt", "out=weights.pt", "channels=3"])
    assert "9 tensors" in capsys.readouterr().out
    started = start(tmp_path / "weights.pt")[0]
    pictures = torch.rand(2, 1, 8, 8)
    wanted, got = (
        each.features.eval()(x) for each, x in ((grey, pictures), (started, pictures.repeat(1, 3, 1, 1)))
    )
    torch.testing.assert_close(got, wanted)
    torch.save(grey.state_dict() | {"a.depthwise.weight": torch.ones(4, 1, 3, 3)}, "apart.pt")
    with pytest.raises(SystemExit):
        main(["file=apart.pt", "out=first.pt", "channels=3"])
    assert "layer=" in capsys.readouterr().err
    main(["file=apart.pt", "out=first.pt", "channels=3", "layer=features.0"])
    assert read_checkpoint("first.pt").tensors["features.0.weight"].shape == (4, 3, 3, 3)
    main(["file=weights.pt", "out=back.pt", "channels=1"])
    back = read_checkpoint("back.pt").tensors
    torch.testing.assert_close(back["features.0.weight"], grey.get_parameter("features.0.weight").detach())


def test_another_architecture_is_named(tmp_path: Path) -> None:
    names = {f"features.module.{number}.weight": torch.ones(2) for number in (0, 3, 6, 8, 10)}
    torch.save({"state_dict": names | {"classifier.1.weight": torch.ones(2)}}, tmp_path / "alexnet.pth")
    network = nn.Module()
    network.specification = Specification(  # type: ignore[assignment]
        "other", (Layer("stem", "stem", "convolution"),), "stem", {"stem": "stem"}, "stem", 3
    )
    network.stem = nn.Conv2d(3, 2, 3)
    with pytest.raises(RelayError, match="add model=torchvision_alexnet") as caught:
        find_weights(read_checkpoint(tmp_path / "alexnet.pth"), dict(network.named_parameters()), network)
    assert "named stem.weight, stem.bias; the file's state_dict.features.module.0.weight" in str(caught.value)


def test_unknown_names_are_shown(tmp_path: Path) -> None:
    torch.save({"encoder.layer.weight": torch.ones(2)}, tmp_path / "x.pth")
    with pytest.raises(RelayError, match=r"x.pth has 0 of the 8 tensors .* the file's encoder.layer.weight"):
        start(tmp_path / "x.pth")


def test_another_layer_under_the_prefix_is_an_error(tmp_path: Path) -> None:
    torch.save({"net": tiny(1).state_dict() | {"features.7.weight": torch.ones(1)}}, tmp_path / "x.pth")
    with pytest.raises(RelayError, match=r"unexpected: features.7.weight \(1,\)"):
        start(tmp_path / "x.pth")


def test_what_is_dropped_may_be_anything(tmp_path: Path) -> None:
    """An average that diverged does not matter where it is not taken; what is taken must be finite."""
    network = tiny(1)
    nan = {name: torch.full((3,), torch.nan) for name in network.state_dict()}
    torch.save({"net": network.state_dict(), "old": nan}, tmp_path / "x.pth")
    same(start(tmp_path / "x.pth")[0], network)
    broken = network.state_dict() | {"classifier.1.bias": torch.full((2,), torch.nan)}
    torch.save({"net": broken}, tmp_path / "y.pth")
    with pytest.raises(RelayError, match=r"NaN or infinite: net.classifier.1.bias \(2 of 2\)"):
        start(tmp_path / "y.pth")


def test_the_command_refuses_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"net": tiny(1).state_dict()}, tmp_path / "x.pth")
    for arguments, said in (
        (["out=y.pt"], "file= is missing"),
        ([f"file={tmp_path}/x.pth", f"out={tmp_path}/y.pt", "part=nett"], "part=nett: no tensor"),
        ([f"file={tmp_path}/x.pth", f"out={tmp_path}/x.pth"], "nothing is overwritten"),
        ([f"file={tmp_path}/x.pth", f"out={tmp_path}/y.h5"], "end the name in .safetensors or .pt"),
        (
            [f"file={tmp_path}/x.pth", f"out={tmp_path}/y.pt", "channels=3"],
            "no convolution that takes 1 channel",
        ),
        ([f"file={tmp_path}/x.pth", f"out={tmp_path}/no/y.pt"], "cannot be written"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        assert said in " ".join(capsys.readouterr().err.split())


# safetensors.


def safetensors(tensors: dict[str, Tensor], kinds: dict[torch.dtype, str], **more: Any) -> bytes:
    """The format by hand: https://github.com/huggingface/safetensors#format."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    content = b""
    for name, tensor in tensors.items():
        numbers = (
            tensor.contiguous().view(torch.uint8).numpy().tobytes()
            if tensor.ndim
            else tensor.numpy().tobytes()
        )
        header[name] = {
            "dtype": kinds[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [len(content), len(content) + len(numbers)],
        }
        content += numbers
    text = json.dumps(header | more).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content


KINDS = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.float64: "F64",
}


@pytest.mark.parametrize("name", ["x.safetensors", "pytorch_model.bin"])
def test_safetensors(tmp_path: Path, name: str) -> None:
    network = tiny(1)
    (tmp_path / name).write_bytes(safetensors(under("model.", network), KINDS))
    started, found, _ = start(tmp_path / name)
    same(started, network)
    assert found.prefix == "model."


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_numbers_in_safetensors(tmp_path: Path, kind: torch.dtype) -> None:
    tensors = {"a": torch.arange(6).reshape(2, 3).to(kind), "none": torch.empty(0, 3, dtype=kind)}
    (tmp_path / "x.safetensors").write_bytes(safetensors(tensors, KINDS))
    read = read_checkpoint(tmp_path / "x.safetensors").tensors
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == kind
        assert torch.equal(read[name], tensor)


def test_safetensors_of_its_own_library(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.torch")
    network = tiny(1)
    library.save_file(network.state_dict(), tmp_path / "x.safetensors")
    same(start(tmp_path / "x.safetensors")[0], network)


def test_damaged_safetensors(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    good = safetensors({"a": torch.ones(4)}, KINDS)
    entry = {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 16]}
    for content in (
        good[:-1],
        good[:20],
        good[:4],
        good + b"x",
        struct.pack("<Q", 2**62) + good[8:],
        safetensors({"a": torch.ones(4)}, KINDS, b={**entry, "shape": [4]}),
        safetensors({"a": torch.ones(4)}, KINDS, a=entry),
        safetensors({"a": torch.ones(4)}, KINDS, a={**entry, "shape": [-4]}),
        safetensors({"a": torch.ones(4)}, KINDS, a={**entry, "shape": "4"}),
        safetensors({"a": torch.ones(4)}, KINDS, a=[1]),
    ):
        file.write_bytes(content)
        with pytest.raises(
            RelayError, match=r"x.safetensors is cut short, damaged or not in the safetensors"
        ):
            read_checkpoint(file)
    file.write_bytes(safetensors({}, KINDS, a={"dtype": "F8_E4M3", "shape": [0], "data_offsets": [0, 0]}))
    checkpoint = read_checkpoint(file)
    with pytest.raises(RelayError, match=r"cannot be weights: a \(torch\.float8_e4m3fn"):
        checkpoint.checked(checkpoint.tensors)


# What old scripts and averages do to batch normalisation, and what a file says of itself.


def without_counters(network: Tiny) -> dict[str, Tensor]:
    return {name: it for name, it in network.state_dict().items() if "num_batches" not in name}


def all_in_half(network: Tiny) -> dict[str, Tensor]:
    counter = {"features.1.num_batches_tracked": torch.tensor(70_000.0).half()}  # infinite
    return {name: it.half() for name, it in network.state_dict().items()} | counter


@pytest.mark.parametrize("make", [without_counters, all_in_half])
def test_a_missing_count_of_batches_changes_nothing(
    tmp_path: Path, make: Callable[[Tiny], dict[str, Tensor]]
) -> None:
    network = tiny(1)
    torch.save({"student": under("", tiny(2, classes=5)), "teacher": make(network)}, tmp_path / "x.pth")
    started, found, _ = start(tmp_path / "x.pth")
    assert found.prefix == "teacher.", "its shapes fit"
    counter = "features.1.num_batches_tracked"
    assert f"{counter} is not in it, and starts at 0" in found.names
    assert started.state_dict()[counter] == 0
    assert torch.equal(
        started.get_buffer("features.1.running_mean"), network.get_buffer("features.1.running_mean")
    )


@pytest.mark.parametrize("said", [{"arch": "resnet50"}, {"args": argparse.Namespace(arch="resnet50")}])
def test_the_architecture_that_a_file_says(tmp_path: Path, said: dict[str, Any]) -> None:
    torch.save({"state_dict": {"layer1.0.conv1.weight": torch.ones(2)}, **said}, tmp_path / "x.pth")
    with pytest.raises(
        RelayError, match=r"none was found that it fits.* The file says that it is of resnet50"
    ):
        start(tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["out.safetensors", "out.pt"])
def test_the_command_writes_both_formats(tmp_path: Path, name: str) -> None:
    network = tiny(1)
    tied = under("", network) | {"again": network.get_parameter("classifier.1.bias")}
    torch.save({"model": tied, "epoch": 1}, tmp_path / "x.pth")
    main([f"file={tmp_path / 'x.pth'}", f"out={tmp_path / name}", "part=model"])
    written = read_checkpoint(tmp_path / name).tensors
    assert written.keys() == tied.keys()
    assert all(torch.equal(written[key], it) for key, it in tied.items())
