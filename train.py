"""One job, one stage run: `python train.py +stage=NAME`. With `-m` the sweeper launches one for each.

python train.py +stage=natural,texture,dld -m            a chain
python train.py -m process=two_stage seed='range(10)'    learning processes, seeds, data ratios
python train.py +stage=dld init_from=alexnet.pth         one stage from a checkpoint of yours
"""

import logging
import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig, OmegaConf

from stages.build import build_recipe
from stages.config import Config, to_config
from stages.console.output import output, refuse, silence_known_warnings
from stages.console.summary import plan_table, result_table
from stages.errors import RelayError
from stages.machine.atomic import write_text
from stages.machine.environment import origin as origin_of
from stages.machine.lock import RunLock
from stages.machine.memory import keep_freed_memory
from stages.machine.resources import available_cores
from stages.outcome import Outcome
from stages.plan import Plan, Request, build_plan, parent_folder, source_of
from stages.processes import chain_rules, load_processes, process_name
from stages.recipe import Recipe
from stages.seeds import Seeds
from stages.start import starting_point
from stages.store import Store
from stages.validate import plateau_rule, validate_config

if TYPE_CHECKING:
    from datamodules.listing import Listing

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> Outcome | None:
    """Train one stage run, or find it trained. In a sweep a failure is a value, so that other jobs go on."""
    if config.job.id is not None:
        return run_job(to_config(config))
    try:
        return run_alone(to_config(config))
    except RelayError as error:
        refuse(error)


def run_alone(config: Config) -> Outcome | None:
    """Plan and train one stage run without a sweep, and show what came of it.

    Raises:
        RelayError: if the request makes no sense, or the run failed.
    """
    if config.process is not None:
        raise RelayError(f"process={config.process.name} is a chain of stage runs: add -m")
    plan = plan_alone(config)
    (run,) = plan.runs.values()
    store = Store(Path(run.config.paths.runs_dir))
    if config.plan:
        output().print(plan_table(plan, store))
        return None
    job = replace(run.config.job, id=run.id, chain=[run.stage], parent=None)
    outcome = run_job(replace(run.config, job=job))
    if outcome.status == "failed":
        raise RelayError(f"{outcome.message} (traceback: {store.folder(run.stage, run.id).failure})")
    output().print(result_table(plan, store, {run.id: outcome}))
    return outcome


def plan_alone(config: Config) -> Plan:
    """The plan of a single stage run.

    Raises:
        RelayError: if there is no stage, or a value makes no sense.
    """
    from datamodules.configured import list_source
    from lightning_modules.hardware import arithmetic

    if config.stage is None:
        raise RelayError("nothing to train: give +stage=NAME, or a chain as +stage=natural,texture,dld -m")
    paths = replace(config.paths, runs_dir=str(Path(config.paths.runs_dir).expanduser().absolute()))
    request = Request(
        chain=(config.stage.name,),
        rule=None,
        between=None,
        overrides=(),
        seed=config.seed,
        source_seed=None,
        data_ratio=config.data_ratio,
    )
    return build_plan([request], lambda *_: replace(config, paths=paths), list_source, arithmetic)


def run_job(config: Config) -> Outcome:
    """Lock the stage run's folder, look again whether it is complete, and train it if not."""
    keep_freed_memory()
    from datamodules.configured import list_source

    assert config.stage is not None and config.job.id is not None, "a job has a stage and an id"
    store = Store(Path(config.paths.runs_dir))
    folder = store.folder(config.stage.name, config.job.id)
    try:
        validate_config(config)
        listing = list_source(source_of(config))
        recipe = build_recipe(config, data_digest=listing.digest, parent=config.job.parent)
        check_id(recipe, config.job.id)
        if int(os.environ.get("LOCAL_RANK", "0")) > 0:  # one of DDP's: the first holds the lock and writes
            train_stage_run(config, recipe, listing, store, None)
            return Outcome(recipe.id, "trained")
        with folder.lock(config.paths.lock, on_wait=log.info) as lock:
            if folder.is_complete():
                folder.check(recipe)
                return Outcome(recipe.id, "complete")
            folder.open_for(recipe)
            folder.failure.unlink(missing_ok=True)
            try:
                train_stage_run(config, recipe, listing, store, lock)
            except Exception:
                write_text(folder.failure, traceback.format_exc())
                raise
            return Outcome(recipe.id, "trained")
    except RelayError as error:
        return Outcome(config.job.id, "failed", str(error))
    except OSError as error:
        return Outcome(
            config.job.id,
            "failed",
            f"{error.strerror or error} ({folder.path}): make room or choose another paths.runs_dir; the "
            "same command goes on from the last checkpoint",
        )
    except Exception as error:
        return Outcome(config.job.id, "failed", f"{type(error).__name__}: {error}")


def check_id(recipe: Recipe, planned: str) -> None:
    """Refuse to train another recipe than the one that was planned.

    Raises:
        RelayError: if the configuration or the data changed in between.
    """
    if recipe.id != planned:
        raise RelayError(
            f"this job composes recipe {recipe.id[:16]}, but {planned[:16]} was planned: conf/ or the data "
            "changed since the sweep was started. Start it again"
        )


