"""How parameters are declared, checked, described, and given to Hydra."""

from stages.parameters.declare import (
    Number,
    Parameter,
    checked,
    execution,
    group,
    parameters,
    part_of,
    recipe,
    reporting,
    tuples,
)
from stages.parameters.described import described
from stages.parameters.names import Name
from stages.parameters.schema import schema
from stages.parameters.typed import typed
from stages.parameters.words import Says, inner_group, shown

__all__ = [
    "Name",
    "Number",
    "Parameter",
    "Says",
    "checked",
    "described",
    "execution",
    "group",
    "inner_group",
    "parameters",
    "part_of",
    "recipe",
    "reporting",
    "schema",
    "shown",
    "tuples",
    "typed",
]
