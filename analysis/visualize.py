"""What the networks of a study see: `python -m analysis.visualize runs_dir=runs`.

Maps of images by every learning process (paper, Figure 9) with checks of whether they can be believed,
frequency responses (Figures 8 and 10), and what each stage changed. analysis.report puts them on its page.

runs_dir=FOLDER     the store that train.py wrote to
out=FOLDER          where figures/ and tables/ go; FOLDER/seen in the store if left out
study=ID            which study of a store that holds several; the one with most runs if left out
images=FOLDER       images of your own, mapped back beside those of the evaluation set
layer=pool5         whose features are mapped back
rule=desalinet      desalinet, saliency or deconvnet
norm=paper          reference images of amplitude 1 (Eq. 6 as printed), or unit: of Frobenius norm 1
directions=grid     the distinct points of the Fourier grid, or cosine: frequencies between them
precision=auto      of the frequency response: that of the training, float32 or bfloat16
window=11           of the Savitzky-Golay filter, in frequencies
cache_dir=FOLDER    where decoded images are kept, if not where training kept them
wandb=disabled      disabled, offline or online: log the figures, which show images of the evaluation set
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from analysis.explain.frequency import Precision
from analysis.explain.observations import Observations, save_observations
from analysis.explain.observe import Look, observe
from analysis.explain.reference_images import Directions, Norm
from analysis.explain.reverses import Rule
from analysis.explain.target_images import target_images
from analysis.report.page import write_files
from analysis.report.seen import OPTIONAL, seen_sections
from analysis.report.study_report import process_labels, styles_of
from analysis.runs.arguments import key_values
from analysis.runs.load import load_runs
from analysis.runs.study import Study, find_studies, select_study
from analysis.wandb_dashboard.figures import log_figures
from stages.console.output import bar, output, refuse
from stages.errors import RelayError
from stages.machine.memory import keep_freed_memory
from stages.store import RunFolder

WandbMode = Literal["disabled", "offline", "online"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "rule": get_args(Rule),
    "norm": get_args(Norm),
    "directions": get_args(Directions),
    "precision": ("auto", *get_args(Precision)),
    "wandb": get_args(WandbMode),
}
_KEYS = (
    "runs_dir", "out", "study", "images", "layer", "rule", "norm", "directions", "precision", "window",
    "cache_dir", "wandb",
)  # fmt: skip


@dataclass(frozen=True)
class Arguments:
    """The command's arguments; see this module's docstring."""

    runs_dir: Path
    out: Path
    study: str | None
    images: Path | None
    cache_dir: Path | None
    wandb: str
    look: Look


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """KEY=VALUE arguments.

    Raises:
        RelayError: for an unknown key or value, a key given twice or without a value, or without runs_dir.
    """
    given = key_values(arguments, _KEYS, example="python -m analysis.visualize runs_dir=runs")
    for key, choices in _CHOICES.items():
        if given.get(key, choices[0]) not in choices:
            raise RelayError(f"{key} is {given[key]!r}; choose one of {', '.join(choices)}")
    window = given.get("window", "11")
    if not window.isdecimal():
        raise RelayError(f"window is {window!r}; give an odd number of frequencies, such as 11")
    precision = given.get("precision", "auto")
    asked = {key: given[key] for key in ("layer", "rule", "norm", "directions") if key in given}
    runs_dir = Path(given["runs_dir"]).expanduser()

    def folder(key: str) -> Path | None:
        return Path(given[key]).expanduser() if key in given else None

    return Arguments(
        runs_dir=runs_dir,
        out=folder("out") or runs_dir / "seen",
        study=given.get("study"),
        images=folder("images"),
        cache_dir=folder("cache_dir"),
        wandb=given.get("wandb", "disabled"),
        look=Look(
            **asked,  # type: ignore[arg-type]
            window=int(window),
            precision=None if precision == "auto" else precision,  # type: ignore[arg-type]
        ),
    )


def look_at(arguments: Arguments) -> tuple[Study, Observations]:
    """Look at a study's networks; whatever was looked at before is read from disk.

    Raises:
        RelayError: if there is nothing to look at, or something asked for cannot be done.
    """
    try:
        runs = load_runs(arguments.runs_dir)
    except FileNotFoundError as error:
        raise RelayError(str(error)) from None
    studies = find_studies(runs)
    if not studies:
        raise RelayError(f"{arguments.runs_dir} has no finished run of a learning process to look at")
    study = select_study(studies, arguments.study)
    folders = [RunFolder(Path(folder)) for folder in study.runs["folder"]]
    configured = [folder.path for folder in folders if folder.config.is_file()]
    if not configured:
        raise RelayError(f"no run of study {study.id} has a config.yaml, which says where its images are")
    targets = target_images(configured[0], arguments.cache_dir)
    own = None if arguments.images is None else targets.own_images(arguments.images)
    with bar() as progress:
        task = progress.add_task("reading", total=None)
        described = ""

        def on_progress(what: str, done: int, total: int) -> None:
            nonlocal described
            if what != described:
                progress.reset(task)
                described = what
            progress.update(task, description=what, completed=done, total=total)

        return study, observe(study, runs, targets, arguments.look, own, on_progress)


def main(arguments: Sequence[str]) -> None:
    """Look, save what was seen, and say where the figures lie.

    Raises:
        SystemExit: with code 1 and one message if that is not possible; 130 after Ctrl-C.
    """
    try:
        given = parse_arguments(arguments)
        keep_freed_memory()
        study, seen = look_at(given)
        save_observations(seen, given.runs_dir)
        labels = process_labels(seen.processes)
        sections = seen_sections(seen, labels, styles_of(labels))
        for name in OPTIONAL:
            for suffix in (".svg", ".png", ".csv", ".tex"):
                (given.out / (name + suffix)).unlink(missing_ok=True)
        write_files(sections, given.out)
        if given.wandb != "disabled":
            log_figures(sections, study, given.runs_dir, given.wandb)
    except (RelayError, OSError) as error:
        refuse(error)
    except KeyboardInterrupt:
        output().print("Interrupted. What has been computed is kept; the same command goes on from there.")
        sys.exit(130)
    for line in seen.skipped:
        output().print(f"left out: {line}", soft_wrap=True)
    output().print(f"figures and tables: {given.out}", soft_wrap=True)
    output().print(f"on the page: python -m analysis.report runs_dir={given.runs_dir}", soft_wrap=True)


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        output().print(__doc__)
    else:
        main(sys.argv[1:])
