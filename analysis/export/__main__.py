"""A trained chain for programs without Relay: `python -m analysis.export runs_dir=runs process=NAME out=DIR`.

Writes a torch.export program and ONNX, whose input is the raw patch, a model card, and checksums.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from analysis.prediction.networks import NetworkChoice, networks_of
from analysis.runs.arguments import Key, help_lines, key_values, keys_of, settings_from
from stages.console.output import output, refuse
from stages.console.words import counted
from stages.errors import RelayError
from stages.machine.atomic import write_text
from stages.machine.signals import end_as_after_ctrl_c, ending_signal


@dataclass(frozen=True)
class _Places:
    """Keys that must be given: where things are read and written."""

    runs_dir: Annotated[Path, Key("the store, paths.runs_dir of the training", "FOLDER")]
    out: Annotated[Path, Key("the folder that is made; it must be new or empty", "FOLDER")]


@dataclass(frozen=True)
class Arguments(NetworkChoice, _Places):
    """What the command takes."""


def main(arguments: Sequence[str]) -> None:
    """Export, and print where the folder is.

    Raises:
        SystemExit: with code 2 and one message if that is not possible; 130 after Ctrl-C.
    """
    end_as_after_ctrl_c()
    try:
        example = "python -m analysis.export runs_dir=runs process=two_stage out=exported"
        given = key_values(arguments, keys_of(Arguments), example)
        if "out" not in given:
            raise RelayError(f"give the folder that is to be made: {example}")
        export(Arguments(**settings_from(given, Arguments)))
    except (RelayError, OSError) as error:
        refuse(error)
    except KeyboardInterrupt:
        output().print("Interrupted. Nothing was written; the same command begins again.")
        sys.exit(128 + ending_signal())


def export(given: Arguments) -> None:
    """Write the folder, or say that it is there already.

    Raises:
        RelayError: if that is not possible; nothing is written then.
    """
    from analysis.export.programs import check_installed, write_programs  # loads torch

    check_installed()
    import torch

    from analysis.export.card import TEMPLATES, card
    from analysis.export.check import check_programs
    from analysis.export.config import config_of
    from analysis.export.evaluation import evaluation_of
    from analysis.export.facts import chain_of
    from analysis.export.folder import CHECK, CONFIG, is_exported, new_folder
    from analysis.export.network import raw_input, raw_patch_network
    from analysis.prediction.finished import unfinished_lines
    from stages.store import Store

    ensemble, calibration = networks_of(given.runs_dir, given, torch.device("cpu"))
    raw = raw_input(ensemble)
    chain = chain_of(ensemble.members[0].record, Store(given.runs_dir))
    config = config_of(ensemble, raw, chain, calibration)
    if is_exported(given.out, config):
        output().print(f"{given.out} holds this export already: nothing to do", soft_wrap=True)
        return
    evaluation = evaluation_of(ensemble, given.runs_dir, calibration)
    with new_folder(given.out) as folder:
        output().print(f"writing {counted(len(ensemble.members), 'network')}; a minute or so", soft_wrap=True)
        write_programs(raw_patch_network(ensemble, raw), folder)
        checked = check_programs(ensemble, raw, folder)
        write_text(folder / CONFIG, json.dumps({**config, CHECK: checked.document()}, indent=1) + "\n")
        write_text(folder / "card.md", card(ensemble, raw, chain, calibration, evaluation, checked))
        shutil.copyfile(TEMPLATES / "example.py", folder / "example.py")
    if checked.why_none:
        output().print(f"compared on generated images only: {checked.why_none}", soft_wrap=True)
    for note in [*unfinished_lines([member.record for member in ensemble.members]), *ensemble.notes]:
        output().print(f"note: {note}", soft_wrap=True)
    output().print(f"exported, equal to predict.py on {checked.images}: {given.out}", soft_wrap=True)
    output().print(
        "to be added by you in card.md: licence, terms of the images' providers, contact", soft_wrap=True
    )


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        output().print(f"{__doc__}\n\n{help_lines(Arguments)}", soft_wrap=True)
    else:
        main(sys.argv[1:])
