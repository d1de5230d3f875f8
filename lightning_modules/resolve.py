"""What a configuration means for its network and this machine, settled before anything is trained."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from lightning_modules.hardware import arithmetic
from lightning_modules.registry import check_width, specification_of
from lightning_modules.specification import Specification
from lightning_modules.transfer_rule import transfer_rule
from lightning_modules.unfreezing import rounds
from stages.config import Config, DataConfig
from stages.errors import RelayError
from stages.plan import StageRun
from stages.recipe import Channels, Deviations, TransferLayers
from stages.schedule import after_unfreezing


def resolve(config: Config, transferred: bool) -> Config:
    """Resolve what depends on the network and the machine; refuse what no network can do.

    Args:
        config: A stage run's configuration.
        transferred: Whether it starts from a parent or a checkpoint; else its transfer rule is checked only.

    Returns:
        The configuration with accelerator, precision and memory format for this machine in place of `auto`,
        the transfer rule's layers named one by one, the first epoch of a plateau, and neither unfreezing
        nor a decay of rates where the rule leaves no layer to wait or to differ.

    Raises:
        RelayError: The network is unknown, images are too small for it, it does not
            come in this width, the transfer rule is not one for its layers, or too many layers wait for their
            training. The message says the key, the
            value and what is allowed.
    """
    network = specification_of(config.model)
    if network.architecture is None:
        check_width(network, config.model.width)
    config = replace(config, data=_input(config.data, network))
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
    layers, optim = rounds(network, rule.reinitialised, rule.frozen), config.optim
    if len(layers) == 1:  # as with finetune: none waits
        optim = replace(optim, unfreeze_epochs=0)
    if {name for each in layers for name in each} <= {*network.words["head"]}:
        optim = replace(optim, layer_decay=1.0)
    plateau = after_unfreezing(config.callbacks.plateau, optim, len(layers))
    callbacks = replace(config.callbacks, plateau=plateau)
    return replace(config, optim=optim, trainer=trainer, transfer=transfer, callbacks=callbacks)


def _input(data: DataConfig, network: Specification) -> DataConfig:
    """Size and normalisation of the network's input: as they are set, else as the network says of itself."""
    own = network.input
    size = data.image_size if data.image_size is not None or own is None else own.size
    if size is None:
        raise RelayError(
            f"data.image_size is null, and {network.name} has no size of its own; set it, such as "
            "data.image_size=224"
        )
    if network.architecture is not None:
        from lightning_modules.backbones import check_size

        check_size(network.architecture, size)
    elif size < network.least_size:
        raise RelayError(
            f"data.image_size is {size}; {network.name} takes images of {network.least_size} px or more"
        )
    if data.mean is None and own is not None:
        data = replace(data, mean=own.mean, std=own.std)
    return replace(data, image_size=size)


def network_notes(runs: Iterable[StageRun]) -> list[str]:
    """A line for each thing about sizes, normalisation and transfer rules that may surprise."""
    runs = list(runs)
    recipes = [run.recipe for run in runs]
    models = {recipe.model: specification_of(recipe.model) for recipe in recipes}
    inputs = dict.fromkeys((it.model, it.data.image_size, it.data.mean, it.data.std) for it in recipes)
    notes = [note for model, size, mean, std in inputs for note in _of_input(models[model], size, mean, std)]
    rules: dict[tuple[str, TransferLayers], dict[str, None]] = {}
    for recipe in recipes:
        if recipe.transfer is not None and recipe.transfer_layers is not None:
            key = (models[recipe.model].name, recipe.transfer_layers)
            rules.setdefault(key, {})[recipe.transfer] = None
    notes += [
        f"in {network} the transfer rules {' and '.join(names)} are the same"
        for (network, _), names in rules.items()
        if len(names) > 1
    ]
    notes += [
        f"model.width={run.config.model.width:g} is not used: {models[run.recipe.model].name} has one width"
        for run in runs
        if run.config.model.width != run.recipe.model.width
    ]
    return list(dict.fromkeys(notes))


def _of_input(
    network: Specification, size: int, mean: Channels | None, std: Deviations | None
) -> Iterator[str]:
    own = network.input
    if own is None:
        return
    if size != own.size:
        yield f"{network.name} is made for images of {own.size} px (data.image_size={size})"
    least = own.reduction
    if size < 2 * least:
        yield (
            f"{network.name} reduces images {least} times: of {size} px its last features have one place; "
            f"data.image_size={2 * least} or more keeps some of where things are"
        )
    elif size % least:
        yield (
            f"{network.name} reduces images {least} times, and data.image_size={size} is no multiple of "
            "that: a border of the image counts less"
        )
    if (mean, std) == (own.mean, own.std):
        shown = [" ".join(f"{number:g}" for number in part) for part in (own.mean, own.std)]
        yield f"{network.name}: images are normalised as timm says of it, mean {shown[0]}, std {shown[1]}"
