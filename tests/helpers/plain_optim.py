"""Gradient descent without anything that can be left out."""

from stages.recipe import Optim

PLAIN = Optim(
    name="sgd",
    schedule="constant",
    step_factor=None,
    step_patience=None,
    lr=0.1,
    momentum=0.0,
    weight_decay=0.0,
    batch_size=64,
    accumulate=1,
    warmup_steps=0,
    label_smoothing=0.0,
    class_weights="none",
    sampling="natural",
    gradient_clip=None,
    layer_decay=1.0,
    unfreeze_epochs=0,
)
