"""timm's networks by name, with fresh weights or without numbers; nothing is downloaded."""

import warnings
from difflib import get_close_matches
from typing import Any

import timm
import torch
from torch import Tensor, nn

from stages.errors import RelayError

CHANNELS = 3


def build_backbone(architecture: str, num_classes: int, *, dropout: float = 0.0, seed: int = 0) -> nn.Module:
    """A network of timm's with the weights that timm itself begins with.

    Args:
        architecture: A name of `timm.list_models()`, with a tag such as `.tv_in1k` or without. The tag
            decides the input's size and normalisation only.
        num_classes: Number of outputs, at least 1.
        dropout: timm's `drop_rate`: the probability of dropping a unit before the head.
        seed: Of the initial weights, which are drawn on the CPU. torch's own generator is left as it is.

    Returns:
        A module from images (N, 3, H, W) to logits (N, num_classes); on torch's default device, where no
        number is drawn on the meta device.

    Raises:
        RelayError: timm has no such classifier, or it drops no units.
    """
    name = checked_name(architecture)
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of timm, about names that it maps to newer ones
            return _created(name, num_classes, dropout)
    except TypeError as error:
        raise RelayError(
            f"model.architecture is {architecture}, which is no image classifier: {error}"
        ) from None
    except (RuntimeError, AssertionError, ValueError) as error:
        raise RelayError(
            f"model.architecture is {architecture}, which timm does not build: {error}"
        ) from None
    finally:
        torch.default_generator.set_state(before)


def _created(name: str, num_classes: int, dropout: float) -> nn.Module:
    usual: dict[str, Any] = {"num_classes": num_classes, "in_chans": CHANNELS}
    try:
        network: nn.Module = timm.create_model(name, **usual, drop_rate=dropout)
    except TypeError as error:
        if "drop_rate" not in str(error):
            raise
        if dropout:
            raise RelayError(
                f"model.dropout is {dropout}, but timm's {name} drops no units (it takes no drop_rate): set "
                "model.dropout=0"
            ) from None
        network = timm.create_model(name, **usual)
    return network


def fresh_state(architecture: str, num_classes: int, seed: int) -> dict[str, Tensor]:
    """The weights and buffers of a new network of a seed, on the CPU."""
    with torch.device("cpu"):
        return build_backbone(architecture, num_classes, seed=seed).state_dict()


def checked_name(architecture: str) -> str:
    """The name as timm knows it.

    Raises:
        RelayError: timm has no such network, or not with this tag; offers near names.
    """
    base, _, tag = architecture.partition(".")
    known = timm.list_models()
    if base not in known:
        near = get_close_matches(base, known, n=5)
        offer = f"did you mean {' or '.join(near)}? " if near else ""
        raise RelayError(
            f"model.architecture is {architecture!r}; {offer}timm {timm.__version__} has {len(known):,} "
            "networks; python -c \"import timm; print(timm.list_models('*resnet*'))\" lists some"
        )
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{base}.*")]
    if tag and tag not in tags:
        near = get_close_matches(tag, tags, n=3) or tags
        raise RelayError(
            f"model.architecture is {architecture!r}; timm's {base} has "
            + (f"the tags {', '.join(near)}" if near else "no tags")
        )
    return architecture
