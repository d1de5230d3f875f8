"""Where another way to look at the two best processes turns their order round: each is said."""

from analysis.report.judgement import Pair, Words, points, shown_sign
from stages.metrics import Metric, metric_of


def reversals(words: Words, best: str, second: str) -> list[str]:
    """A paragraph that names what says the reverse of the ranking; none if nothing does.

    Looked at are the seeds that both have (the ranking is of all seeds of each), the 75th percentiles, the
    other metrics of Table 1, and accuracy with every patient counted once.

    Args:
        words: of the study.
        best: the process that the main metric ranks first.
        second: the next.
    """
    metric = words.metric
    pair = words.pair(metric, best, second)
    if pair.n == 0:
        return []
    said = [*_of_pair(words, pair), *_of_metrics(words, best, second)]
    if not said:
        return []
    names = f"{words.labels[best]} and {words.labels[second]}"
    return [f"Not everything orders {names} in this way: {'; '.join(said)}."]


def _of_pair(words: Words, pair: Pair) -> list[str]:
    metric, said = words.metric, []
    sign = shown_sign(metric, pair.difference)
    if _worse(metric, pair.difference):
        said.append(
            f"on the {pair.n} seeds that both have, the second is better ({points(metric, pair.difference)})"
        )
    if shown_sign(metric, pair.p75) * sign < 0:
        said.append(
            f"by the 75th percentiles, which favour networks that vary more from epoch to epoch, the "
            f"difference is {points(metric, pair.p75)} instead of {points(metric, pair.difference)}"
        )
    if shown_sign(metric, pair.by_patient) * sign < 0 and not words.inference.groups_are_images:
        said.append(
            f"with every patient counted once, instead of every image, the difference is "
            f"{points(metric, pair.by_patient)}: it rests on patients with many images"
        )
    return said


def _of_metrics(words: Words, best: str, second: str) -> list[str]:
    found = []
    for name in dict.fromkeys(words.inference.differences["metric"]):
        metric = metric_of(name)
        if metric == words.metric or metric.better is None:
            continue
        pair = words.pair(metric, best, second)
        if pair.n and _worse(metric, pair.difference):
            found.append(f"in {metric.title} ({points(metric, pair.difference)})")
    if not found:
        return []
    listed = " and ".join(filter(None, [", ".join(found[:-1]), found[-1]]))
    return [f"{listed} the second is better"]


def _worse(metric: Metric, difference: float) -> bool:
    sign = shown_sign(metric, difference)
    return sign > 0 if metric.better == "lower" else sign < 0
