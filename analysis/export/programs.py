"""The two programs: `model.pt2` by torch.export, `model.onnx` by torch.onnx."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from analysis.export.network import RawPatchNetwork
from stages.errors import RelayError
from stages.machine.signals import held_back

TORCH_PROGRAM, ONNX_PROGRAM = "model.pt2", "model.onnx"

INPUT, OUTPUTS = "images", ("probabilities", "network_probabilities")

OPSET = 18
"""Of ONNX: the one that torch's exporter is written for, so that nothing is converted, in torch 2.7 too."""

BATCH = "N"
"""The dimension of patches in both programs' inputs and outputs."""

_MOST_IN_ONE_FILE = 1_900_000_000  # bytes of weights: protobuf reads no file of 2 GiB

# Where code stood on this machine, and what torch notes about it; no one needs it to compute.
_NOTED = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node", "custom")


def check_installed() -> None:
    """Whether the libraries of the extra are there.

    Raises:
        RelayError: if one is missing.
    """
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise RelayError(f'exporting needs {", ".join(missing)}: pip install ".[export]"')


def write_programs(network: RawPatchNetwork, folder: Path) -> None:
    """Write both programs into a folder; weights of more than 1.9 GB lie beside `model.onnx`.

    Raises:
        RelayError: if the network cannot be exported; says why, and whose limit it is.
    """
    with quiet():
        program = _exported(network)
        try:
            with held_back():
                torch.export.save(program, folder / TORCH_PROGRAM)
        except RuntimeError as error:  # what its archive makes of a full disk
            raise OSError(str(error).partition("\n")[0]) from None
        _write_onnx(program, folder / ONNX_PROGRAM)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch's exporters say of themselves: what is wrong with a program, the check finds."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "torch.export", "onnxscript")]
    before = [each.level for each in loggers]
    try:
        for each in loggers:
            each.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)


def _exported(network: RawPatchNetwork) -> ExportedProgram:
    example = torch.zeros(2, *network.raw.shape, dtype=network.raw.dtype)
    try:
        with torch.no_grad():
            program = torch.export.export(network, (example,), dynamic_shapes=({0: Dim(BATCH)},))
    except Exception as error:  # what a network's own code may raise there
        raise _refused("torch.export", error) from error
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    for node in program.graph.nodes:
        for name in _NOTED:
            node.meta.pop(name, None)
    return program


def _write_onnx(program: ExportedProgram, path: Path) -> None:
    try:
        written = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            verbose=False,
        )
    except Exception as error:
        raise _refused("torch.onnx", error) from error
    assert written is not None
    graph = written.model.graph
    batch = next(str(value.shape[0]) for value in graph.inputs if value.shape is not None)
    values = [*graph.inputs, *graph.initializers.values()]
    for node in graph:
        node.metadata_props.clear()
        values += node.outputs
    for value in values:
        value.metadata_props.clear()
        if value.shape is not None:
            value.shape = type(value.shape)([BATCH if str(each) == batch else each for each in value.shape])
    graph.metadata_props.clear()
    written.model.metadata_props.clear()
    size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    with held_back():
        written.save(path, external_data=size > _MOST_IN_ONE_FILE)


def _refused(by: str, error: Exception) -> Exception:
    """What to say of a network that an exporter does not take; an error of the machine stays as it is."""
    if isinstance(error, OSError | MemoryError):
        return error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return RelayError(
        f"{by} of torch {torch.__version__} does not take this network ({lines[0]}). A network of your own "
        "may branch on no pixel's value, and must be made of operations that ONNX has"
    )
