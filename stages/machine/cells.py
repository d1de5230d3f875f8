"""Names in CSV files: a spreadsheet takes a cell that begins with = + - @ for a formula, and runs it."""

from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_MARK = "'"  # spreadsheets show what follows it as text


def neutral(name: str) -> str:
    """A name as it stands in a cell: with a `'` before it if it could be a formula, or begins with a `'`.

    Numbers, such as -0.5, stay numbers.
    """
    if not name.startswith((*_FORMULA, _MARK)) or _is_number(name):
        return name
    return _MARK + name


def original(cell: str) -> str:
    """The name that `neutral` wrote into a cell."""
    return cell.removeprefix(_MARK)


def to_csv(table: pd.DataFrame) -> str:
    """A table as CSV, numbers in full precision, an empty field for a missing value; names neutral."""
    safe = table.rename(columns=_neutral_if_text)
    for place, name in enumerate(safe.columns):
        if not is_numeric_dtype(safe.dtypes.iloc[place]):
            safe[name] = safe[name].map(_neutral_if_text)
    return str(safe.to_csv(index=False, lineterminator="\n"))


def _neutral_if_text(value: Any) -> Any:
    return neutral(value) if isinstance(value, str) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return not text.startswith(_FORMULA[4:])
