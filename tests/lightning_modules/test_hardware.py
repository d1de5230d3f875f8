"""Precision and memory format by machine: the whole truth table."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch

from lightning_modules import hardware
from lightning_modules.hardware import arithmetic
from lightning_modules.resolve import resolve
from stages.config import Config, to_config
from stages.errors import RelayError
from tests.helpers.programs import PROJECT
from tests.helpers.stage_helpers import compose_dict, composed, with_value

CPUS = {
    "no bfloat16": {"avx2": True, "avx512_bf16": False, "amx_bf16": False},
    "says nothing of bfloat16": {"avx2": True},
    "AVX512-BF16": {"avx512_bf16": True, "amx_bf16": False},
    "AMX": {"avx512_bf16": False, "amx_bf16": True},
}
CUDA_CAPABILITIES = {"none": None, "Volta": (7, 5), "Ampere": (8, 0), "Hopper": (9, 0)}

# Without CUDA, or when told to use the CPU: by processor.
ON_CPU = {
    "no bfloat16": ("32-true", "contiguous"),
    "says nothing of bfloat16": ("32-true", "contiguous"),
    "AVX512-BF16": ("bf16-mixed", "channels_last"),
    "AMX": ("bf16-mixed", "channels_last"),
}
ON_CUDA = {
    "Volta": ("32-true", "channels_last"),
    "Ampere": ("bf16-mixed", "channels_last"),
    "Hopper": ("bf16-mixed", "channels_last"),
}


@pytest.fixture(scope="module")
def config() -> Config:
    return to_config(compose_dict())


def _machine(monkeypatch: pytest.MonkeyPatch, cpu: str, cuda: str) -> None:
    """Not on Linux, where torch is asked."""
    monkeypatch.setattr(hardware, "_PROCESSOR", Path("/nowhere"))
    capability = CUDA_CAPABILITIES[cuda]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: CPUS[cpu], raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)


def _resolved(config: Config, accelerator: str, precision: str, memory_format: str) -> tuple[str, str]:
    for name, value in (
        ("accelerator", accelerator), ("precision", precision), ("memory_format", memory_format),
    ):  # fmt: skip
        config = with_value(config, f"trainer.{name}", value)
    _, *resolved = arithmetic(config)
    return resolved[0], resolved[1]


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("device", [None, "nvme0", "nvidia0", "kfd"])
def test_linux_says_it_without_torch(
    monkeypatch: pytest.MonkeyPatch, config: Config, tmp_path: Path, cpu: str, device: str | None
) -> None:
    """A GPU's driver has a file; torch is asked then, and only then."""
    _machine(monkeypatch, "no bfloat16", "Hopper")
    flags = " ".join(name for name, there in CPUS[cpu].items() if there)
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : fpu {flags} sse\n")
    (tmp_path / (device or "null")).touch()
    monkeypatch.setattr(hardware, "_PROCESSOR", tmp_path / "cpuinfo")
    monkeypatch.setattr(hardware, "_DEVICES", tmp_path)
    driver = device in ("nvidia0", "kfd")
    assert _resolved(config, "auto", "auto", "auto") == (ON_CUDA["Hopper"] if driver else ON_CPU[cpu])
    assert _resolved(config, "cpu", "auto", "auto") == ON_CPU[cpu]


@pytest.mark.skipif(not hardware._PROCESSOR.is_file(), reason="only Linux has /proc/cpuinfo")
def test_linux_says_what_torch_says(monkeypatch: pytest.MonkeyPatch, config: Config) -> None:
    said = [_resolved(config, accelerator, "auto", "auto") for accelerator in ("auto", "cpu")]
    monkeypatch.setattr(hardware, "_PROCESSOR", Path("/nowhere"))
    assert said == [_resolved(config, accelerator, "auto", "auto") for accelerator in ("auto", "cpu")]


def test_auto_is_what_a_config_starts_with(config: Config) -> None:
    assert (config.trainer.precision, config.trainer.memory_format) == ("auto", "auto")


