"""One job, one stage run: `python train.py +stage=NAME`. With `-m` the sweeper starts one job per stage run.

python train.py +stage=natural,texture,dld -m            a chain
python train.py -m process=two_stage seed='range(10)'    learning processes, seeds, data ratios
python train.py +stage=dld init_from=alexnet.pth model.width=1   one stage from your own checkpoint
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from stages.config import Config, source_of, to_config
from stages.console.command import run_command
from stages.console.output import output, refuse
from stages.console.summary import plan_table, show_notes, show_results, start_lines
from stages.environment import environment
from stages.errors import RelayError
from stages.job import Job, failure
from stages.machine.memory import keep_freed_memory
from stages.machine.threads import ignore_limits_of_threads, set_threads
from stages.outcome import Outcome
from stages.planner import build_plan
from stages.request import alone, keep_own_processes, with_absolute_paths
from stages.seeds import Seeds
from stages.start import starting_point
from stages.store import Store

if TYPE_CHECKING:
    from datamodules.domain import Domain
    from datamodules.listing import Listing


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> Outcome | None:
    """Train one stage run, if it is not complete. In a sweep a failure is a value: other jobs continue."""
    if config.job.id is not None:
        return run_job(to_config(config))
    try:
        return run_alone(to_config(with_absolute_paths(config)))
    except RelayError as error:  # Hydra would print the command once more
        refuse(error)


def run_alone(config: Config) -> Outcome | None:
    """Plan and train one stage run without a sweep, and show the result.

    Raises:
        RelayError: if the request makes no sense.
        SystemExit: with code 1 if the run failed.
    """
    from datamodules.from_config import load_sources
    from datamodules.listing import revealed
    from datamodules.survey import Listings, survey
    from lightning_modules.given import try_given
    from lightning_modules.resolve import network_notes, resolve

    listings, (request, compose) = Listings(), alone(config)
    plan = build_plan([request], compose, listings.of, resolve)
    (run,) = plan.runs.values()
    store = Store(Path(config.paths.runs_dir))
    missing = plan.missing(store)
    notes = plan.notes + network_notes([run]) + survey([run], listings) + try_given(missing, listings.classes)
    if config.plan:
        output().print(plan_table(plan, store, notes))
        return None
    loaded: list[Domain] = []
    keep_own_processes(config)
    show_notes(start_lines(missing) + notes + load_sources(missing, listings, loaded))
    source = source_of(run.config)
    outcome = run_job(run.job_config, listings.of(source), *loaded)
    show_results(plan, store, {run.id: replace(outcome, message=revealed(outcome.message, source))})
    return outcome


def run_job(config: Config, listing: "Listing | None" = None, loaded: "Domain | None" = None) -> Outcome:
    """Lock the folder of the stage run, check again whether it is complete, and train it if not."""
    keep_freed_memory()
    ignore_limits_of_threads()
    from datamodules.listing import Hiding, list_source

    names = Hiding(source_of(config), listing)
    try:
        listing = names.listing = listing or list_source(names.source)
        job = Job.of(config, listing.digest)
        with job.locked(names.hide) as complete:
            if not complete:
                train(job, listing, loaded)
        return Outcome(job.recipe.id, "complete" if complete else "trained")
    except Exception as error:
        return failure(config, error, names.hide)


def train(job: Job, listing: "Listing", loaded: "Domain | None") -> None:
    """The story of a stage run: data, network, callbacks, fit to the plateau, evaluate, record.

    Args:
        job: the stage run, its folder locked.
        listing: its images, listed.
        loaded: its images, where they were read already.

    Raises:
        RelayError: if the data, the parent or a checkpoint cannot be used, or the training diverges.
        KeyboardInterrupt: if the user stopped it; the next start continues from `last.ckpt`.
    """
    # Loaded here: a start that finds nothing to train, or a mistake, does not need these.
    import callbacks as watch
    from datamodules.splits import Division
    from datamodules.stage_run import image_records, load_run, stage_data
    from lightning_modules.start import build_module

    config, recipe, folder = job.config, job.recipe, job.folder
    set_threads(config.trainer.threads)
    seeds = Seeds.of(recipe.seed)
    domain = load_run(listing, config, Division.of(recipe), loaded)
    data = stage_data(domain, recipe, seeds, config.data.workers)
    checkpoints = watch.AtomicCheckpointIO(job.identity, domain.content)
    last, previous = folder.last_checkpoint, folder.previous_checkpoint
    start = starting_point([last, previous], job.parent_weights, job.users_weights, checkpoints.fault)
    module = build_module(recipe, seeds, data.train_counts, start.weights, checkpoints.kept)

    def before_writing() -> None:
        module.check_finite()
        job.check_lock()

    attempt = job.begin()
    watch.write_samples(job, data)
    with watch.Tracking(job.logger, recipe, job.chain, job.process, folder.path) as tracking:
        history = watch.History.of(job, data.train_counts, tracking.log_epoch)
        seconds = config.trainer.checkpoint_seconds
        saving = watch.ResumeCheckpoint(last, previous, seconds, before_writing, start.resume, attempt.saved)
        watchers = [history, saving, *watch.progress_of(config, data.epoch_images)]
        trainer = watch.build_trainer(job, watchers, checkpoints)
        watch.fit(trainer, module, data, start.resume)
        if module.predictions is None:  # killed after the last epoch, before the record
            trainer.validate(module, data, verbose=False)
        if data.test_images:
            trainer.test(module, data, verbose=False)
        if job.writes:
            before_writing()
            images = image_records(listing, config, domain, data)
            machine = environment(str(trainer.strategy.root_device))
            record = watch.write_results(job, start.kind, module, history, data, images, machine)
            tracking.log_record(record)


if __name__ == "__main__":
    run_command(main)
