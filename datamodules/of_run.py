"""The images that a stored stage run was trained on, listed again."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from datamodules.listing import Listing, list_source
from datamodules.packing.read import is_remote
from stages.config import Config, StageConfig, source_of
from stages.errors import RelayError
from stages.parameters import tuples
from stages.source import Source
from stages.store import RunFolder
from stages.stored import read_yaml


def listing_of_run(run: RunFolder, root: str | None = None) -> tuple[Config, Listing]:
    """What a run's `config.yaml` says of its images, see `_read_config`, and their listing.

    Args:
        run: The stage run.
        root: The folder or the address of the images; the configuration's if None, which must be a folder.

    Raises:
        RelayError: The configuration or the images cannot be read, or they are not those of the recipe; the
            configuration names an address: a store may be somebody else's, and nothing is fetched that this
            user did not type.
    """
    config = _read_config(run.config)
    source = source_of(config)
    if root is not None:
        source = replace(source, root=root)
    elif source.root is not None and is_remote(source.root):
        raise RelayError(
            f"{run.config} says that the images are at {source.root}. A store may come from somebody else: "
            f"nothing is fetched unasked. If you know the address, type it, root={source.root}"
        )
    listing = list_source(source)
    if listing.digest != run.read_recipe()["data"]["digest"]:
        raise RelayError(
            f"the images that {run.config} names are not those the run was trained on: files were added, "
            "removed or renamed since"
        )
    return config, listing


def _read_config(path: Path) -> Config:
    """What a stored configuration says of images, with the names of a `Config`.

    The rest is left out: an earlier version's may lack a setting, or have others. Nothing is resolved: what
    was resolved when the run was trained is text, and `${oc.env:NAME}` in it is somebody's attempt.
    """
    try:
        loaded = tuples(read_yaml(path))
        data, memory = loaded["data"], loaded["data"]["memory_limit_gb"]
        domains = {name: Source(**source) for name, source in data["domains"].items()}
        config = SimpleNamespace(
            stage=StageConfig(**loaded["stage"]),
            data=SimpleNamespace(name=data["name"], domains=domains, memory_limit_gb=float(memory)),
            paths=SimpleNamespace(cache_dir=str(loaded["paths"]["cache_dir"])),
            folds=loaded["folds"],
        )
        return cast(Config, config)
    except KeyError as error:
        reason = f"it has no {error}"
    except (OSError, ValueError, TypeError, AttributeError, RelayError) as error:
        reason = str(error).partition("\n")[0]
    raise RelayError(f"{path} cannot be read ({reason}); it says where images are")
