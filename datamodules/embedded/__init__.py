"""Generators of natural objects, textures and lung patterns: images without a download."""
