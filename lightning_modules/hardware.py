"""What the machine does best: accelerator, precision and memory format.

torch, which takes seconds to load, is asked where Linux does not say it and the configuration does not.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_modules.registry import TIMM
from stages.config import Accelerator, Config
from stages.errors import RelayError
from stages.recipe import MemoryFormat, Precision

_PROCESSOR = Path("/proc/cpuinfo")
_DEVICES = Path("/dev")
# NVIDIA's driver, Tegra's, ROCm's and WSL's: a Linux without any of these has no GPU that torch uses.
_GPUS = ("nvidia*", "nvhost*", "kfd", "dxg")


def arithmetic(config: Config) -> tuple[Accelerator, Precision, MemoryFormat]:
    """Accelerator, precision and memory format of a configuration, `auto` resolved for this machine.

    bfloat16 where it is multiplied natively (AVX512-BF16 or AMX; CUDA from compute capability 8), else
    float32. On a processor timm's networks take float32, which trains them faster: docs/training.md.
    Channels-last on CPUs in bfloat16 and on CUDA, where convolutions are faster so.
    Both round differently, so the resolved values, not `auto`, are part of a run's id.

    Raises:
        RelayError: If what is `auto` hangs on a GPU that this machine does not have.
    """
    trainer = config.trainer
    accelerator, precision, memory_format = trainer.accelerator, trainer.precision, trainer.memory_format
    if accelerator == "auto":
        accelerator = _best_accelerator()
    if (
        "auto" in (precision, memory_format)
        and accelerator in ("gpu", "cuda")
        and not _uses_cuda(accelerator)
    ):
        raise RelayError(
            f"trainer.accelerator={accelerator}, but this machine has no GPU to say what auto is. Add "
            "trainer.precision=bf16-mixed (32-true before Ampere) and trainer.memory_format=channels_last"
        )
    if precision == "auto":
        fast = native_bfloat16(accelerator) and (config.model.name != TIMM or _uses_cuda(accelerator))
        precision = "bf16-mixed" if fast else "32-true"
    if memory_format == "auto":
        fast = precision != "32-true" or _uses_cuda(accelerator)
        memory_format = "channels_last" if fast else "contiguous"
    return accelerator, precision, memory_format


def _best_accelerator() -> Accelerator:
    if _uses_cuda("gpu"):
        return "gpu"
    if sys.platform == "darwin":
        import torch

        return "mps" if torch.backends.mps.is_available() else "cpu"
    return "cpu"


def _uses_cuda(accelerator: str) -> bool:
    if accelerator not in ("gpu", "cuda"):
        return False
    if _PROCESSOR.is_file() and not any(found for kind in _GPUS for found in _DEVICES.glob(kind)):
        return False
    import torch

    return torch.cuda.is_available()


def native_bfloat16(accelerator: str) -> bool:
    """Whether an accelerator of this machine multiplies bfloat16 itself."""
    if _uses_cuda(accelerator):
        import torch

        return torch.cuda.get_device_capability()[0] >= 8
    # oneDNN's own test: it emulates bfloat16 slowly on processors without these instructions
    capabilities = _cpu_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _cpu_capabilities() -> Mapping[str, Any]:
    if _PROCESSOR.is_file():
        return dict.fromkeys(re.findall(r"avx512_bf16|amx_bf16", _PROCESSOR.read_text()), True)
    import torch

    if hasattr(torch.cpu, "get_capabilities"):
        return torch.cpu.get_capabilities()
    return {  # before torch 2.13
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
        "amx_bf16": torch.cpu._is_amx_tile_supported(),  # every processor with tiles multiplies bfloat16
    }