def train_stage_run(
    config: Config, recipe: Recipe, listing: "Listing", store: Store, lock: RunLock | None
) -> None:
    """Build everything, fit to the plateau, evaluate, and write the record last.

    Args:
        config: the stage run's configuration.
        recipe: its recipe.
        listing: its images, listed.
        store: where it is kept.
        lock: the lock held on its folder; None in a process of DDP that writes nothing.

    Raises:
        RelayError: if the data, the parent or a checkpoint cannot be used, or the training diverges.
        KeyboardInterrupt: if the user stopped it; the next start goes on from `last.ckpt`.
    """
    # Loaded here: a start that finds nothing to train, or a mistake, needs none of it.
    import pytorch_lightning as pl
    import torch
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    import callbacks as watch
    from datamodules.configured import data_record, load_source, stage_data
    from lightning_modules.start import build_module

    chain = config.job.chain or [recipe.stage]
    folder = store.folder(recipe.stage, recipe.id)
    silence_known_warnings()
    if lock is not None:
        write_text(folder.config, OmegaConf.to_yaml(OmegaConf.structured(config)))
    threads = config.trainer.threads or available_cores()
    torch.set_num_threads(threads)
    seeds = Seeds.of(recipe.seed)
    rule = plateau_rule(config)

    parent = parent_folder(store, chain, recipe.parent)
    parent_weights = None if parent is None else parent.weights
    init_from = None if config.init_from is None else Path(config.init_from)
    own = [folder.last_checkpoint, folder.previous_checkpoint]
    start = starting_point(own, parent_weights, init_from, loads=watch.loads)
    origin = starting_point([], parent_weights, init_from, loads=watch.loads)

    domain = load_source(listing, config)
    data = stage_data(domain, recipe, seeds, config.data.workers)
    source = recipe.parent or recipe.init_from or ""
    module = build_module(recipe, seeds, len(data.classes), origin.path, f"{origin.kind} {source[:16]}")

    def before_writing() -> None:
        module.check_finite()
        if lock is not None:
            lock.check()

    rules = chain_rules(chain, recipe.transfer or "none", recipe.parent, store.find_record)
    process = process_name(chain, rules, load_processes())
    tracked = config.logger if lock is not None else replace(config.logger, wandb="disabled")
    with watch.Tracking(tracked, recipe, chain, process, folder.path) as tracking:
        history = watch.History(folder.history, rule, tracking.log_epoch)
        watchers: list[pl.Callback] = [
            history,
            watch.ResumeCheckpoint(
                folder.last_checkpoint,
                folder.previous_checkpoint,
                config.trainer.checkpoint_seconds,
                before_writing,
            ),
        ]
        if config.callbacks.progress:
            watchers.append(
                watch.SweepProgress(
                    recipe.stage,
                    config.job.index,
                    config.job.count,
                    rule.max_epochs,
                    data.train_images,
                    config.job.images_after,
                )
            )
        logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # banners and tips
        trainer = pl.Trainer(
            accelerator=config.trainer.accelerator,
            devices=config.trainer.devices,
            precision=recipe.arithmetic.precision,  # type: ignore[arg-type]  # checked by validate_config
            max_epochs=rule.max_epochs,
            callbacks=watchers,
            # Lightning starts a run's processes itself, in a job of Slurm too, where a job is one stage run.
            plugins=[watch.AtomicCheckpointIO(), LightningEnvironment()],
            logger=False,
            deterministic=True,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=folder.path,
        )
        try:
            trainer.fit(module, data, ckpt_path=start.path if start.kind == "resume" else None)
        except SystemExit:
            if trainer.interrupted:  # Lightning turns Ctrl-C into an exit
                raise KeyboardInterrupt from None
            raise
        if module.predictions is None:  # killed after the last epoch, before the record
            trainer.validate(module, data, verbose=False)
        if trainer.is_global_zero:
            before_writing()
            assert module.predictions is not None and module.evaluation is not None
            record = watch.write_results(
                folder,
                recipe,
                rule,
                history,
                chain=chain,
                starting_point=origin.kind,
                transfer=module.report.as_dict(),
                weights=module.network.state_dict(),
                data=data_record(domain, data),
                samples=data.val_samples,
                groups=data.val_groups,
                logits=module.predictions.logits,
                labels=module.predictions.labels,
                confusion_matrix=module.evaluation.confusion_matrix,
                origin=origin_of(threads, str(trainer.strategy.root_device)),
            )
            tracking.log_record(record)
            if not config.trainer.keep_last:
                folder.last_checkpoint.unlink(missing_ok=True)


def flags_first(arguments: list[str]) -> list[str]:
    """Arguments with `-m` before the overrides: argparse takes none after a flag that follows some."""
    flags = [argument for argument in arguments if argument in ("-m", "--multirun")]
    return [*flags[:1], *(argument for argument in arguments if argument not in flags)]


if __name__ == "__main__":
    sys.argv[1:] = flags_first(sys.argv[1:])
    try:
        main()
    except KeyboardInterrupt:
        log.warning("Interrupted. The same command goes on from the last checkpoint.")
        sys.exit(130)
