"""Load Relay, and compose its settings once, for all programs that are forks of the server."""

from importlib import import_module

from hydra import compose, initialize_config_dir

from tests.helpers.programs import PROJECT
from tests.helpers.relay import TINY

for module in (
    *(
        "train",
        "callbacks",
        "datamodules.stage_run",
        "datamodules.from_config",
        "hydra_plugins.relay_sweeper",
    ),
    *("lightning_modules.given", "lightning_modules.networks.alexnet", "lightning_modules.start"),
):
    import_module(module)

with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):  # Hydra's parser is slow at first
    compose("train", ["+stage=natural", *TINY, "paths.runs_dir=/a/b.c-d_e", "seed=1"])
