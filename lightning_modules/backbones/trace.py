"""What runs in a network, and when: one forward pass, watched."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter


@dataclass(frozen=True)
class Trace:
    """One forward pass.

    Attributes:
        used: Key of a parameter or buffer, its first one -> number of the first function that took it.
        ended: Path of each module that gave one tensor, in the order in which their first calls ended -> the
            tensor's number of dimensions.
        began: Path of a module -> how many modules had ended when its first call began.
        shape: Of what the network gave; None if it is no tensor.
    """

    used: dict[str, int]
    ended: dict[str, int]
    began: dict[str, int]
    shape: torch.Size | None

    def flat_before(self, path: str) -> list[str]:
        """Modules that gave a row of numbers for each image before a module began; the last one first."""
        before = list(self.ended.items())[: self.began.get(path, 0)]
        return [name for name, dimensions in reversed(before) if dimensions == 2]


class _Uses(TorchFunctionMode):
    """Notes the first function that each tensor of interest is given to."""

    def __init__(self, tensors: dict[int, str]) -> None:
        super().__init__()
        self._tensors = tensors
        self._calls = 0
        self.used: dict[str, int] = {}

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if (
            getattr(function, "__name__", "") != "__get__"
        ):  # a question for its dtype or shape is no use of it
            self._calls += 1
            for value in tree_iter((args, kwargs or {})):
                if isinstance(value, Tensor) and id(value) in self._tensors:
                    self.used.setdefault(self._tensors[id(value)], self._calls)
        return function(*args, **(kwargs or {}))


def traced(network: nn.Module, images: Tensor) -> Trace:
    """Run a network in evaluation mode and note what runs; its hooks are removed again."""
    ended: dict[str, int] = {}
    began: dict[str, int] = {}
    handles = []

    def begin(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any) -> None:
            began.setdefault(path, len(ended))

        return hook

    def end(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                ended.setdefault(path, output.dim())

        return hook

    tensors = reversed(network.state_dict(keep_vars=True).items())  # of a tensor's names the first stays
    uses = _Uses({id(tensor): key for key, tensor in tensors})
    try:
        for path, module in network.named_modules():
            if path:
                handles.append(module.register_forward_pre_hook(begin(path)))
                handles.append(module.register_forward_hook(end(path)))
        with torch.no_grad(), uses:
            output = network(images)
    finally:
        for handle in handles:
            handle.remove()
    return Trace(uses.used, ended, began, output.shape if isinstance(output, Tensor) else None)
