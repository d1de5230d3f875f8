"""The commands of examples/*/README.md, as they stand there, at a small size in a folder of their own."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from tests.helpers.programs import PROJECT, run_program

EXAMPLES = sorted(path.parent for path in PROJECT.glob("examples/*/README.md"))

# What makes a program's work small: words in place of words, and words at the end.
DOMAINS = [
    f"data.domains.{name}"
    for name in (
        *("natural.train_images=10", "natural.val_images=5", "texture.train_images=10"),
        *("texture.val_images=5", "dld.train_images=14", "dld.val_images=14", "natural.classes=2"),
        *("texture.classes=2", "natural.size=32", "texture.size=32"),
    )
]
TRAIN = [
    *("seed=0", "callbacks.plateau.max_epochs=1", "callbacks.plateau.length=1", "optim.warmup_steps=1"),
    *("data.image_size=63", "trainer.accelerator=cpu", "trainer.precision=32-true"),
    *("trainer.memory_format=contiguous", *DOMAINS),
]
NARROW = ["model.width=0.0625"]
LAST = {
    "train.py": TRAIN,
    "predict.py": ["device=cpu"],
    "examples/histology/images.py": ["6"],
}
OTHER = {"slices=6": "slices=3", "stride=8": "stride=32", "images=1400": "images=560"}
LAST_OF = {"backbones": ["data.image_size=32"]}


def commands(page: Path) -> list[list[str]]:
    """The words of each command of a page's blocks, without `python`."""
    lines = [
        shlex.split(line, comments=True)
        for block in re.findall(r"^```\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    assert all(words[0] == "python" for words in lines)
    return [words[1:] for words in lines]


def from_the_project() -> None:
    """What is imported is this checkout's, wherever the command is typed."""
    sys.path.insert(0, str(PROJECT))


def test_there_are_five() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("example", EXAMPLES, ids=[path.name for path in EXAMPLES])
def test_an_example_is_whole(example: Path) -> None:
    page = (example / "README.md").read_text()
    (experiment,) = (example / "conf" / "experiment").glob("*.yaml")
    assert experiment.stem == example.name
    head = experiment.read_text().splitlines()[1].removeprefix("# ")
    assert f"\n{head}\n" in page, "the experiment's file and the page say one command"
    linked = {example / path for path in re.findall(r"\]\(([^)#]+)", page)}
    assert [path for path in linked if not path.exists()] == []
    pictures = set(example.glob("*.png"))
    assert pictures, "a picture of its page"
    assert pictures <= linked
    assert all(path.stat().st_size < 300_000 for path in pictures)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=[path.name for path in EXAMPLES])
def test_the_commands_of_an_example_run(example: Path, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(PROJECT / "examples")
    for words in commands(example / "README.md"):
        small = [OTHER.get(word, word) for word in words] + LAST.get(words[0], [])
        if words[0] == "train.py":
            small += LAST_OF.get(example.name, NARROW)
        if words[0] in ("train.py", "predict.py"):
            small[0] = str(PROJECT / words[0])
        done = run_program(small, tmp_path, from_the_project)
        assert done.returncode == 0, done.stderr + done.stdout
    experiment = yaml.safe_load((example / "conf" / "experiment" / f"{example.name}.yaml").read_text())
    page = (tmp_path / experiment["paths"]["runs_dir"] / "report" / "report.html").read_text()
    for process in experiment["hydra"]["sweeper"]["params"]["process"].split(","):
        assert process in page
    if example.name == "ct_series":
        assert (tmp_path / "data" / "mapped" / "report.html").is_file()
