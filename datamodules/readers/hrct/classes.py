"""The paper's seven patterns by a provider's labels, and the paper's counts to compare a set with."""

from collections.abc import Mapping
from types import MappingProxyType

from stages.errors import RelayError

ClassMap = Mapping[str, str | None]

SEVEN_PATTERNS: ClassMap = MappingProxyType(
    {
        "con": "CON",
        "consolidation": "CON",
        "emp": "EMP",
        "emphysema": "EMP",
        "ggo": "GGO",
        "ground_glass": "GGO",
        "ground_glass_opacity": "GGO",
        "hcm": "HCM",
        "honeycombing": "HCM",
        "nod": "NOD",
        "nodular": "NOD",
        "micronodules": "NOD",
        "peripheral_micronodules": "NOD",
        "nor": "NOR",
        "normal": "NOR",
        "healthy": "NOR",
        "ret": "RET",
        "reticulation": "RET",
        "reticular": "RET",
        # Further labels of the MedGIFT database. Its "fibrosis" holds honeycombing and reticulation
        # unseparated.
        "air_trapping": None,
        "bronchial_wall_thickening": None,
        "bronchiectasis": None,
        "cysts": None,
        "early_fibrosis": None,
        "fibrosis": None,
        "increased_attenuation": None,
        "macronodules": None,
        "pcp": None,
        "tuberculosis": None,
    }
)
"""Label as `plain_label` writes it -> pattern (paper, Fig. 4), None: known, and left out."""

PAPER_COUNTS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "CON": (143, 26),
        "EMP": (4406, 296),
        "GGO": (609, 46),
        "HCM": (282, 73),
        "NOD": (762, 65),
        "NOR": (5371, 355),
        "RET": (210, 66),
    }
)
"""Patches for training and for evaluation (paper, section 5.1)."""

_AS_LARGE = 0.25  # a set whose size differs by more is another set, and a comparison would say nothing


def plain_label(label: str) -> str:
    """A label as class maps write it: `Ground-Glass opacity` is `ground_glass_opacity`."""
    return "_".join(label.casefold().replace("-", " ").replace("_", " ").split())


def checked_class_map(class_map: ClassMap) -> dict[str, str | None]:
    """The map with its labels as `plain_label` writes them.

    Raises:
        RelayError: Two spellings of a label have different classes, or there are no classes.
    """
    plain: dict[str, str | None] = {}
    for label, name in class_map.items():
        key = plain_label(label)
        if plain.setdefault(key, name) != name:
            raise RelayError(f"class_map gives {label!r} two classes, {plain[key]!r} and {name!r}; keep one.")
    if not any(plain.values()):
        raise RelayError("class_map has no class; give at least one label its class, such as healthy: NOR.")
    return plain


def compare_with_paper(counts: Mapping[str, tuple[int, int]]) -> tuple[str, ...]:
    """Say where a set as large as the paper's differs from it.

    Args:
        counts: Class -> patches for training and for evaluation.

    Returns:
        One sentence per differing class, or one sentence that all agree; nothing where the classes are not
        the seven patterns or the set's size differs by more than a quarter.
    """
    size = sum(sum(sides) for sides in counts.values())
    size_of_paper = sum(sum(sides) for sides in PAPER_COUNTS.values())
    if set(counts) != set(PAPER_COUNTS) or abs(size - size_of_paper) > _AS_LARGE * size_of_paper:
        return ()
    differing = [name for name in sorted(counts) if tuple(counts[name]) != PAPER_COUNTS[name]]
    if not differing:
        return ("The class counts are those of the paper.",)
    return tuple(
        f"{name}: {counts[name][0]} patches for training and {counts[name][1]} for evaluation, "
        f"{PAPER_COUNTS[name][0]} and {PAPER_COUNTS[name][1]} in the paper."
        for name in differing
    )
