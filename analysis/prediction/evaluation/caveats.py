"""What a reader must know before believing the numbers of a set elsewhere."""

from analysis.prediction.evaluation.judged import Judged
from analysis.report.page import Caveat
from datamodules.values.notes import SIDES_APART
from stages.console.words import counted

_FEW = 10  # images of a class below which its recall says little


def caveats_of(judged: Judged) -> list[Caveat]:
    """Serious ones first."""
    found = [*_known_images(judged), *judged.unfinished, *_unlike(judged), *_set(judged)]
    if judged.notes:
        found.append(
            Caveat.listing(
                "How the set was read, and by what",
                "What was noticed about the images, their classes, and the networks.",
                judged.notes,
                serious=False,
            )
        )
    return sorted(found, key=lambda each: not each.serious)


def _known_images(judged: Judged) -> list[Caveat]:
    overlap, found = judged.overlap, []
    if trained := int(overlap.trained.sum()):
        kinds = (
            f"{int(overlap.equal.sum())} equal in every pixel, {trained - int(overlap.equal.sum())} nearly"
        )
        without = judged.accuracy(~overlap.trained)
        found.append(
            Caveat(
                f"{counted(trained, 'image')} of the set were trained on",
                f"They are among the training images of the networks ({kinds}), and make every number here "
                f"better than it is elsewhere. Without them accuracy is {100 * without:.1f}% on "
                f"{judged.images - trained} images. Take them out; known_images.csv lists them.",
            )
        )
    if evaluated := int(overlap.evaluated.sum()):
        what = "This is the networks' own evaluation set" if evaluated == judged.images else "Part is known"
        found.append(
            Caveat(
                f"{what}: {counted(evaluated, 'image')}",
                "The networks were not trained on these images, but their runs were evaluated on them, and "
                "settings may have been chosen by them: this is home, not elsewhere.",
            )
        )
    if before := int(overlap.sources.sum()):
        found.append(
            Caveat(
                f"{counted(before, 'image')} of the set were trained on in a source stage",
                "The networks saw them before the target, with the labels of that stage: numbers can be "
                "better than they are elsewhere. known_images.csv lists them.",
            )
        )
    if overlap.groups:
        found.append(
            Caveat(
                f"{counted(overlap.groups, 'group')} called as groups of the training set",
                "Where equal names are the same patients or objects, the set is not new to the networks. "
                "Where they are numbered anew, this means nothing.",
            )
        )
    if not overlap.complete:
        found.append(
            Caveat("Known images were looked for in part only", f"They were looked for {overlap.how}.")
        )
    return found


def _unlike(judged: Judged) -> list[Caveat]:
    said, grey = list(judged.unlike), judged.overlap.grey
    if grey is not None and grey < SIDES_APART:
        said.append(
            f"Their grey levels have {grey:.0%} in common with those of the networks' own images: see "
            "whether both were scanned, windowed and saved in the same way."
        )
    return [Caveat("The images look unlike the training images", " ".join(said))] if said else []


def _set(judged: Judged) -> list[Caveat]:
    found = []
    if judged.answers.groups_are_images:
        found.append(
            Caveat(
                "No groups are known",
                "Every image counts as independent. If several show one patient or object, all intervals "
                "are too narrow: name the groups, by folders below the class folders, groups=FILE, or a "
                "manifest.",
            )
        )
    if judged.absent:
        found.append(
            Caveat(
                f"{counted(len(judged.absent), 'class', 'classes')} of the networks without an image here",
                f"{', '.join(judged.absent)}. Averages over classes are over the others; an image that is "
                "taken for one of these is wrong. The numbers at home are of the same classes as here.",
                serious=False,
            )
        )
    if judged.left_out:
        found.append(
            Caveat(
                f"{counted(judged.left_out, 'image')} left out",
                "They are of classes that the networks do not know, left out as typed: in use, the "
                "networks would give each of them one of their own classes.",
                serious=False,
            )
        )
    counts = {name: int((judged.answers.labels == label).sum()) for label, name in enumerate(judged.classes)}
    if few := [f"{name}: {count}" for name, count in counts.items() if 0 < count < _FEW]:
        found.append(
            Caveat.listing(
                "Classes with few images", f"Below {_FEW} images a recall says little.", few, serious=False
            )
        )
    if judged.fixed:
        found.append(
            Caveat(
                "Networks of one seed, or of several processes",
                "Intervals are for other groups with these networks as they are; how networks of other seeds "
                "would do is not known.",
                serious=False,
            )
        )
    return found
