"""A forward pass up to a layer, with autograd's graph of all that happened on the way."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import _get_sequence_nr  # type: ignore[attr-defined]
from torch.autograd.graph import Node, get_gradient_edge
from torch.overrides import TorchFunctionMode

from analysis.explain.choices import Rule
from analysis.explain.layers import Reached, find_layer, hooked, run
from analysis.explain.reverses import replaced
from stages.errors import RelayError


class ForwardTrace:
    """What ran up to a layer of a network in evaluation mode: modules, and functions between them.

    Hooks are on the network while the trace is made and are always taken off again.

    Attributes:
        names: Paths of the innermost modules that ran, in order.
        images: The leaf that the graph ends in.
        features: The layer's output, with its graph.

    Args:
        network: See `analysis.explain.desalinet.backward`.
        images: (N, C, H, W); they stay as they are where a first layer works in place.
        layer: The last one that runs; of several calls the first.
        rule: Of the backward path.
        strided_as_dense: See `analysis.explain.reverses.replaced`.

    Raises:
        RelayError: If the layer does not run, gives no single tensor or does not depend on the images, or if
            weights on the way are not finite.
    """

    def __init__(
        self, network: nn.Module, images: Tensor, layer: str, rule: Rule, *, strided_as_dense: bool = False
    ) -> None:
        self.names: list[str] = []
        self.images = images.detach().requires_grad_()
        self._layer, self._rule, self._strided_as_dense = layer, rule, strided_as_dense
        self._paths = {module: path for path, module in network.named_modules()}
        # Modules that run now, and those that ran: with autograd's count of operations before and after.
        self._running: list[tuple[nn.Module, int]] = []
        self._ran: list[tuple[int, int, nn.Module]] = []
        outputs: list[Any] = []

        def at_layer(_module: nn.Module, _inputs: Any, output: Any) -> None:
            outputs.append(output)
            raise Reached

        with hooked() as handles, torch.enable_grad(), _WholeGraph():
            for module in self._paths:
                handles.append(module.register_forward_pre_hook(self._before))
                # Before hooks of others: what these change comes after what the module gave.
                handles.append(module.register_forward_hook(self._after, prepend=True))
            handles.append(find_layer(network, layer).register_forward_hook(at_layer))
            run(network, self.images.clone())
            while self._running:  # what the layer is a part of
                self._leave()
        if not outputs:
            raise RelayError(f"{layer} did not run in {type(network).__name__}'s forward pass")
        if not isinstance(outputs[0], Tensor):
            raise RelayError(f"{layer} gives something other than one tensor, and so has no reverse")
        self.features = outputs[0]

    def nodes(self) -> list[Node]:
        """The nodes of autograd's graph between the images and the features, in the order in which they ran.

        What computes weights from other weights is not among them.

        Raises:
            RelayError: If there are none.
        """
        last = self.features.grad_fn
        givers = {} if last is None else _closure([last], _sources)
        users: dict[Node, list[Node]] = {}
        for node in givers:
            for source in _sources(node):
                users.setdefault(source, []).append(node)
        images = get_gradient_edge(self.images).node
        found = _closure([images], lambda node: users.get(node, []))
        if len(found) == 1:
            raise RelayError(
                f"what {self._layer} gives does not depend on the images by steps that have a derivative, "
                "and so has no reverse"
            )
        return sorted((node for node in found if node is not images), key=lambda node: node._sequence_nr())

    def module_of(self, node: Node) -> nn.Module:
        """The innermost module in whose forward pass a node was made; of what is made later, the network."""
        at = node._sequence_nr()
        around = (
            (end - start, place) for place, (start, end, _) in enumerate(self._ran) if start <= at < end
        )
        return self._ran[min(around, default=(0, -1))[1]][2]

    def described(self, module: nn.Module) -> str:
        """A module's path and type."""
        return ", ".join(part for part in (self._paths[module], type(module).__name__) if part)

    def _before(self, module: nn.Module, _inputs: Any) -> None:
        path = self._paths[module]
        _check_weights(module, path)
        self._running.append((module, _get_sequence_nr()))
        if not any(True for _ in module.children()) and ".parametrizations." not in f".{path}":
            self.names.append(path or type(module).__name__)

    def _after(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Tensor | None:
        while self._leave() is not module:
            pass  # one that raised an error, which the network caught
        return replaced(module, inputs, output, self._rule, strided_as_dense=self._strided_as_dense)

    def _leave(self) -> nn.Module:
        module, started = self._running.pop()
        self._ran.append((started, _get_sequence_nr(), module))
        return module


class _WholeGraph(TorchFunctionMode):
    """The graph has no gaps: `torch.no_grad` and `detach` in a forward pass change no value: ignored."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch._C._set_grad_enabled:
            return None
        if func is Tensor.detach or func is torch.detach:
            return args[0].view_as(args[0])
        if func is Tensor.numpy or func is Tensor.__array__:  # which hooks of others ask for after a detach
            args = (args[0].detach(), *args[1:])
        return func(*args, **(kwargs or {}))


def is_finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite."""
    # A sum is one pass and finite only if all are; it can also overflow, so only then is each looked at.
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())


def _sources(node: Node) -> list[Node]:
    return [source for source, _ in node.next_functions if source is not None]


def _closure(starts: list[Node], following: Callable[[Node], Iterable[Node]]) -> dict[Node, None]:
    """The nodes that can be reached, the starts among them."""
    found, pending = dict.fromkeys(starts), list(starts)
    while pending:
        for node in following(pending.pop()):
            if node not in found:
                found[node] = None
                pending.append(node)
    return found


def _check_weights(module: nn.Module, path: str) -> None:
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    for name, value in own:
        if value.is_floating_point() and not is_finite(value):
            raise RelayError(
                f"{path}{'.' if path else ''}{name} holds NaN or infinite weights, so that there is nothing "
                "to map back"
            )
