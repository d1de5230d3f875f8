"""What a user does not have to read."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.errors import MissingConfigException
from yaml import MarkedYAMLError

from stages.console.hydra_words import refusal
from stages.console.output import silence_known_warnings
from tests.helpers.relay import PROJECT


@pytest.mark.parametrize(
    "message",
    [
        "The `srun` command is available on your system but is not used. HINT: ...",
        "`isinstance(treespec, LeafSpec)` is deprecated",
    ],
)
def test_warnings_that_no_user_can_act_on_are_hidden_and_others_are_not(message: str) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        silence_known_warnings()
        warnings.warn(message, stacklevel=1)
        warnings.warn("the disk is nearly full", stacklevel=1)
    assert [str(warning.message) for warning in said] == ["the disk is nearly full"]


@pytest.mark.parametrize("printing", ["write_out('x' * 200000)", "output().print('x' * 200000)"])
def test_a_reader_that_goes_ends_a_command_without_a_traceback(printing: str) -> None:
    """As `| head` does: it reads a little, and closes its end of the pipe."""
    code = f"from stages.console.output import output, write_out; {printing}"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        said = process.stderr.read()
    assert said == b"" and process.returncode in (0, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here: Linux has it")
def test_an_output_that_takes_nothing_ends_no_work() -> None:
    """As the log on a full disk, or a terminal that was closed."""
    code = (
        "import os, sys; from stages.console.output import output; "
        "os.dup2(os.open('/dev/full', os.O_WRONLY), 1); "
        "[output().print('x' * 200000) for _ in range(2)]; print('goes on', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "goes on\n", 0)


def test_a_network_of_timms_that_is_typed_as_a_file_is_told_how_to_type_it() -> None:
    error = MissingConfigException("no such file", "model/resnet18", ["alexnet", "timm"])
    assert str(refusal(error)).endswith("typed model=timm model.architecture=resnet18")
    error = MissingConfigException("no such file", "optim/resnet18", ["small"])
    assert str(refusal(error)) == "optim is 'resnet18'; it must be one of small"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"name: a\nsource: {kind: folder, root: /data/set #2}\n",
            r", line 2: this is not YAML \(expected ',' ",
        ),
        (b"name: a\nsource:\n\tkind: folder\n", r", line 3: this is not YAML \(found character '\\t'"),
        ("name: Lungen für alle\n".encode("cp1252"), " is not in UTF-8; save it so"),
    ],
)
def test_a_configuration_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "own.yaml").write_bytes(content)
    with pytest.raises((MarkedYAMLError, UnicodeDecodeError)) as raised:
        FileConfigSource("test", f"file://{tmp_path}").load_config("own")
    assert re.match(re.escape(f"{tmp_path}/own.yaml") + said, str(refusal(raised.value)))
