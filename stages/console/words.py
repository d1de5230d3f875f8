"""Numbers in words, for messages and pages."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: `1 run`, `2 runs`; `plural` where it is not the noun with an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
