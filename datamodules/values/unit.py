"""The unit of values that are drawn while training: Hounsfield units, or grey levels."""

from stages.errors import RelayError
from stages.recipe import Distortions
from stages.values import Values

_LEVELS = 255.0  # from black to white


def in_hounsfield(values: Values | None) -> bool:
    """Whether all images of a domain are windowed from Hounsfield units, and by one window."""
    return (
        values is not None
        and values.air is not None
        and values.eight_bit == 0
        and values.black is not None
        and values.white is not None
    )


def grey_levels(distortions: Distortions, values: Values | None, stage: str) -> float:
    """Grey levels, of 0 to 255, in one unit of brightness and noise.

    With HU it is 255 / (white - black) of the window.

    Args:
        distortions: What is drawn.
        values: Of the domain's images.
        stage: Whose they are.

    Raises:
        RelayError: HU for images that are not windowed from them, or a value as large as the whole range.
    """
    hounsfield = in_hounsfield(values)
    if distortions.intensity_unit == "HU" and not hounsfield:
        raise RelayError(
            f"stage {stage}: intensity_unit is HU, but its images are not all windowed from Hounsfield units "
            "by one window: their values are grey levels. Set intensity_unit=grey, and brightness and noise "
            f"in levels of 0 to 255, for this domain: {_WHERE}"
        )
    levels = 1.0
    if hounsfield and distortions.intensity_unit != "grey":
        assert values is not None and values.black is not None and values.white is not None
        levels = _LEVELS / (values.white - values.black)
    for name in ("brightness", "noise"):
        if (getattr(distortions, name) or 0) * levels >= _LEVELS:
            raise RelayError(
                f"stage {stage}: {name} is {getattr(distortions, name):g} "
                f"{unit_name(distortions, values)}, which is the whole range from black to white "
                f"({_LEVELS / levels:g}) or more: nothing would be left of an image. Give less"
            )
    return levels


_WHERE = "data.domains.NAME.intensity_unit, or source.intensity_unit of the stage's own file"


def unit_name(distortions: Distortions, values: Values | None) -> str:
    """The unit of brightness and noise, in words."""
    return "HU" if distortions.intensity_unit != "grey" and in_hounsfield(values) else "grey levels"


def distortion_note(distortions: Distortions, values: Values | None, stage: str) -> str | None:
    """What is drawn for a stage's training images, in a line; None where nothing is.

    Raises:
        RelayError: As `grey_levels`.
    """
    levels, unit = grey_levels(distortions, values, stage), unit_name(distortions, values)
    parts = []
    if distortions.rotation is not None:
        parts.append("rotation by {:g} to {:g} degrees".format(*distortions.rotation))
    if distortions.crop is not None:
        parts.append("a crop of {:.0%} to {:.0%} of the sides".format(*distortions.crop))
    if distortions.contrast is not None:
        parts.append(f"contrast +-{distortions.contrast:.0%}")
    for name, words in (("brightness", "brightness +-"), ("noise", "noise of ")):
        if (value := getattr(distortions, name)) is not None:
            of = f" ({value * levels:.1f} of 255 grey levels)" if unit == "HU" else ""
            parts.append(f"{words}{value:g} {unit}{of}")
    return f"{stage}: drawn for each training image in each epoch: {', '.join(parts)}" if parts else None
