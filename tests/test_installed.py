"""The wheel: one package with everything in it, and a command that works from any folder."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from analysis.report.page import fill_template
from relay_transfer.__main__ import main
from relay_transfer.commands import COMMANDS, STARTED_BY, as_typed, completion
from stages.console.command import run_command

PROJECT = Path(__file__).resolve().parent.parent
SHIPPED = (
    "analysis",
    "callbacks",
    "conf",
    "datamodules",
    "docs",
    "hydra_plugins",
    "lightning_modules",
    "stages",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as pip puts it into site-packages."""
    pytest.importorskip("hatchling", reason="builds the wheel; in the extra `test`")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def relay(installed: Path, folder: Path, *typed: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-P", "-m", "relay_transfer", *typed]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_wheel_holds_one_package_with_all_that_the_checkout_runs(installed: Path) -> None:
    assert {path.name for path in installed.glob("[!.]*") if path.suffix != ".dist-info"} == {
        "relay_transfer"
    }
    listed = subprocess.run(
        ["git", "ls-files", "--", *SHIPPED, "train.py", "predict.py", "multirun.sh"],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    ).stdout.split("\n")[:-1]  # fmt: skip
    if not listed:
        pytest.skip("not a git checkout")
    app = installed / "relay_transfer" / "app"
    assert {name for name in listed if (PROJECT / name).exists()} <= {
        path.relative_to(app).as_posix() for path in app.rglob("*")
    }
    assert not list(installed.rglob("tests")) and not list(installed.rglob("*.pyc"))


@pytest.mark.slow
def test_it_plans_in_a_folder_with_modules_of_the_same_names(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").write_text("raise ImportError('the users own')")
    (tmp_path / "stages.py").write_text("raise ImportError('the users own')")
    answer = relay(installed, tmp_path, "train", "+stage=natural,texture,dld", "-m", "plan=true")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"in {tmp_path / 'runs'}" in answer.stdout
    where = relay(installed, tmp_path, "python", "-c", "import stages; print(stages.__file__)")
    assert where.stdout.startswith(str(installed))


@pytest.mark.slow
def test_refusals_name_the_command_that_was_typed(installed: Path, tmp_path: Path) -> None:
    answer = relay(installed, tmp_path, "report")
    assert (answer.returncode, answer.stderr) == (2, "error: give the store: relay report runs_dir=runs\n")
    wrong = relay(installed, tmp_path, "trian")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "relay: there is no command 'trian'; did you mean train?\n",
    )


def test_the_help_of_relay_says_where_the_pages_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    folder = Path(capsys.readouterr().out.splitlines()[-1].partition("docs/files.md: ")[2])
    assert (folder / "files.md").is_file()


def test_the_version_is_one() -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((PROJECT / "CITATION.cff").read_text())["version"] == declared
    assert f"## {declared} " in (PROJECT / "CHANGELOG.md").read_text()


def test_every_command_starts_something_that_exists() -> None:
    for program, _ in COMMANDS.values():
        paths = (
            [program]
            if program.endswith((".py", ".sh"))
            else [program.replace(".", "/") + end for end in (".py", "/__main__.py")]
        )
        assert any((PROJECT / path).is_file() for path in paths), program


def test_texts_are_as_typed_only_where_relay_started_them(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "python train.py -m plan=true, then `python -m analysis.report runs_dir=runs` or ./multirun.sh real"
    )
    monkeypatch.delenv(STARTED_BY, raising=False)
    assert as_typed(text) == text
    monkeypatch.setenv(STARTED_BY, "relay")
    assert (
        as_typed(text) == "relay train -m plan=true, then `relay report runs_dir=runs` or relay multirun real"
    )
    assert as_typed("python -m analysis.reporter and python train.pyx") == (
        "python -m analysis.reporter and python train.pyx"
    )


def test_the_help_of_train_is_as_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hydra prints it; other output of the command is left as it is."""
    for flag, said in (("--help", "relay train x\n"), ("--cfg", "python train.py x\n")):
        monkeypatch.setattr(sys, "argv", ["train.py", flag, "job"])
        monkeypatch.setenv(STARTED_BY, "relay")
        run_command(lambda: print("python train.py x"))
        assert capsys.readouterr().out == said


@pytest.mark.skipif(shutil.which("bash") is None, reason="completion is for bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["relay", "ver"], "verify"),
        (["relay", "train", "process=tw"], "process=two_stage"),
        (["relay", "report", "runs"], ""),  # files, by bash
    ],
)
def test_the_tab_key_completes_commands_and_what_hydra_knows(words: list[str], completed: str) -> None:
    """With a `relay` that answers as Hydra would, to the line without its first word."""
    hydra = 'relay() { [ "$COMP_LINE" = "train process=tw" ] && echo "process=scratch process=two_stage"; }'
    tab = (
        f'COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; COMP_LINE="{" ".join(words)}"\n'
        f'_relay relay {words[-1]}; echo -n "${{COMPREPLY[@]}}"'
    )
    script = "\n".join((hydra, completion(), tab))
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (completed, "")


def test_a_page_names_the_commands_of_the_installed_program(monkeypatch: pytest.MonkeyPatch) -> None:
    (template,) = (PROJECT / "analysis" / "report" / "templates").glob("base.html.jinja")
    for started, expected in ((None, "python -m analysis.report x"), ("relay", "relay report x")):
        monkeypatch.setenv(STARTED_BY, started) if started else monkeypatch.delenv(STARTED_BY, raising=False)
        page = fill_template(template.name, title="python -m analysis.report x")
        assert f"<title>{expected}</title>" in page