@pytest.mark.parametrize("accelerator", ["auto", "cpu", "gpu", "cuda"])
@pytest.mark.parametrize(("cpu", "cuda"), list(product(CPUS, CUDA_CAPABILITIES)))
def test_auto(monkeypatch: pytest.MonkeyPatch, config: Config, accelerator: str, cpu: str, cuda: str) -> None:
    _machine(monkeypatch, cpu, cuda)
    if cuda == "none" and accelerator in ("gpu", "cuda"):
        for chosen in ("auto", "32-true"):
            with pytest.raises(RelayError, match=f"accelerator={accelerator}, but this machine has no GPU"):
                _resolved(config, accelerator, chosen, "auto")
        assert _resolved(config, accelerator, "32-true", "contiguous") == ("32-true", "contiguous")
        return
    expected = ON_CPU[cpu] if cuda == "none" or accelerator == "cpu" else ON_CUDA[cuda]
    assert _resolved(config, accelerator, "auto", "auto") == expected


@pytest.mark.parametrize("cpu", CPUS)
def test_auto_is_float32_for_timms_networks_on_a_processor(
    monkeypatch: pytest.MonkeyPatch, config: Config, cpu: str
) -> None:
    timms = with_value(config, "model.name", "timm")
    _machine(monkeypatch, cpu, "Ampere")
    assert _resolved(timms, "cpu", "auto", "auto") == ("32-true", "contiguous")
    assert _resolved(timms, "cpu", "bf16-mixed", "auto") == ("bf16-mixed", "channels_last")
    assert _resolved(timms, "auto", "auto", "auto") == ON_CUDA["Ampere"]


@pytest.mark.parametrize(("asked", "cuda", "found"), [
    ("auto", "none", "cpu"), ("auto", "Ampere", "gpu"), ("cpu", "Ampere", "cpu"), ("cuda", "Ampere", "cuda"),
])  # fmt: skip
def test_which_accelerator(
    monkeypatch: pytest.MonkeyPatch, config: Config, asked: str, cuda: str, found: str
) -> None:
    _machine(monkeypatch, "AMX", cuda)
    monkeypatch.setattr("sys.platform", "linux")
    assert arithmetic(with_value(config, "trainer.accelerator", asked))[0] == found


@pytest.mark.parametrize("available", [True, False])
def test_an_accelerator_of_apple(monkeypatch: pytest.MonkeyPatch, config: Config, available: bool) -> None:
    _machine(monkeypatch, "no bfloat16", "none")
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: available)
    assert arithmetic(config) == ("mps" if available else "cpu", "32-true", "contiguous")


@pytest.mark.parametrize("cpu", CPUS)
def test_an_earlier_torch_is_asked_otherwise(
    monkeypatch: pytest.MonkeyPatch, config: Config, cpu: str
) -> None:
    _machine(monkeypatch, cpu, "none")
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    flags = CPUS[cpu]
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: flags.get("avx512_bf16", False))
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: flags.get("amx_bf16", False))
    assert _resolved(config, "cpu", "auto", "auto") == ON_CPU[cpu]


def test_float16_of_a_processor_is_refused_instead_of_another_precision_under_its_name() -> None:
    """Lightning takes bf16-mixed in its place, with a warning."""
    with pytest.raises(RelayError, match=r"trainer\.precision=16-mixed: no processor computes so"):
        resolve(composed("+stage=dld", "trainer.precision=16-mixed", "trainer.accelerator=cpu"), False)


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize(("cpu", "cuda"), [("no bfloat16", "none"), ("AMX", "Hopper")])
def test_what_the_user_chose_stays(
    monkeypatch: pytest.MonkeyPatch, config: Config, cpu: str, cuda: str, precision: str, memory_format: str
) -> None:
    _machine(monkeypatch, cpu, cuda)
    assert _resolved(config, "auto", precision, memory_format) == (precision, memory_format)


def test_one_chosen_and_the_other_resolved(monkeypatch: pytest.MonkeyPatch, config: Config) -> None:
    _machine(monkeypatch, "AMX", "none")
    assert _resolved(config, "cpu", "32-true", "auto") == ("32-true", "contiguous")
    assert _resolved(config, "cpu", "auto", "contiguous") == ("bf16-mixed", "contiguous")
    _machine(monkeypatch, "no bfloat16", "Volta")
    assert _resolved(config, "gpu", "32-true", "auto") == ("32-true", "channels_last")
    assert _resolved(config, "cpu", "bf16-mixed", "auto") == ("bf16-mixed", "channels_last")


def test_saying_both_loads_no_torch() -> None:
    code = (
        "import sys; from types import SimpleNamespace; from lightning_modules.hardware import arithmetic\n"
        "trainer = SimpleNamespace(accelerator='cpu', precision='32-true', memory_format='contiguous')\n"
        "assert arithmetic(SimpleNamespace(trainer=trainer)) == ('cpu', '32-true', 'contiguous')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)
