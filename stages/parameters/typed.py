"""A value that was typed, by the type of its parameter: text is taken as it stands."""

import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from stages.errors import RelayError

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")  # 007 and 010 are names, not 7 and 8 as YAML has it
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_TRUTH = {"true": True, "false": False}
_NOTHING = ("null", "~")


def typed(declared: type, given: Mapping[str, str]) -> dict[str, Any]:
    """Values of a group's parameters from what was typed.

    Text is literal, whatever YAML would make of ` #`, `: `, `007`, `no` or `2011-02-03`, and so are paths,
    but for `~`. Lists and mappings are written as in YAML, `[a, b]` and `{1: GGO}`, and the text in them is
    literal, too.

    Args:
        declared: a group of parameters.
        given: by name, which the group has.

    Raises:
        RelayError: for a list or mapping that cannot be read, or a mapping with a key twice; names the
            parameter. A value of another type than the parameter's is left to the group.
    """
    hints = get_type_hints(declared, include_extras=True)
    return {key: _value(key, hints[key], text) for key, text in given.items()}


def _value(key: str, hint: Any, text: str) -> Any:
    if not _kinds(hint) & {tuple, list, dict} or text in _NOTHING:
        return _scalar(hint, text)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return _scalar(hint, text) if node is None else _of_node(hint, node)
    except (yaml.YAMLError, ValueError) as error:
        reason = str(error) if isinstance(error, ValueError) else "brackets, commas and colons do not fit"
        raise RelayError(
            f"{key} is {text!r}, which cannot be read ({reason}); put a text with signs such as # or : in it "
            "in quotes"
        ) from None


def _of_node(hint: Any, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.value if node.style in ("'", '"') and str in _kinds(hint) else _scalar(hint, node.value)
    chosen = _of_kind(hint, dict if isinstance(node, yaml.MappingNode) else tuple)
    parts = get_args(chosen)
    if isinstance(node, yaml.SequenceNode):
        inner = parts or (Any,)
        each = [inner[min(place, len(inner) - 1)] for place in range(len(node.value))]
        if len(inner) == 2 and inner[1] is Ellipsis:
            each = [inner[0]] * len(node.value)
        return tuple(_of_node(*pair) for pair in zip(each, node.value, strict=True))
    of_keys, of_values = parts or (Any, Any)
    found = {}
    for key, value in node.value:
        name = _of_node(of_keys, key)
        if name in found:
            raise ValueError(f"{name} stands in it twice")
        found[name] = _of_node(of_values, value)
    return found


def _scalar(hint: Any, text: str) -> Any:
    kinds = _kinds(hint)
    if type(None) in kinds and text in _NOTHING:
        return None
    if bool in kinds and text in _TRUTH:
        return _TRUTH[text]
    if kinds & {int, float} and _WHOLE.fullmatch(text):
        return int(text)
    if float in kinds and _NUMBER.fullmatch(text):
        return float(text)
    return Path(text).expanduser() if Path in kinds else text


def _kinds(hint: Any) -> set[Any]:
    """The plain types that a hint allows; those inside of lists and mappings not."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _kinds(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return set().union(*map(_kinds, get_args(hint)))
    if origin is Literal:
        return {str}
    return {origin or hint}


def _of_kind(hint: Any, kind: type) -> Any:
    """The part of a hint that is a list or a mapping."""
    if get_origin(hint) is Annotated:
        return _of_kind(get_args(hint)[0], kind)
    if get_origin(hint) in (Union, types.UnionType):
        found = (_of_kind(part, kind) for part in get_args(hint))
        return next((part for part in found if part is not None), None)
    kinds = (list, tuple) if kind is tuple else (dict,)
    return hint if get_origin(hint) in kinds else None
