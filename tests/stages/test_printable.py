"""Names on a terminal: literal, and none that acts."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from stages.console import output as console_output
from stages.console.printable import Printable, printable


def test_what_acts_is_seen_and_the_rest_stays() -> None:
    assert printable("Läufe 中文 😀\n\tא") == "Läufe 中文 😀\n\tא"
    assert printable("a\x1b[31mred\x07\x9b2J\u202eb") == "a␛[31mred␇�2J�b"


def test_a_terminal_gets_only_the_codes_of_rich() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, color_system="standard")
    console.push_render_hook(Printable())
    table = Table(box=None)
    table.add_column("class")
    table.add_row("\x1b]0;title\x07")
    console.print(table)
    console.print("\x1b[2J", style="red", markup=False)
    assert "\x1b[31m" in file.getvalue()  # rich's own
    for code in ("\x1b]", "\x1b[2J", "\x07"):
        assert code not in file.getvalue()
    assert file.getvalue().count("␛") == 2


@pytest.mark.parametrize("name", ["[red]x[/red]", ":smile:", "[/]", "{{ x }}", "%s %(x)s"])
def test_markup_in_a_name_is_no_markup(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    console_output.output.cache_clear()
    try:
        table = Table(box=None)
        table.add_column("class")
        table.add_row(name)
        console_output.output().print(table)
        console_output.output().print(f"stage {name}")
    finally:
        console_output.output.cache_clear()
    assert capsys.readouterr().out.count(name) == 2
