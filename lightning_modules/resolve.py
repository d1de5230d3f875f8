"""What a configuration means for its network and this machine, settled before anything is trained."""

from dataclasses import replace

from lightning_modules.hardware import arithmetic
from lightning_modules.registry import check_width, specification_of
from lightning_modules.transfer_rule import transfer_rule
from lightning_modules.unfreezing import rounds
from stages.config import Config
from stages.errors import RelayError
from stages.schedule import after_unfreezing


def resolve(config: Config, transferred: bool) -> Config:
    """Resolve what depends on the network and the machine; refuse what no network can do.

    Args:
        config: A stage run's configuration.
        transferred: Whether it starts from a parent or a checkpoint; else its transfer rule is checked only.

    Returns:
        The configuration with accelerator, precision and memory format for this machine in place of `auto`,
        the transfer rule's layers named one by one, and the first epoch of a plateau.

    Raises:
        RelayError: The network is unknown, images are too small for it, it does not
            come in this width, the transfer rule is not one for its layers, or too many layers wait for their
            training. The message says the key, the
            value and what is allowed.
    """
    network = specification_of(config.model)
    check_width(network, config.model.width)
    if config.data.image_size is None:
        raise RelayError(
            f"data.image_size is null, and {network.name} has no size of its own; set it, such as "
            "data.image_size=224"
        )
    if config.data.image_size < network.least_size:
        raise RelayError(
            f"data.image_size is {config.data.image_size}; {network.name} takes images of "
            f"{network.least_size} px or more"
        )
    accelerator, precision, memory_format = arithmetic(config)
    if (accelerator, precision) == ("cpu", "16-mixed"):
        raise RelayError(
            "trainer.precision=16-mixed: no processor computes so, and Lightning would take bf16-mixed, "
            "which the record would not say. Type trainer.precision=bf16-mixed or 32-true, or "
            "trainer.accelerator=gpu"
        )
    trainer = replace(
        config.trainer, accelerator=accelerator, precision=precision, memory_format=memory_format
    )
    written = config.transfer
    rule = transfer_rule(written.name, written.reinitialise, written.freeze, network)
    if not transferred:
        return replace(config, trainer=trainer)
    transfer = replace(written, reinitialise=rule.reinitialised, freeze=rule.frozen)
    layers = rounds(network, rule.reinitialised, rule.frozen)
    plateau = after_unfreezing(config.callbacks.plateau, config.optim, len(layers))
    callbacks = replace(config.callbacks, plateau=plateau)
    return replace(config, trainer=trainer, transfer=transfer, callbacks=callbacks)
