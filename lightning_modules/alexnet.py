"""The paper's network under the name by which code outside this project imports it."""

from lightning_modules.networks.alexnet import AlexNet

__all__ = ["AlexNet"]
