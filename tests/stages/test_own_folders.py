"""Folders of configuration of the user's own: nothing in them is passed over in silence."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.errors import RelayError
from stages.own_folders import CONF, ConfigSource, check_own_folders, own_processes
from stages.processes import keep_processes, use_store


def sources(*folders: Path) -> list[ConfigSource]:
    """Hydra's search path with these folders after its own and Relay's."""
    parts = [("pkg", "hydra", "hydra.conf"), ("file", "main", str(CONF))]
    parts += [("file", "command-line", str(folder)) for folder in folders]
    parts += [("structured", "schema", "")]
    return [SimpleNamespace(schema=schema, provider=by, path=path) for schema, by, path in parts]


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_that_another_of_its_name_hides_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "a" / "stage" / "mine.yaml", "name: mine\n")
    usual = CONF / "stage" / "dld.yaml"
    written(tmp_path / "a" / "stage" / "dld.yaml", usual.read_text())  # a copy says the same
    check_own_folders(sources(tmp_path / "a"))
    check_own_folders(sources(CONF, tmp_path / "a"))
    written(tmp_path / "b" / "stage" / "mine.yaml", "name: mine\ndomain: other\n")
    with pytest.raises(
        RelayError, match=r"b/stage/mine\.yaml would not be used, because .*a/stage/mine\.yaml"
    ):
        check_own_folders(sources(tmp_path / "a", tmp_path / "b"))
    written(tmp_path / "a" / "stage" / "dld.yaml", usual.read_text() + "# mine\n")
    written(tmp_path / "a" / "optim" / "small.yaml", "lr: 1\n")
    with pytest.raises(
        RelayError, match=r"a/optim/small\.yaml .* comes first \(and 1 more likewise\)\. Give"
    ):
        check_own_folders(sources(tmp_path / "a"))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match=r"there is no folder .*/nowhere; correct the path"):
        check_own_folders(sources(tmp_path / "nowhere"))


def test_the_users_processes_of_a_chain_are_those_without_a_name(tmp_path: Path) -> None:
    own, store = tmp_path / "own", tmp_path / "runs"
    for name, chain, rule in (
        ("mine", "[a, b]", "null"),
        ("again", "[a, b]", "feature"),  # the usual rule: the same process
        ("other", "[a, b]", "conv_only"),
        ("longer", "[a, b, c]", "null"),
        ("paper", "[natural, dld]", "null"),
    ):
        written(own / "process" / f"{name}.yaml", f"name: {name}\nchain: {chain}\ntransfer: {rule}\n")
    written(own / "process" / "broken.yaml", "chain: [a, b")
    found = own_processes(sources(own), ["a", "b"], store)
    assert [process.name for process in found] == ["again", "other"]
    keep_processes(store, found[:1], write=True)
    assert [process.name for process in own_processes(sources(own), ["a", "b"], store)] == ["other"]
    assert own_processes(sources(own), ["natural", "dld"], store) == [], "it is the paper's"
    use_store(tmp_path / "none")
