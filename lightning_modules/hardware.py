"""What the machine does best: precision and memory format.

torch, which takes seconds to load, is asked where Linux does not say it and the configuration does not.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.config import Config
from stages.recipe import MemoryFormat, Precision

_PROCESSOR = Path("/proc/cpuinfo")
_DEVICES = Path("/dev")
# NVIDIA's driver, Tegra's, ROCm's and WSL's: a Linux without any of these has no GPU that torch uses.
_GPUS = ("nvidia*", "nvhost*", "kfd", "dxg")


def arithmetic(config: Config) -> tuple[Precision, MemoryFormat]:
    """Precision and memory format of a configuration, `auto` resolved for this machine.

    bfloat16 where the processor multiplies it natively (AVX512-BF16 or AMX; CUDA from compute capability
    8), else float32; channels-last on CPUs with bfloat16 and on CUDA, where convolutions are faster so.
    Both round differently, so the resolved values, not `auto`, are part of a run's id.
    """
    precision, memory_format = config.trainer.precision, config.trainer.memory_format
    if precision == "auto":
        precision = "bf16-mixed" if _native_bfloat16(config.trainer.accelerator) else "32-true"
    if memory_format == "auto":
        fast = precision != "32-true" or _uses_cuda(config.trainer.accelerator)
        memory_format = "channels_last" if fast else "contiguous"
    return precision, memory_format


def _uses_cuda(accelerator: str) -> bool:
    if accelerator not in ("auto", "gpu", "cuda"):
        return False
    if _PROCESSOR.is_file() and not any(found for kind in _GPUS for found in _DEVICES.glob(kind)):
        return False
    import torch

    return torch.cuda.is_available()


def _native_bfloat16(accelerator: str) -> bool:
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
