"""From the digests that a store has in place of your own names, back to the names.

python -m datamodules.names run=runs/dld/0123456789abcdef               a table: sample,path,group,group_name
python -m datamodules.names run=runs/dld/0123456789abcdef digest=...    the one name
python -m datamodules.names run=... root=/scans                         the images lie elsewhere now

The names come from the images, which must be here. They are printed, not written: keep them out of stores.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from datamodules.files.names import name_hash
from datamodules.listing import FileListing, Hiding, Listing
from datamodules.listing.hidden import names_key
from datamodules.of_run import listing_of_run
from stages.console.arguments import key_values
from stages.console.output import output, refuse, write_out
from stages.errors import RelayError
from stages.machine.cells import to_csv
from stages.store import RunFolder


def main(arguments: Sequence[str]) -> None:
    """Print the names behind a run's digests, or behind one.

    Raises:
        SystemExit: With code 2 and one message if that is not possible.
    """
    try:
        given = key_values(arguments, ("run", "digest", "root"))
        if "run" not in given:
            raise RelayError("give a folder of the store: python -m datamodules.names run=runs/STAGE/ID")
        run = RunFolder(Path(given["run"]).expanduser())
        if not run.path.is_dir():
            raise RelayError(f"there is no folder {run.path}; a run's is STAGE/ID in the store")
        _, listing = listing_of_run(run, given.get("root"))
        text = name_of(listing, given["digest"]) if "digest" in given else to_csv(names(listing)).rstrip()
    except RelayError as error:
        refuse(error)
    write_out(text)


def names(listing: Listing) -> pd.DataFrame:
    """All images of a source: sample, path, group, group_name. `sample` and `group` are what a run writes.

    Raises:
        RelayError: The source's names are no files'.
    """
    files = _listed(listing)
    key = names_key(files)
    return pd.DataFrame(
        {
            "sample": [name_hash(file.path, key) for file in files.files],
            "path": [file.path for file in files.files],
            "group": [name_hash(file.group, key) for file in files.files],
            "group_name": [file.group for file in files.files],
        }
    )


def name_of(listing: Listing, digest: str) -> str:
    """The path, folder, file or group of a digest.

    Raises:
        RelayError: It is none of the source's.
    """
    files = _listed(listing)
    found = Hiding(files.source, files).reveal(digest)
    if found == digest:
        raise RelayError(f"{digest} is the digest of no path, folder or group of {files.source.root}.")
    return found


def _listed(listing: Listing) -> FileListing:
    if not isinstance(listing, FileListing):
        raise RelayError(
            f"images of kind {listing.source.kind} have no names of yours. What stands for a patient in a "
            "prepared set leads back to nobody: its key was not kept."
        )
    return listing


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        output().print(__doc__, soft_wrap=True)
    else:
        main(sys.argv[1:])
