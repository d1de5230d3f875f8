"""A forward pass that is watched module by module, so that it can be undone, or is refused."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from analysis.explain.choices import Rule
from analysis.explain.layers import Reached, find_layer, hooked, run
from analysis.explain.reverses import Reverse, is_by_graph, needed_by_reverse, reverse_of
from stages.errors import RelayError


class ForwardTrace:
    """What ran up to a layer, in order, of a network in evaluation mode and without gradients.

    Hooks are on the network while the trace is made and are always taken off again. No graph is kept, but for
    single modules that autograd reverses.

    Attributes:
        names: Paths of the modules that ran.
        reverses: How each step is undone: the modules, and the changes of shape between them.
        value: What flowed out of the last one; at the end the layer's features.

    Args:
        network: See `analysis.explain.desalinet.backward`.
        images: (N, C, H, W); a first layer may change them in place.
        layer: The last one that runs.
        rule: Of the backward path.
        strided_as_dense: See `analysis.explain.reverses.reverse_of`.

    Raises:
        RelayError: If something has no reverse, or the layer does not run.
    """

    def __init__(
        self, network: nn.Module, images: Tensor, layer: str, rule: Rule, *, strided_as_dense: bool = False
    ) -> None:
        self.names: list[str] = []
        self.reverses: list[Reverse] = []
        self.value = images
        self._version = images._version
        # Tensors that the reverses need as they are now, each with its module and its version.
        self._needed: list[tuple[str, Tensor, int]] = []
        self._entered: dict[nn.Module, int] = {}
        self._reached = False
        self._layer = layer
        self._rule = rule
        self._strided_as_dense = strided_as_dense
        self._paths = {module: path or type(network).__name__ for path, module in network.named_modules()}
        computing, containers = _modules(network)
        with hooked() as handles:
            for module in computing:
                handles.append(module.register_forward_pre_hook(self._before))
                # Before hooks of others: what they change is no longer what the module gave.
                handles.append(module.register_forward_hook(self._after, prepend=True))
            for module in containers:
                handles.append(module.register_forward_pre_hook(self._enter))
                handles.append(module.register_forward_hook(self._leave))
            handles.append(find_layer(network, layer).register_forward_hook(self._at_layer))
            run(network, images)
        if not self._reached:
            raise RelayError(f"{layer} did not run in {type(network).__name__}'s forward pass")

    def _before(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        path = self._paths[module]
        given = _only(inputs, path, "takes")
        _check_weights(module, path)
        self.reverses.append(self._link(given, path))
        self._check_needed(f"what is not a module, before {path},")
        if not is_by_graph(module, self._rule):
            return None
        # This module alone keeps its graph: its switches, or what its derivative needs.
        torch.set_grad_enabled(True)
        return (given.detach().requires_grad_(),)

    def _after(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Tensor:
        torch.set_grad_enabled(False)
        path, given = self._paths[module], inputs[0]
        value = _only((output,), path, "gives")
        reverse = reverse_of(module, given, value, self._rule, strided_as_dense=self._strided_as_dense)
        if reverse is None:
            raise _no_reverse(module, path)
        if is_by_graph(module, self._rule):
            value = value.detach()  # the graph ends here
        self._check_needed(path)
        needed = needed_by_reverse(module, given, value, self._rule)
        if needed is not None:
            self._needed.append((path, needed, needed._version))
        self.names.append(path)
        self.reverses.append(reverse)
        self.value, self._version = value, value._version
        return value

    def _enter(self, module: nn.Module, _inputs: Any) -> None:
        self._entered[module] = len(self.names)

    def _leave(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        # One that ran none of its modules computes by itself, as attention does.
        if self._entered[module] == len(self.names) and output is not inputs[0]:
            raise _no_reverse(module, self._paths[module])

    def _at_layer(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        end = f"the end of {self._layer}"
        self.reverses.append(self._link(_only((output,), self._layer, "gives"), end))
        self._check_needed(f"what is not a module, before {end},")
        self.value = output
        self._reached = True
        raise Reached

    def _check_needed(self, last: str) -> None:
        """Refuse what worked in place on what the reverse of an earlier module needs."""
        for path, tensor, version in self._needed:
            if tensor._version != version:
                raise RelayError(
                    f"{last} changes in place what {path} needs for its reverse; give it inplace=False"
                )

    def _link(self, given: Tensor, path: str) -> Reverse:
        """How what came out of one module became the input of the next: as it is, or in another shape.

        Raises:
            RelayError: If anything else happened in between.
        """
        last, shape = self.value, self.value.shape  # the reverse must not keep an activation alive
        if given._version == self._version and (given is last or _is_view(last, given)):
            return lambda signal: signal.reshape(shape)
        if last._version == self._version and _is_reshaped(last, given):
            return lambda signal: signal.reshape(shape)
        source = self.names[-1] if self.names else "the images"
        raise RelayError(
            f"between {source} and {path} something happens that is not a module, such as a function "
            "(torch.nn.functional.relu), a sum, a branch or a hook, and so has no reverse; make it a module, "
            "or choose an earlier layer"
        )


def is_finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite."""
    # A sum is one pass and finite only if all are; it can also overflow, so only then is each looked at.
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())


def _modules(network: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """The modules that compute, each to be undone, and those that only run others.

    Modules that compute a weight, such as those of spectral_norm, run inside of the layer whose weight it is
    and are in neither.
    """
    modules = list(network.modules())
    weights = {
        part
        for module in modules
        if is_parametrized(module)
        for part in cast(nn.Module, module.parametrizations).modules()
    }
    own = [module for module in modules if module not in weights]
    computing = [module for module in own if weights.issuperset(module.children())]
    return computing, [module for module in own if module not in set(computing)]


def _is_view(last: Tensor, given: Tensor) -> bool:
    """Whether both are the same numbers in the same order in the same memory."""
    same = given.data_ptr() == last.data_ptr() and given.numel() == last.numel()
    return same and given.is_contiguous() and last.is_contiguous()


def _is_reshaped(last: Tensor, given: Tensor) -> bool:
    """Whether one is the other flattened, which takes memory of its own for other strides only."""
    if last.is_contiguous() or given.dim() == last.dim() or given.numel() != last.numel():
        return False
    return torch.equal(last.reshape(given.shape), given)


def _only(values: tuple[Any, ...], path: str, verb: str) -> Tensor:
    if len(values) != 1 or not isinstance(values[0], Tensor):
        raise RelayError(f"{path} {verb} something other than one tensor, and so has no reverse")
    return values[0]


def _check_weights(module: nn.Module, path: str) -> None:
    for name, value in module.state_dict().items():
        if value.is_floating_point() and not is_finite(value):
            raise RelayError(
                f"{path}.{name} holds NaN or infinite weights, so that there is nothing to map back"
            )


def _no_reverse(module: nn.Module, path: str) -> RelayError:
    return RelayError(
        f"{path}, {type(module).__name__}, has no reverse; a backward path takes convolution, ReLU, "
        "pooling, linear, dropout, normalisation and flattening modules"
    )
