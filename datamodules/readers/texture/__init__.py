"""Texture databases: CUReT, its Oxford crops and KTH-TIPS."""

from datamodules.readers.texture.reader import READER

__all__ = ["READER"]
