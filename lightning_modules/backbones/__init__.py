"""timm's image classifiers as networks: by name, described from what timm says of them."""

from lightning_modules.backbones.build import build_backbone, fresh_state
from lightning_modules.backbones.description import backbone_specification, check_size
from lightning_modules.backbones.fitting import fitting

__all__ = ["backbone_specification", "build_backbone", "check_size", "fitting", "fresh_state"]
