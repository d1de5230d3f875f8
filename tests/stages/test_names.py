"""A name is a name on every machine: no path, nothing hidden, no device."""

import unicodedata

import pytest

from stages.config import LoggerConfig, StageConfig
from stages.errors import RelayError
from stages.parameters.names import check_name
from stages.processes import Process


@pytest.mark.parametrize(
    "name", ["dld", "two_stage", "Läufe", "lung patches", "中文", "v1.2", "a-b", "7", "con2", "n" * 64]
)
def test_what_people_call_things_is_a_name(name: str) -> None:
    assert StageConfig(name=name, domain=name).name == name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            " ",
            "..",
            "../../x",
            "sub/foo",
            "sub\\foo",
            "/etc",
            "~",
            "~root",
            "C:",
            "C:x",
            ".hidden",
            "-m",
        ),
        *("con", "CON", "nul.txt", "Com1", "lpt9.x", "a ", " a", "a.", "a\nb", "a\x00b", "a\x1b[31m", "_x"),
        *("a,b", "[a]", "{a}", "a=b", "a>b", "a*", "$HOME", "${seed}", "a'b", 'a"b', "n" * 65),
        unicodedata.normalize("NFD", "Läufe"),  # another folder than "Läufe" on Linux, the same one on a Mac
    ],
)
def test_what_is_no_name_everywhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        check_name(name)
    for values in ({"name": name}, {"name": "dld", "domain": name}):
        with pytest.raises(RelayError, match=r"must be a name of at most 64"):
            StageConfig(**values)
    with pytest.raises(RelayError, match=r"chain is .*must be a list, each a name"):
        Process(name="mine", chain=("natural", name))


@pytest.mark.parametrize("project", ["a/b", "p" * 129, "", "50%"])
def test_a_project_that_wandb_refuses_is_refused_before_the_training(project: str) -> None:
    with pytest.raises(RelayError, match=r"project is .*must be a name of at most 128 characters"):
        LoggerConfig(wandb="online", project=project, entity=None, study="s")
