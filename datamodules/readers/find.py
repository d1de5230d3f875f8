"""Finds the readers in this package by name, and the usual one of a domain."""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from datamodules import readers
from datamodules.packing.reader import Reader
from stages.errors import RelayError, unknown_name

Readers = Mapping[str, Reader[Any]]


def find_readers() -> Readers:
    """The readers by name, sorted: every module or package here that declares a `READER`."""
    found = {}
    for name in sorted(module.name for module in iter_modules(readers.__path__)):
        reader = getattr(import_module(f"{readers.__name__}.{name}"), "READER", None)
        if isinstance(reader, Reader):
            found[name] = reader
    return found


def choose_reader(known: Readers, domain: str, name: str | None) -> str:
    """The reader to use.

    Args:
        known: See `find_readers`.
        domain: Domain of the set.
        name: The reader that was asked for; None takes the domain's usual one.

    Raises:
        RelayError: There is no such domain or reader, the reader is of another domain, or the domain has
            several readers and not exactly one is the usual.
    """
    domains = sorted({reader.domain for reader in known.values()})
    if domain not in domains:
        raise unknown_name("domain", domain, domains)
    own = [other for other, reader in known.items() if reader.domain == domain]
    if name is None:
        usual = [other for other in own if known[other].usual] if len(own) > 1 else own
        if len(usual) == 1:
            return usual[0]
        raise RelayError(
            f"domain={domain} has {len(usual)} usual readers; choose one with reader={'|'.join(own)}"
        )
    if name not in known:
        raise unknown_name("reader", name, sorted(known, key=lambda other: (other not in own, other)))
    if name not in own:
        raise RelayError(
            f"reader={name} is for domain={known[name].domain}; readers of domain={domain}: {', '.join(own)}"
        )
    return name
