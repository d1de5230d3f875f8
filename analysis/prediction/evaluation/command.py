"""`predict.py` with evaluate=true: how good the networks are on a set with labels that no run has seen."""

from analysis.prediction.evaluation.files import TABLES, tables_of
from analysis.prediction.evaluation.judge import judge
from analysis.prediction.evaluation.labelled import read_labelled
from analysis.prediction.evaluation.page import page_of
from analysis.prediction.out import opened_out, settings_of
from analysis.prediction.task import Task
from analysis.report.page import PAGE, relay_version, write_report
from stages.machine.atomic import write_text
from stages.machine.cells import to_csv


def evaluate(task: Task) -> list[str]:
    """Evaluate the networks on the source, and write what was found to `out`.

    Args:
        task: its source is a folder, a manifest or a prepared set.

    Returns:
        What to say at the end, a line each.

    Raises:
        RelayError: the source has no labels that can be used.
        CompleteError: the results are there already.
    """
    given, ensemble, calibration = task.arguments, task.ensemble, task.calibration
    values = [member.record.data.values for member in ensemble.members]
    found = read_labelled(
        task.source.typed,
        ensemble.input,
        ensemble.shape,
        eight_bit=all(each is None or each.eight_bit == 1 for each in values),
        groups=given.groups,
        side=given.side,
    )
    settings = settings_of(
        task,
        found.listing.digest,
        evaluate=True,
        named=given.classes,
        side=given.side,
        calibration=None if calibration is None else calibration.document(),
    )
    with opened_out(given.out, settings, [*TABLES, PAGE]) as out:
        judged = judge(
            ensemble,
            found,
            title=given.process or f"{len(ensemble.members)} runs",
            classes=given.classes,
            calibration=calibration,
            batch_size=given.batch_size,
        )
        report = page_of(judged, relay_version())
        for name, table in tables_of(judged).items():
            write_text(out.folder / name, to_csv(table))
        page = write_report(report, out.folder)
    serious = [f"{each.title}: see the page" for each in report.caveats if each.serious]
    return [report.summary[0], *serious, f"report: {page}"]
