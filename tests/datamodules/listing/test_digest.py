import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.listing import list_source
from stages.source import Source
from tests.helpers.fake_images import (
    ROWS,
    class_folders,
    fake_generator,
    manifest,
    split_folders,
    write_image,
)


def csv_digest(root: Path, **reading: Any) -> str:
    return list_source(Source(kind="manifest", root=str(root), manifest="manifest.csv", **reading)).digest


def flat_files(root: Path) -> Path:
    """Files whose size does not depend on an encoder: the identity is the same wherever the tests run."""
    for side, name, size in (("train", "a", 3), ("train", "b", 5), ("val", "a", 7), ("val", "b", 11)):
        (root / side / name).mkdir(parents=True)
        (root / side / name / "x.png").write_bytes(b"x" * size)
    return root


# Written by hand; changing it makes every user's checkpoints unfindable.
DOCUMENT = (
    '{"decode_version":2,"files":['
    '["train/a/x.png",3,"a","train/a/x.png","train"],'
    '["train/b/x.png",5,"b","train/b/x.png","train"],'
    '["val/a/x.png",7,"a","val/a/x.png","val"],'
    '["val/b/x.png",11,"b","val/b/x.png","val"]],'
    '"origin":"files","reading":{"color":"auto","decode_size":null,"window":null}}'
)
PINNED = hashlib.sha256(DOCUMENT.encode()).hexdigest()


def test_identity_is_pinned(tmp_path: Path) -> None:
    identity = list_source(Source(kind="folder", root=str(flat_files(tmp_path))))
    assert (identity.classes, identity.train_images, identity.val_images) == (("a", "b"), 2, 2)
    assert identity.digest == PINNED


@pytest.mark.slow
def test_identity_in_other_processes(tmp_path: Path) -> None:
    flat_files(tmp_path)
    program = (
        "from datamodules import Source, list_source; import sys;"
        "print(list_source(Source(kind='folder', root=sys.argv[1])).digest)"
    )
    for hash_seed, locale in (("1", "C"), ("2", "C.UTF-8")):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "LC_ALL": locale}
        result = subprocess.run(
            [sys.executable, "-c", program, os.path.relpath(tmp_path)],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert result.stdout.strip() == PINNED


def test_identity_ignores_root_times_and_other_files(tmp_path: Path) -> None:
    first, second = flat_files(tmp_path / "first"), flat_files(tmp_path / "elsewhere")
    (second / "train" / "a" / "notes.txt").write_text("x")
    os.utime(second / "train" / "a" / "x.png", ns=(0, 0))
    assert folder_digest(first) == folder_digest(second)


def folder_digest(root: Path) -> str:
    return list_source(Source(kind="folder", root=str(root))).digest


def test_folder_and_manifest_of_the_same_files_are_one_identity(tmp_path: Path) -> None:
    flat_files(tmp_path)
    lines = ["path,class,group,split"]
    for side in ("train", "val"):
        for name in ("a", "b"):
            path = f"{side}/{name}/x.png"
            lines.append(f"{path},{name},{path},{side}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    assert csv_digest(tmp_path) == folder_digest(tmp_path)


def test_order_of_manifest_lines_does_not_matter(tmp_path: Path) -> None:
    expected = csv_digest(manifest(tmp_path))
    assert csv_digest(manifest_lines(tmp_path, list(reversed(ROWS)))) == expected


def manifest_lines(root: Path, rows: list[tuple[str, ...]]) -> Path:
    lines = [",".join(row) for row in [("path", "class", "group", "split"), *rows]]
    (root / "manifest.csv").write_text("\n".join(lines))
    return root


@pytest.mark.parametrize(
    "row",
    [
        ("b/6.png", "con", "p2", "train"),  # another path
        ("b/3.png", "ggo", "p2", "train"),  # another class
        ("b/3.png", "con", "p4", "train"),  # another group
        ("b/3.png", "con", "p4", "val"),  # another side
    ],
)
def test_every_column_moves_the_identity(tmp_path: Path, row: tuple[str, ...]) -> None:
    before = csv_digest(manifest(tmp_path))
    write_image(tmp_path / "b" / "6.png", seed=2)
    assert csv_digest(manifest_lines(tmp_path, [*ROWS[:2], row, *ROWS[3:]])) != before


def test_size_and_reading_move_the_identity(tmp_path: Path) -> None:
    digests = [csv_digest(manifest(tmp_path))]
    digests += [csv_digest(tmp_path, decode_size=size) for size in (4, 8)]
    digests += [csv_digest(tmp_path, window=(0, high)) for high in (255, 4095)]
    digests += [csv_digest(tmp_path, color=color) for color in ("grey", "rgb")]
    with (tmp_path / "a" / "1.png").open("ab") as stream:
        stream.write(b"x")
    digests.append(csv_digest(tmp_path))
    assert len(set(digests)) == len(digests)
    assert csv_digest(tmp_path, window=[0, 255]) == csv_digest(tmp_path, window=(0.0, 255.0))


def test_split_moves_the_identity(tmp_path: Path) -> None:
    class_folders(tmp_path, images=10)
    sources = [
        Source(kind="folder", root=str(tmp_path), val_fraction=fraction, split_seed=seed)
        for fraction, seed in ((0.2, 0), (0.2, 1), (0.3, 0))
    ]
    identities = [list_source(source) for source in sources]
    assert len({identity.digest for identity in identities}) == 3
    assert [(identity.train_images, identity.val_images) for identity in identities] == [
        (16, 4),
        (16, 4),
        (14, 6),
    ]


def embedded(**change: Any) -> Source:
    fields = {"generator": "dld", "classes": 3, "train_images": 6, "val_images": 3, "size": 8, "seed": 0}
    return Source(kind="embedded", **{**fields, **change})


def test_embedded_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = fake_generator(monkeypatch, np.zeros((6, 8, 8), np.uint8))
    identity = list_source(embedded())
    assert (identity.classes, identity.train_images, identity.val_images) == (
        ("class0", "class1", "class2"),
        6,
        3,
    )
    changes: list[dict[str, Any]] = [
        {"classes": 2}, {"train_images": 7}, {"val_images": 4}, {"size": 9}, {"seed": 1}, {"window": (0, 1)},
    ]  # fmt: skip
    digests = {json.dumps(change): list_source(embedded(**change)).digest for change in changes}
    vars(generator)["VERSION"] = 2
    digests["version"] = list_source(embedded()).digest
    assert len({identity.digest, *digests.values()}) == len(changes) + 2
    assert generator.calls == 0


def test_identity_of_unusable_data_is_an_error_already(tmp_path: Path) -> None:
    split_folders(tmp_path)
    (tmp_path / "train" / "brick" / "000.png").write_bytes(b"")
    with pytest.raises(Exception, match="zero bytes"):
        folder_digest(tmp_path)
