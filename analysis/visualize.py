"""What the networks of a study take from images: `python -m analysis.visualize runs_dir=runs`.

Maps of images by every learning process (paper, Figure 9) with checks of whether to believe them, frequency
responses (Figures 8 and 10), and what each stage changed. analysis.report puts them on its page.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from analysis.explain.arrays import keep
from analysis.explain.cached_network import FOLDER
from analysis.explain.study_networks import rows_to_explain
from analysis.report.explained_sections import explained_sections, optional_files
from analysis.report.explained_study import ExplainedStudy, all_explanations, explain_study, save_explained
from analysis.report.page import check_output, write_files
from analysis.report.processes import process_labels, styles_of
from analysis.runs.arguments import Key, StudyArguments, help_lines, key_values, keys_of, settings_from
from analysis.runs.load import load_runs
from analysis.runs.study import Study, find_studies
from analysis.runs.study_choice import select_study
from analysis.wandb_dashboard.figures import log_figures
from stages.console.output import bar, output, refuse
from stages.errors import RelayError
from stages.machine.memory import keep_freed_memory
from stages.store import RunFolder


@dataclass(frozen=True)
class Arguments(StudyArguments):
    """What the command takes beside the settings of the analyses, which are by the analysis's name."""

    out: Annotated[
        Path | None, Key("where figures/ and tables/ go; explanations/ in the store if left out", "FOLDER")
    ] = None
    cache_dir: Annotated[
        Path | None, Key("where decoded images are kept, if not where training kept them", "FOLDER")
    ] = None
    root: Annotated[
        str | None,
        Key(
            "where the target's images are now, if not where training read them; an address must be typed",
            "FOLDER or ADDRESS",
        ),
    ] = None
    wandb: Annotated[
        Literal["disabled", "offline", "online"],
        Key("disabled, offline or online: log the figures, which show images of the evaluation set"),
    ] = "disabled"


def parse_arguments(arguments: Sequence[str]) -> tuple[Arguments, dict[str, Any]]:
    """The command's arguments, and the settings of each analysis by its name.

    Raises:
        RelayError: For an unknown key or value, a key given twice or without a value, or without runs_dir.
    """
    analyses = all_explanations()
    groups: list[type] = [Arguments, *(analysis.settings for analysis in analyses)]
    given = key_values(arguments, keys_of(*groups), example="python -m analysis.visualize runs_dir=runs")
    settings = {
        analysis.name: analysis.settings(**settings_from(given, analysis.settings)) for analysis in analyses
    }
    return Arguments(**settings_from(given, Arguments)), settings


def explain(arguments: Arguments, settings: dict[str, Any]) -> tuple[Study, ExplainedStudy]:
    """Explain a study's networks; whatever was computed before is read from disk.

    Raises:
        RelayError: If there is nothing to explain, or something asked for cannot be done.
    """
    from analysis.explain.target_images import target_images  # loads torch

    try:
        runs = load_runs(arguments.runs_dir)
    except FileNotFoundError as error:
        raise RelayError(str(error)) from None
    studies = find_studies(runs)
    if not studies:
        raise RelayError(f"{arguments.runs_dir} has no finished run of a learning process to explain")
    study = select_study(studies, arguments.study)
    chosen = rows_to_explain(study.runs)
    folders = [RunFolder(Path(folder)) for folder in (chosen if len(chosen) else study.runs)["folder"]]
    configured = [folder.path for folder in folders if folder.config.is_file()]
    if not configured:
        raise RelayError(f"no run of study {study.id} has a config.yaml, which says where its images are")
    targets = target_images(configured[0], arguments.cache_dir, arguments.root)
    with bar() as progress:
        task = progress.add_task("reading", total=None)
        described = ""

        def on_progress(what: str, done: int, total: int) -> None:
            nonlocal described
            if what != described:
                progress.reset(task)
                described = what
            progress.update(task, description=what, completed=done, total=total)

        return study, explain_study(study, runs, targets, settings, on_progress)


def main(arguments: Sequence[str]) -> None:
    """Explain a study, save it, draw its figures, and say where they are.

    Raises:
        SystemExit: With code 1 and one message if that is not possible; 130 after Ctrl-C.
    """
    try:
        given, settings = parse_arguments(arguments)
        out = given.out or given.runs_dir / "explanations"
        check_output(out)
        keep_freed_memory()
        study, explained = explain(given, settings)
        keep(lambda: save_explained(explained, given.runs_dir), given.runs_dir / FOLDER)
        labels = process_labels(explained.facts.processes)
        sections = explained_sections(explained, labels, styles_of(labels), given.runs_dir, keep=True)
        for name in optional_files():
            for suffix in (".svg", ".png", ".csv", ".tex"):
                (out / (name + suffix)).unlink(missing_ok=True)
        write_files(sections, out)
        if given.wandb != "disabled":
            log_figures(sections, study, given.runs_dir, given.wandb)
    except (RelayError, OSError) as error:
        refuse(error)
    except KeyboardInterrupt:
        output().print("Interrupted. What has been computed is kept; the same command goes on from there.")
        sys.exit(130)
    for line in explained.facts.skipped:
        output().print(f"left out: {line}", soft_wrap=True)
    output().print(f"figures and tables: {out}", soft_wrap=True)
    output().print(f"on the page: python -m analysis.report runs_dir={given.runs_dir}", soft_wrap=True)


def help_text() -> str:
    """The command's help: what it does, and a line for each key."""
    return f"{__doc__}\n{help_lines(Arguments, *(analysis.settings for analysis in all_explanations()))}"


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        output().print(help_text(), soft_wrap=True)
    else:
        main(sys.argv[1:])
