"""Codes of patterns for DICOM: those of the standard and of SNOMED CT, and our own for other names."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

# (scheme, value, meaning). Those of DCM and Nodule are in PS3.16, CID 6102; the others in SNOMED CT alone.
_GROUND_GLASS = ("DCM", "112120", "Ground glass opacity")
_CONSOLIDATION = ("SCT", "95436008", "Lung consolidation")
_HONEYCOMB = ("DCM", "112106", "Honeycomb pattern")
_RETICULAR = ("DCM", "112113", "Reticular pattern")
_EMPHYSEMA = ("SCT", "87433001", "Pulmonary emphysema")
_NODULAR = ("DCM", "112067", "Nodular pattern")
_MICRONODULE = ("DCM", "112122", "Micronodule")
_KNOWN: Mapping[str, tuple[str, str, str]] = {
    "ggo": _GROUND_GLASS,
    "groundglass": _GROUND_GLASS,
    "groundglassopacity": _GROUND_GLASS,
    "con": _CONSOLIDATION,
    "consolidation": _CONSOLIDATION,
    "hcm": _HONEYCOMB,
    "honeycomb": _HONEYCOMB,
    "honeycombing": _HONEYCOMB,
    "ret": _RETICULAR,
    "reticular": _RETICULAR,
    "reticulation": _RETICULAR,
    "emp": _EMPHYSEMA,
    "emphysema": _EMPHYSEMA,
    "nod": _NODULAR,
    "nodular": _NODULAR,
    "micronodule": _MICRONODULE,
    "micronodules": _MICRONODULE,
}
_NORMAL = frozenset({"nor", "normal", "healthy", "normallung", "healthylung"})
_LUNG = ("SCT", "39607008", "Lung")
_CATEGORIES: Mapping[str, tuple[str, str, str]] = {  # PS3.16, CID 7150
    "abnormal": ("SCT", "49755003", "Morphologically Abnormal Structure"),
    "anatomy": ("SCT", "91723000", "Anatomical Structure"),
    "tissue": ("SCT", "85756007", "Tissue"),
}
_OURS = "99RELAY"
_LONG = 64
_SHORT = 3


def spelled_out(name: str) -> str:
    """What a short name such as GGO stands for, in small letters; empty for any other name."""
    if len(name) > _SHORT:
        return ""
    if name.casefold() in _NORMAL:
        return "normal lung"
    return _KNOWN[name.casefold()][2].lower() if name.casefold() in _KNOWN else ""


def segment_codes(name: str) -> tuple[Any, Any]:
    """Category and type of a pattern's segment.

    A name that is not known is some tissue, of a type of our own scheme: a class may be anything.

    Args:
        name: Of the class, as in the record.

    Returns:
        Two of highdicom's coded concepts.
    """
    from highdicom.sr import CodedConcept

    plain = re.sub(r"[\W_]+", "", name.casefold())
    if plain in _NORMAL:
        category, kind = "anatomy", _LUNG
    elif plain in _KNOWN:
        category, kind = "abnormal", _KNOWN[plain]
    else:
        value = hashlib.sha256(name.encode()).hexdigest()[:12].upper()
        category, kind = "tissue", (_OURS, value, name[:_LONG])
    concepts = (
        CodedConcept(value, scheme, meaning) for scheme, value, meaning in (_CATEGORIES[category], kind)
    )
    first, second = concepts
    return first, second
