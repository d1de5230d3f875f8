"""What Hydra refuses, in Relay's words: its exceptions as a `RelayError` with the key and similar names."""

import re
import sys
from traceback import walk_tb

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from stages.config import Config
from stages.errors import RelayError, unknown_key, unknown_name
from stages.parameters import Parameter, parameters

_LOADER = "hydra._internal.config_loader_impl"

# Hydra's sentence, and what is said instead.
_ANSWERS = (
    (r"(?:Ambiguous value for argument|Sweep parameters) '(.+?)'", "{0} has several values: add -m"),
    (
        r"An item is already at '(.+?)'.\s+Either remove \+ prefix: '(.+?)'",
        "{0} has a value already: type {1}, without a +",
    ),
    (r"No match in the defaults list.\s+To append to your default list use (\S+)", "type {0}, with a +"),
    (r"^(\S+) appears more than once", "{0} is chosen already: type {0}=NAME, without a +"),
    (r"Multiple values for (\S+)\.", "{0} is given twice: choose one"),
    (r"Config group override must be", "behind a group's name stands that of a file, as in optim=small"),
    (
        r"object_type=(?:Range|Choice|Interval|Glob)Sweep",
        "a range, choice or glob cannot stand among other values: list the values, or type it alone",
    ),
    (r"Could not delete (?:from config\. )?'(.+?)'", "there is no {0} to take away with ~"),
)


def is_composing(error: BaseException) -> bool:
    """Whether an exception says that Hydra cannot compose what was typed; not one of the training's."""
    if isinstance(error, HydraException | OmegaConfBaseException) or _is_hydras_folder(error):
        return True
    return any(frame.f_globals.get("__name__") == _LOADER for frame, _ in walk_tb(error.__traceback__))


def _is_hydras_folder(error: BaseException) -> bool:
    """Whether Hydra could not write its own files into the store."""
    if not isinstance(error, OSError):
        return False
    frames = [str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__)]
    own = [name for name in frames if name not in ("pathlib", "os", "io")]
    return bool(own) and own[-1].startswith("hydra.")


def refusal(error: Exception) -> RelayError:
    """An exception of `is_composing` in Relay's words."""
    if isinstance(error, OSError | MarkedYAMLError | UnicodeDecodeError) and not isinstance(
        error, HydraException
    ):
        return _of_file(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        unknown = unknown_name(group, name, error.options)
        timms = f". A network of timm's is typed model=timm model.architecture={name}"
        return RelayError(f"{unknown}{timms}") if group == "model" else unknown
    if isinstance(error, OverrideParseException):
        return RelayError(
            f"{error.override!r} cannot be read; type KEY=VALUE, and a value with spaces or signs in quotes "
            "inside of quotes: 'KEY=\"a value\"'"
        )
    text = "\n".join(str(each) for each in (error, error.__cause__) if each is not None)
    for pattern, answer in _ANSWERS:
        if found := re.search(pattern, text):
            return RelayError(answer.format(*found.groups()))
    if found := re.search(r"full_key: (\S+)", text):
        return _of_key(found[1], text)
    return _of_no_source(text)


def _of_file(error: OSError | MarkedYAMLError | UnicodeDecodeError) -> RelayError:
    """A folder that cannot be written, or a configuration file that cannot be read."""
    if isinstance(error, OSError):
        reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        return RelayError(
            f"the folder {error.filename} cannot be written: {reason}. Choose another, e.g. "
            "paths.runs_dir=..."
        )
    if isinstance(error, MarkedYAMLError):
        mark = error.context_mark or error.problem_mark
        where = f"{mark.name}, line {mark.line + 1}" if mark else "a file of the configuration"
        return RelayError(
            f"{where}: this is not YAML ({error.problem}). Indent with blanks, not tabs, and put a text with "
            'signs such as # { or : in quotes: root: "/data/set #2"'
        )
    # The error does not say which file; the frame of Hydra that opened it does.
    opened = [frame.f_locals.get("full_path") for frame, _ in walk_tb(error.__traceback__)]
    where = next((str(path) for path in opened if path), "a file of the configuration")
    return RelayError(f"{where} is not in UTF-8; save it so")


def _of_no_source(text: str) -> RelayError:
    """A key of `stage.source` was typed where a domain gives the stage's images; or anything else."""
    typed = [argument.lstrip("+") for argument in sys.argv[1:] if "stage.source." in argument]
    if "Unexpected type" in text and typed:
        key, _, value = typed[0].partition("=")
        own = key.removeprefix("stage.source.")
        return RelayError(
            f"{typed[0]}: the stage has no source of its own, its images are those of a domain. Type "
            f"data.domains.DOMAIN.{own}={value}, or write a stage file with a source: "
            "docs/your-own-domains.md"
        )
    said = text.strip().splitlines()[0].rstrip(".")
    return RelayError(
        f"this command cannot be composed: {said}. HYDRA_FULL_ERROR=1 in the environment shows where"
    )


def _of_key(key: str, text: str) -> RelayError:
    """OmegaConf's refusal of a key, or of its value."""
    if key == "stage.source":
        return RelayError(
            "stage.source cannot be typed as a whole. Type data.domains.DOMAIN.KEY=VALUE where a domain "
            "gives the stage's images, stage.source.KEY=VALUE where the stage's file has a source, or write "
            "a stage file: docs/your-own-domains.md"
        )
    file = re.search(r"^In '(.+?)'", text)
    where = f"conf/{file[1]}.yaml: " if file else ""
    parts = re.sub(r"\[\d+\]", "", key).split(".")
    if re.search(r"Key '.+' (?:is )?not in", text):
        known = _inside(parts[:-1])
        if "*" in known or not known:
            return RelayError(f"{where}there is no {key}; a new one is typed with a +")
        # The same name in another group is meant, rather than a similar one here.
        same = [each for each in parameters(Config) if each.split(".")[-1] == parts[-1] and "*" not in each]
        if same:
            return RelayError(f"{where}{key} is not a setting; did you mean {' or '.join(same)}?")
        return RelayError(f"{where}{unknown_key(key, known)}")
    leaf = _inside(parts[:-1]).get(parts[-1])
    typed = re.search(r"override [+~]*\S+?=(.*)", text) or re.search(r"Value '(.*)' of type", text)
    given = f"is {typed[1]}" if typed else "has a value of another type"
    wanted = f"a group of {', '.join(_inside(parts))}" if leaf is None else leaf.allowed
    return RelayError(f"{where}{'.'.join(parts)} {given}; it must be {wanted}")


def _inside(group: list[str]) -> dict[str, Parameter | None]:
    """The keys of a group, and what is declared of each; None of one that is a group itself."""
    found: dict[str, Parameter | None] = {}
    for name, parameter in parameters(Config).items():
        parts = name.split(".")
        if all(part in ("*", own) for part, own in zip(parts, group, strict=False)) and len(parts) > len(
            group
        ):
            leaf = len(parts) == len(group) + 1
            found[parts[len(group)]] = parameter if leaf else None
    return found
