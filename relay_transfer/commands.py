"""What `relay NAME` starts, how the same command is typed in a checkout, and what the TAB key completes."""

import os
import re

# What is typed -> the program, a file of the project or a module; and what it is for.
COMMANDS = {
    "train": ("train.py", "train stage runs, chains and studies"),
    "multirun": ("multirun.sh", "the whole study: train, analyse, report"),
    "report": ("analysis.report", "tables, figures and the page of a study"),
    "visualize": ("analysis.visualize", "maps, frequency responses and layers of its networks"),
    "predict": ("predict.py", "apply a trained chain to pictures or a CT series"),
    "export": ("analysis.export", "a trained network for programs without Relay"),
    "prepare": ("datamodules.prepare", "a set from DICOM, archives or folders"),
    "verify": ("stages.verify", "check a store of runs"),
    "names": ("datamodules.names", "from the digests of a run back to your files"),
    "weights": ("lightning_modules.weights", "read a checkpoint as found, write plain weights"),
    "dashboard": ("analysis.wandb_dashboard", "a dashboard in W&B"),
    "series": ("datamodules.embedded.series", "a generated CT series to try predict on"),
    "patches": ("datamodules.embedded.patches", "generated labelled patches to evaluate on"),
}

STARTED_BY = "RELAY_STARTED_BY"  # in the environment of what `relay` starts

_NAMES = {program: name for name, (program, _) in COMMANDS.items()}
_IN_A_CHECKOUT = re.compile(
    rf"(?:python -m |python |\./)({'|'.join(sorted(map(re.escape, _NAMES), key=len, reverse=True))})(?![\w.])"
)


def as_typed(text: str) -> str:
    """A text with its commands as they are typed here: where `relay` started this process, `relay report`."""
    if os.environ.get(STARTED_BY) is None:
        return text
    return _IN_A_CHECKOUT.sub(lambda found: f"relay {_NAMES[found[1]]}", text)


def completion() -> str:
    """For bash: the commands, and what Hydra completes behind `relay train`; its own script is for Python."""
    return f"""_relay() {{
    if (( COMP_CWORD == 1 )); then
        COMPREPLY=($(compgen -W "{" ".join(COMMANDS)} python" -- "$2"))
    elif [ "${{COMP_WORDS[1]}}" = train ]; then
        COMPREPLY=($(compgen -W "$(COMP_LINE=${{COMP_LINE#* }} relay train -sc query=bash)" -- "$2"))
    fi
}}
COMP_WORDBREAKS=${{COMP_WORDBREAKS//=}}
complete -o nospace -o default -F _relay relay"""
