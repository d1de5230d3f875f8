"""A trained chain applied to new images: classes of pictures, or a map of a CT series.

python predict.py runs_dir=runs process=two_stage source=PATH out=OUT              all networks of a process
python predict.py runs_dir=runs run=b8801e928b74e7ad source=PATH out=OUT           one network
python predict.py runs_dir=runs process=two_stage source=PATH out=OUT evaluate=true    a set with labels

The source is a folder of images, one image, a CSV file that lists some, a prepared set, or a series (DICOM,
NIfTI, slices): see docs/prediction.md. Stopped by Ctrl-C, the same command goes on with what is missing.
"""

import sys
from collections.abc import Sequence

from analysis.prediction.arguments import Arguments, parse_arguments
from analysis.prediction.networks import networks_of
from analysis.runs.arguments import help_lines
from stages.console.output import output, refuse
from stages.errors import CompleteError, RelayError
from stages.machine.signals import end_as_after_ctrl_c, ending_signal
from stages.machine.threads import ignore_limits_of_threads


def main(typed: Sequence[str]) -> None:
    """Do what was typed, and say where the results are.

    Raises:
        SystemExit: with code 2 and one message where nothing can be done; 130 after Ctrl-C, 143 after
            SIGTERM.
    """
    end_as_after_ctrl_c()
    ignore_limits_of_threads()
    try:
        for line in predict(parse_arguments(typed)):
            output().print(line, soft_wrap=True)
    except CompleteError as error:
        output().print(f"Nothing to do: {error}.", soft_wrap=True)
    except (RelayError, OSError) as error:
        refuse(error)
    except KeyboardInterrupt:
        output().print("Interrupted. What is done is kept; the same command goes on from there.")
        sys.exit(128 + ending_signal())


def predict(arguments: Arguments) -> list[str]:
    """Load the networks, see what the source is, and apply them.

    Returns:
        What to say at the end, a line each.

    Raises:
        RelayError: there are no such networks, or they cannot be applied to the source.
    """
    from analysis.prediction.device import chosen_device
    from analysis.prediction.evaluation.command import evaluate
    from analysis.prediction.finished import unfinished_lines
    from analysis.prediction.pictures.command import predict_pictures
    from analysis.prediction.series.command import predict_series
    from analysis.prediction.sources import check_source, recognise
    from analysis.prediction.task import Task

    check_source(arguments.source, arguments.out)
    device = chosen_device(arguments.device, arguments.threads)
    ensemble, calibration = networks_of(arguments.runs_dir, arguments, device)
    if arguments.precision == "training":
        ensemble = ensemble.as_trained
    unfinished = unfinished_lines([member.record for member in ensemble.members])
    for line in [*unfinished, *ensemble.notes, *([] if calibration is None else [calibration.note])]:
        output().print(f"note: {line}", soft_wrap=True)
    kind = "pictures" if arguments.evaluate else arguments.kind
    task = Task(arguments, ensemble, recognise(arguments.source, kind, ensemble), calibration)
    if arguments.evaluate:
        return evaluate(task)
    return predict_series(task) if task.source.form == "series" else predict_pictures(task)


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        output().print(f"{__doc__}\n{help_lines(Arguments)}", soft_wrap=True)
    else:
        main(sys.argv[1:])
