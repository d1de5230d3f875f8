"""A split by whole groups (patients, objects), stratified by class."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from datamodules.files.names import first_and_more
from datamodules.splits.search import Problem, solve
from datamodules.splits.table import GroupTable, group_table
from stages.checks import is_real, is_whole
from stages.errors import RelayError

Impossible = Literal["raise", "report"]


def split_by_group(
    labels: Sequence[Hashable] | npt.NDArray[Any],
    groups: Sequence[Hashable] | npt.NDArray[Any],
    fraction: float,
    seed: int,
    *,
    impossible: Impossible = "raise",
) -> npt.NDArray[np.bool_]:
    """Divide samples by whole groups, stratified by class as well as whole groups allow.

    Minimised is the sum over the classes of the squared distance between the share of the class that is kept
    for evaluation and `fraction`: of up to 14 linked groups all divisions are tried, and the seed draws one
    within a percentage point of the best; of more, by seeded starts and a search that moves and swaps. Every
    class that two groups or more hold is on both sides. A class that one group alone holds is all for
    training, and so is that group; `split_report` says so.

    The result depends on the names of the groups, their classes and the seed, on nothing else: samples in
    another order get the same sides, on every machine and with every version of numpy.

    Args:
        labels: Class of each sample, N ints or strings.
        groups: Group of each sample, N hashable names.
        fraction: Share of the samples to keep for evaluation, above 0 and below 1.
        seed: Seed of the draw, 0 or more.
        impossible: What to do where whole groups cannot give every class of two groups both sides: `raise`,
            or `report`, which lets as few classes as possible miss a side.

    Returns:
        bool, (N,): True for evaluation, False for training.

    Raises:
        RelayError: The lengths differ, there are no samples, the fraction or the seed is out of range, a
            group or label is missing, nothing can be kept for evaluation, or (`impossible="raise"`) a class
            of two groups cannot be on both sides.

    Examples:
        >>> int(split_by_group(["a", "a", "a", "a"], [1, 1, 2, 2], 0.5, seed=0).sum())
        2
    """
    _check_arguments(fraction, seed)
    table = group_table(labels, groups)
    group_counts = np.diff(table.counts.tocsc().indptr)
    lonely = group_counts == 1
    pinned = np.asarray(table.counts[:, lonely].sum(axis=1)).ravel() > 0
    if table.size == 1:
        raise RelayError(
            "all samples are of one group, such as one patient, so that a split by group leaves nothing to "
            "evaluate; add other groups, or name finer ones."
        )
    if pinned.all():
        raise RelayError(
            f"each of the {table.size} groups holds a class that no other group holds, so that a split by "
            "group leaves nothing to evaluate; name finer groups, such as the patient instead of the class "
            "or the viewing condition instead of the object."
        )
    evaluation = np.zeros(table.size, dtype=np.bool_)
    missing: list[int] = []
    for problem in _problems(table, pinned, lonely, fraction):
        chosen, lacking = solve(problem, int(seed))
        evaluation[problem.groups] = chosen
        missing += lacking
    if missing and impossible == "raise":
        raise _impossible(sorted(str(table.classes[label]) for label in missing))
    return evaluation[table.group_of]


def _impossible(names: list[str]) -> RelayError:
    return RelayError(
        f"no split by group was found that has class {first_and_more(names)} on both sides: the classes' "
        "groups overlap too much. Add groups, leave the class out, or allow it with impossible='report'."
    )


def _check_arguments(fraction: float, seed: int) -> None:
    if not is_real(fraction) or not 0 < fraction < 1:
        raise RelayError(f"fraction is {fraction}; give a share above 0 and below 1, such as 0.2.")
    if not is_whole(seed) or seed < 0:
        raise RelayError(f"seed is {seed!r}; give a whole number of 0 or more.")


def _problems(
    table: GroupTable, pinned: npt.NDArray[np.bool_], lonely: npt.NDArray[np.bool_], fraction: float
) -> list[Problem]:
    """The parts of the table that share no class: each can be divided on its own."""
    counts = table.counts[:, ~lonely]
    kept_labels = np.flatnonzero(~lonely)
    size = table.size
    entries = counts.tocoo()
    nodes = (entries.row, entries.col + size)  # groups first, then classes
    graph = sparse.csr_matrix((entries.data, nodes), shape=(size + len(kept_labels),) * 2)
    _, part_of = sparse.csgraph.connected_components(graph, directed=False)
    by_part = np.argsort(part_of[:size], kind="stable")
    edges = np.flatnonzero(np.diff(part_of[:size][by_part])) + 1
    problems = []
    for members in np.split(by_part, edges):
        rows = counts[members]
        if rows.nnz == 0:  # a group whose classes no other group holds
            continue
        columns = np.unique(rows.indices)
        problems.append(
            Problem(
                groups=members,
                labels=kept_labels[columns],
                counts=rows[:, columns].toarray(),
                free=~pinned[members],
                fraction=fraction,
            )
        )
    return problems
