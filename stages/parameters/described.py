"""What a command's help says of a group of parameters."""

from collections.abc import Iterator
from dataclasses import MISSING, fields
from textwrap import fill

import yaml

from stages.parameters.declare import parameters


def described(group: type) -> Iterator[str]:
    """Each key of a group with its default and meaning, and what is allowed."""
    found = parameters(group)
    for entry in sorted(fields(group), key=lambda entry: entry.default is not MISSING):
        about = found[entry.name]
        assert about is not None
        default = "" if entry.default is MISSING else yaml.safe_dump(entry.default, default_flow_style=True)
        key = f"{entry.name}={default.removesuffix(chr(10)).removesuffix('...').strip()}"
        text = f"{about.meaning} ({'; '.join(filter(None, (about.unit, about.allowed)))})"
        yield fill(text, 110, initial_indent=f"  {key:<26}", subsequent_indent=" " * 28)
