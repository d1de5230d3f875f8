"""Readers of providers' files, one package for each provider, found by name."""
