"""Names as people chose them, without what would act on a terminal, turn text around or break a picture."""

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.segment import Segment

from relay_transfer.commands import as_typed

# Control characters but tabs and line ends, and the marks that make the rest of a line run the other way.
_ACTING = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")


def printable(text: str) -> str:
    """A text in which each character that acts is one that is seen: U+241B for escape, U+FFFD for most."""
    return _ACTING.sub(lambda found: _picture(ord(found[0])), text)


def _picture(code: int) -> str:
    return chr(0x2400 + code) if code < 0x20 else "\N{REPLACEMENT CHARACTER}"


class Printable(RenderHook):
    """For `Console.push_render_hook`: only rich's own codes act, and commands are as they are typed here."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """What is printed instead."""
        return [_Clean(each) for each in renderables]


class _Clean:
    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from _clean(console.render(self._content, options))


def _clean(segments: Iterable[Segment]) -> Iterable[Segment]:
    for text, style, control in segments:
        yield Segment(text if control else as_typed(printable(text)), style, control)
