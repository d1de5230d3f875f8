"""Checks of names that other packages give meaning to, made before anything expensive."""

from stages.config import Config
from stages.errors import RelayError

MODELS = ("alexnet", "torchvision_alexnet")
INITIALISATIONS = ("lecun_normal", "krizhevsky", "caffe")
TRANSFER_RULES = ("feature", "conv_only", "reuse_fc", "finetune")


def validate_config(config: Config) -> None:
    """Refuse a network, an initialisation or a transfer rule that does not exist.

    Raises:
        RelayError: naming the key, its value and what is allowed.
    """
    for key, value, allowed in (
        ("model.name", config.model.name, MODELS),
        ("model.initialisation", config.model.initialisation, INITIALISATIONS),
        ("transfer.rule", config.transfer.rule, TRANSFER_RULES),
    ):
        if value not in allowed:
            raise RelayError(f"{key} is {value!r}; it must be one of {', '.join(allowed)}")
