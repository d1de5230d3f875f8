"""Every command line of README.md and docs/ is one that the program takes as it is typed there."""

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from analysis.export.__main__ import Arguments as ExportArguments
from analysis.prediction.arguments import parse_arguments as parse_predict
from analysis.report.__main__ import Arguments as ReportArguments
from analysis.runs.arguments import key_values, keys_of, settings_from
from analysis.visualize import parse_arguments as parse_visualize
from datamodules.embedded.series import SeriesArguments
from relay_transfer.commands import COMMANDS
from tests.helpers.stage_helpers import CONF, PROJECT, compose_dict
from tests.test_docs import PAGES, faults

# Files of conf/ that a page lets its reader make are not in this checkout.
_READERS = {"skin", "histology", "skin_only", "by_histology", "freeze_conv1"}


def commands() -> Iterator[tuple[Path, str]]:
    """Each command of a code block on one line, with the page that it stands on."""
    for page in PAGES:
        for block in re.findall(r"^```(?:bash|sh)?\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            for line in block.replace("\\\n", " ").splitlines():
                for part in line.split("&&"):
                    if found := re.match(r"\s*(?:\.venv/bin/)?python3? (.*)", part):
                        yield page, found[1]


def parse_report(arguments: Sequence[str]) -> None:
    settings_from(key_values(arguments, keys_of(ReportArguments), ""), ReportArguments)


def parse_export(arguments: Sequence[str]) -> None:
    settings_from(key_values(arguments, keys_of(ExportArguments), ""), ExportArguments)


def parse_series(arguments: Sequence[str]) -> None:
    settings_from(dict(each.split("=", 1) for each in arguments), SeriesArguments)


def parse_train(arguments: Sequence[str]) -> None:
    typed = [each for each in arguments if "=" in each]
    chosen = [
        f"hydra.searchpath=[{PROJECT / folder}]"
        for option, folder in pairwise(arguments)
        if option == "--config-dir"
    ]
    for override in OverridesParser.create().parse_overrides(typed):
        value = override.input_line or ""
        if override.is_sweep_override():
            key = value.partition("=")[0]
            value = f"{key}={next(override.sweep_string_iterator())}"
        chosen.append(value)
    if not any(each.startswith("+stage=") for each in chosen):
        chosen.append("+stage=dld")
    compose_dict(*chosen, hydra_too=any("hydra" in each for each in chosen))


PARSERS: dict[str, Callable[[Sequence[str]], object]] = {
    "train.py": parse_train,
    "predict.py": parse_predict,
    "-m analysis.report": parse_report,
    "-m analysis.visualize": parse_visualize,
    "-m analysis.export": parse_export,
    "-m datamodules.embedded.series": parse_series,
}


@pytest.mark.parametrize("program", PARSERS)
def test_what_is_typed_is_taken(program: str) -> None:
    seen = 0
    for page, line in dict.fromkeys(commands()):
        typed = shlex.split(re.sub(r"\$\w+", "0", line), comments=True)  # of a loop of the shell
        words = typed[: 2 if typed[0] == "-m" else 1]
        arguments = typed[len(words) :]
        if " ".join(words) != program or "..." in arguments or "--help" in arguments:
            continue
        names = set(re.split(r"[=,+]", " ".join(arguments).replace(" ", ",")))
        if _READERS & names and "--config-dir" not in arguments:
            continue
        try:
            PARSERS[program](arguments)
        except Exception as error:
            pytest.fail(f"{page.relative_to(PROJECT)}: {line}\n{error}")
        seen += 1
    assert seen > 0, "no page has such a command"


def test_the_help_of_train_is_short_and_right() -> None:
    text = yaml.safe_load((CONF / "train.yaml").read_text())["hydra"]["help"]["template"]
    assert len(text.splitlines()) <= 30
    assert [fault for word in text.split() for fault in faults(word.strip("'.,;"))] == []
    for line in re.findall(r"python train.py (.*)", text):
        parse_train(shlex.split(re.split(r"  |; ", line)[0]))


def test_an_installed_relay_has_every_command_of_the_docs() -> None:
    """What is for those who change Relay is run in a checkout."""
    ours = {"stages.settings_page"}
    modules = {found[1] for _, line in commands() if (found := re.match(r"-m ([\w.]+)", line))}
    shipped = {name for name in modules if name.split(".")[0] not in ("benchmarks", "pytest", "venv")} - ours
    assert shipped <= {program for program, _ in COMMANDS.values()} and len(shipped) > 6


def test_a_wrong_command_is_found() -> None:
    for parse, typed in ((parse_train, ["optim.rate=1"]), (parse_report, ["runs_dir=r", "studies=a"])):
        with pytest.raises(Exception, match=r"rate|studies"):
            parse(typed)


def test_the_readers_files_are_not_ours() -> None:
    assert not [path for path in CONF.rglob("*.yaml") if path.stem in _READERS]
