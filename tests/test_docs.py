"""What README.md, docs/ and the other pages name exists: files, modules, settings, the choices of a group."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml

from lightning_modules.alexnet import AlexNet
from stages.config import Config
from stages.parameters import parameters
from tests.helpers.report_helpers import small_study
from tests.helpers.stage_helpers import CONF, PROJECT

PAGES = [
    page
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "examples/*.md", "examples/*/*.md")
    for page in sorted(PROJECT.glob(pattern))
]
NAMES = [str(page.relative_to(PROJECT)) for page in PAGES]

# Files that the pages let their reader make: each shows its content under its name, but for the last.
THE_READERS = {
    *(
        name
        for page in PAGES
        for name in re.findall(r"^# (conf/\w+/\w+\.yaml)$", page.read_text(), re.MULTILINE)
    ),
    "conf/hydra/launcher/ours.yaml",
}
FILES = (
    ".ckpt",
    ".csv",
    ".html",
    ".json",
    ".md",
    ".onnx",
    ".parquet",
    ".pt2",
    ".py",
    ".sh",
    ".toml",
    ".txt",
    ".yaml",
)
# What a run writes is not the project's: a page names files there that this checkout may not have.
WRITTEN = [line.strip("/") for line in (PROJECT / ".gitignore").read_text().splitlines() if line[-1:] == "/"]
FOLDERS = {
    path.name
    for path in PROJECT.iterdir()
    if path.is_dir() and not any(fnmatch(path.name, pattern) for pattern in (".*", *WRITTEN))
}
GROUPS = {path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"}


def code_of(page: Path) -> list[str]:
    """Words of a page's code, inline and in blocks, without quotes and what stands around them."""
    spans = re.findall(r"```[a-z]*\n(.*?)```|`([^`]+)`", page.read_text(), flags=re.DOTALL)
    words = " ".join(block or inline for block, inline in spans).split()
    return [word.strip("\"'(),:;") for word in words]


def links_of(page: Path) -> list[str]:
    return [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]


def keys_of(content: object, prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys of nested dictionaries."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield f"{prefix}{name}"
            yield from keys_of(value, f"{prefix}{name}.")


@cache
def settings() -> frozenset[str]:
    """Every key of the configuration and every group of keys; `*` stands for a name of the user's."""
    launchers = (yaml.safe_load(path.read_text()) for path in (CONF / "hydra" / "launcher").glob("*.yaml"))
    keys = {
        *parameters(Config),
        *(key for launcher in launchers for key in keys_of(launcher, "hydra.launcher.")),
    }
    parents = {".".join(key.split(".")[:depth]) for key in keys for depth in range(1, key.count(".") + 1)}
    return frozenset(keys | parents)


def is_setting(key: str) -> bool:
    return key in settings() or re.sub(r"^(data\.domains)\.\w+", r"\1.*", key) in settings()


def is_in_python(name: str) -> bool:
    """Whether it is a module, or a name of one."""
    module, _, attribute = name.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), attribute) or find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def is_placeholder(word: str) -> bool:
    """Whether it has a part that the reader replaces, such as NAME, or that a shell does."""
    return re.search(r"(?<![A-Za-z])[A-Z][A-Z_]+(?![a-z])|\$|\.\.\.", word) is not None


def is_there(pattern: str, folder: Path) -> bool:
    """Whether the project, or a page's own folder, has such a file or folder."""
    return any(any(root.glob(pattern.rstrip("/"))) for root in (PROJECT, folder))


def faults(word: str, folder: Path = PROJECT) -> Iterator[str]:
    """What a word of a page's code names that does not exist, in the project or in the page's folder."""
    if is_placeholder(word):
        return
    key, equals, value = word.lstrip("+").partition("=")
    dotted = re.fullmatch(r"[a-z_]+(\.[\w*]+)+", key) and not key.endswith(FILES)
    first = re.split(r"[./]", key)[0]
    if not equals and "/" in word and first in FOLDERS and word not in THE_READERS:
        if not is_there(word, folder):
            yield f"there is no file {word}"
    elif dotted and first in FOLDERS and not equals:
        if not (is_in_python(word) or is_setting(word)):
            yield f"there is no {word} in Python"
    elif dotted and first in {name.split(".")[0] for name in settings()}:
        if not (is_setting(key) or key == "hydra.searchpath"):
            yield f"there is no setting {key}"
    elif equals and (key in GROUPS or key == "hydra/launcher"):
        for choice in value.strip("[]").split(","):
            file = f"conf/{key}/{choice}.yaml"
            known = choice in ("null", "basic") or file in THE_READERS
            if re.fullmatch(r"\w+", choice) and not known and not is_there(file, folder):
                yield f"there is no {key}={choice}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_what_a_page_names_exists(page: Path) -> None:
    found = [fault for word in code_of(page) for fault in faults(word, page.parent)]
    found += [
        f"there is no page {link}"
        for link in links_of(page)
        if "://" not in link and link and not (page.parent / link).exists()
    ]
    assert found == []


WITH_PYTHON = [page for page in PAGES if "```python" in page.read_text()]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=[page.name for page in WITH_PYTHON])
def test_a_pages_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a store of two studies is, and images of patients."""
    for width in (0.5, 1.0):
        small_study(width=width, seeds=[0], ratios=[1.0]).write(tmp_path / "runs")
    (tmp_path / "skin" / "mole").mkdir(parents=True)
    (tmp_path / "skin" / "mole" / "ann_1.png").touch()
    monkeypatch.chdir(tmp_path)
    given = {"network": AlexNet(num_classes=2, width=0.0625), "images": torch.ones(1, 3, 64, 64)}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        exec(compile(block.replace("/data", str(tmp_path)), page.name, "exec"), given)
    if page.name == "your-own-domains.md":
        assert (tmp_path / "skin" / "groups.csv").read_text() == "path,group\nmole/ann_1.png,ann\n"


def test_faults_are_found() -> None:
    wrong = {
        "docs/nowhere.md": "there is no file docs/nowhere.md",
        "tests/nothing*.py": "there is no file tests/nothing*.py",
        "optim.learning_rate=1": "there is no setting optim.learning_rate",
        "data.domains.mri.path": "there is no setting data.domains.mri.path",
        "hydra.launcher.nodes": "there is no setting hydra.launcher.nodes",
        "analysis.nothing": "there is no analysis.nothing in Python",
        "experiment=[comparison,tiny]": "there is no experiment=tiny",
        "hydra/launcher=lsf": "there is no hydra/launcher=lsf",
        "+stage=natural,nature": "there is no stage=nature",
    }
    assert {word: list(faults(word)) for word in wrong} == {word: [said] for word, said in wrong.items()}
    right = (
        "train.py", "stages/plateau.py", "conf/process/*.yaml", "optim.lr_scratch=0.1", "callbacks.plateau",
        "data.domains.mri.root", "analysis.report", "analysis.runs.load_runs", "analysis.runs.load.load_runs",
        "process=scratch,texture",
        "hydra.launcher.init.address=auto", "conf/stage/NAME.yaml", "runs/*/*/wandb/offline-*", "data=paper",
    )  # fmt: skip
    assert [fault for word in right for fault in faults(word)] == []
