"""A job trains what was planned, under the lock of its folder; a failure leaves a trace and a message."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from stages.errors import RelayError
from stages.job import Job, failure
from stages.store import RunFolder, Store
from tests.helpers.stage_helpers import by_chain, composed, plan_of, record_content, request, seal, with_value

CHAIN = ("natural", "texture", "dld")


def job(runs_dir: Path, *chain: str) -> Job:
    """The job of the last stage of a planned chain, in a store of its own."""
    plan = plan_of(
        request(*chain),
        compose_with=lambda stage, _: with_value(
            composed(f"+stage={stage}"), "paths.runs_dir", str(runs_dir)
        ),
    )
    run = by_chain(plan)[chain]
    return Job.of(run.job_config, run.recipe.data.digest)


def test_a_job_knows_its_folder_its_parent_and_its_chain(tmp_path: Path) -> None:
    target, source = job(tmp_path, *CHAIN), job(tmp_path, "natural")
    assert target.folder.path == tmp_path / "dld" / target.recipe.id[:16]
    assert target.chain == CHAIN
    assert target.recipe.parent is not None
    assert target.parent_weights == tmp_path / "texture" / target.recipe.parent[:16] / "model.ckpt"
    assert (source.parent_weights, source.users_weights, source.chain) == (None, None, ("natural",))


def test_another_recipe_than_the_planned_one_is_refused(tmp_path: Path) -> None:
    planned = job(tmp_path, "natural")
    with pytest.raises(RelayError, match=f"but {planned.recipe.id[:16]} was planned: conf/ or the data"):
        Job.of(planned.config, "f" * 64)
    with pytest.raises(RelayError, match="was planned"):
        Job.of(replace(planned.config, seed=7), planned.recipe.data.digest)


def test_the_process_is_looked_up_with_the_parents_rules(tmp_path: Path) -> None:
    """A parent whose record is gone counts as one under the usual rule."""
    target = job(tmp_path, *CHAIN)
    assert target.process == "two_stage"
    assert job(tmp_path, "natural", "texture").process is None
    assert target.recipe.parent is not None
    texture = job(tmp_path, "natural", "texture").recipe.model_copy(update={"transfer": "conv_only"})
    folder = Store(tmp_path).folder("texture", target.recipe.parent)
    folder.path.mkdir(parents=True)
    seal(folder, record_content(texture, CHAIN[:2]) | {"id": target.recipe.parent})
    assert target.process == "two_stage+between=conv_only"


def test_a_job_is_done_once(tmp_path: Path) -> None:
    first, second = job(tmp_path, "natural"), job(tmp_path, "natural")
    first.folder.path.mkdir(parents=True)
    first.folder.failure.write_text("of an earlier attempt")
    with first.locked() as complete:
        assert not complete
        assert not first.folder.failure.exists()
        assert first.folder.recipe.exists() and first.folder.config.exists()
        first.folder.record.write_text("complete")
    with second.locked() as complete:
        assert complete


def test_a_complete_run_is_not_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its store may be one that is only read."""
    done = job(tmp_path, "natural")
    with done.locked():
        done.folder.record.write_text("complete")
    monkeypatch.setattr(RunFolder, "lock", lambda *_, **__: pytest.fail("it was locked"))
    with job(tmp_path, "natural").locked() as complete:
        assert complete


def test_a_failure_leaves_its_traceback_and_the_lock_is_free_again(tmp_path: Path) -> None:
    failing = job(tmp_path, "natural")
    with pytest.raises(ValueError, match="diverged"), failing.locked():
        raise ValueError("diverged")
    text = failing.folder.failure.read_text()
    assert "Traceback" in text and text.strip().endswith("ValueError: diverged")
    with job(tmp_path, "natural").locked() as complete:
        assert not complete
        assert not failing.folder.failure.exists()


def test_ctrl_c_leaves_no_traceback(tmp_path: Path) -> None:
    stopped = job(tmp_path, "natural")
    with pytest.raises(KeyboardInterrupt), stopped.locked():
        raise KeyboardInterrupt
    assert not stopped.folder.failure.exists()


def test_a_lost_lock_is_noticed_before_writing(tmp_path: Path) -> None:
    losing = job(tmp_path, "natural")
    losing.check_lock()  # nobody holds one yet
    with losing.locked():
        losing.check_lock()
        (losing.folder.path / ".holder.json").write_text('{"token": "another", "pid": 1, "host": "there"}')
        with pytest.raises(RelayError, match="taken over by process 1 on there"):
            losing.check_lock()


def test_other_processes_of_ddp_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    other = job(tmp_path, "natural")
    assert not other.writes
    assert other.logger.wandb == "disabled"
    with pytest.raises(ValueError, match="diverged"), other.locked():
        raise ValueError("diverged")
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("LOCAL_RANK", "0")
    first = job(tmp_path, "natural")
    assert first.writes
    assert first.logger == first.config.logger


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RelayError("lower optim.lr_scratch"), "lower optim.lr_scratch"),
        (OSError(28, "No space left on device"), r"No space left on device \(.*/natural/.*\): make room or"),
        (ValueError("not so"), "ValueError: not so"),
    ],
)
def test_a_failure_in_one_line(error: Exception, message: str, tmp_path: Path) -> None:
    failed = job(tmp_path, "natural")
    outcome = failure(failed.config, error)
    assert (outcome.id, outcome.status) == (failed.recipe.id, "failed")
    assert re.match(message, outcome.message)
