"""One thread per test process: results do not depend on the machine, and two processes fit two cores."""

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # and no processes that load torch to compile two kernels
os.environ.setdefault("MPLBACKEND", "Agg")

# Two test processes and the many programs that they start would each compile every source anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell starts what runs in its background with SIGINT ignored, and its children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is loaded now stays to the end: to look through it again and again takes a tenth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


COLLECTED = pytest.StashKey[set[Path]]()
STARTS_PROGRAMS = [
    Path(__file__).parent / name for name in ("relay", "slurm", "analysis/visualize", "hydra_plugins")
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark whole folders slow, and begin with files of slow tests: no process ends alone with a long one."""
    config.stash[COLLECTED] = {item.path for item in items}
    for item in items:
        if any(folder in item.path.parents for folder in STARTS_PROGRAMS):
            item.add_marker(pytest.mark.slow)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(
        key=lambda item: ([folder not in item.path.parents for folder in STARTS_PROGRAMS], -slow[item.path])
    )


@pytest.fixture
def collected(request: pytest.FixtureRequest) -> set[Path]:
    """Files in which tests were found, whatever is then deselected."""
    return request.config.stash[COLLECTED]


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A folder that other users reach, unlike tmp_path."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def _settings_of_torch_as_before() -> Iterator[None]:
    """A trainer leaves deterministic algorithms switched on, for whatever test comes next."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and torch.are_deterministic_algorithms_enabled():  # to set it loads the compiler
        torch.use_deterministic_algorithms(False)
