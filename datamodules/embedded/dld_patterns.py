"""The seven HRCT patterns of diffuse lung disease in Hounsfield units, before the scanner adds its noise.

Each pattern follows its description in the glossary of the Fleischner Society (Radiology 246:697, 2008).
"""

import numpy as np

from datamodules.embedded.dld_structures import (
    Array,
    Lung,
    add_blob,
    add_tube,
    affected_area,
    cells,
    mix,
    net,
    parenchyma,
    scattered_sites,
    smooth_noise,
    trees,
    vessels,
)

_AIR = -1000.0
_VESSEL = -30.0  # blood, a little of it lost to partial volume


def _normal(rng: np.random.Generator, lung: Lung, severity: float) -> tuple[Array, Array]:
    del severity
    image = mix(parenchyma(rng, lung), vessels(rng, lung, rng.uniform(0.7, 1.3)), _VESSEL)
    return image, np.ones_like(image)


def _consolidation(rng: np.random.Generator, lung: Lung, severity: float) -> tuple[Array, Array]:
    mask = affected_area(rng, lung, 0.55 + 0.4 * severity, rng.uniform(14.0, 24.0), rng.uniform(8.0, 25.0))
    halo = affected_area(rng, lung, 0.5, 12.0, 3.0) * rng.uniform(0.1, 0.4)
    image = mix(parenchyma(rng, lung), halo, -400.0)
    image = mix(image, vessels(rng, lung), _VESSEL)
    tissue = rng.uniform(-70.0, 40.0) + 18.0 * smooth_noise(rng, lung.side, lung.pixels(5.0))
    # The opacity obscures the vessels; what stays visible in it is the air of the bronchi.
    image = mix(image, mask, tissue)
    if rng.random() < 0.65:
        image = mix(image, mask * trees(rng, lung, 0.10, 1.4), _AIR + 80.0)
    return image, mask


def _ground_glass(rng: np.random.Generator, lung: Lung, severity: float) -> tuple[Array, Array]:
    mask = affected_area(rng, lung, rng.uniform(0.55, 0.95), rng.uniform(9.0, 20.0), rng.uniform(2.5, 8.0))
    haze = -720.0 + 300.0 * severity + 25.0 * smooth_noise(rng, lung.side, lung.pixels(2.5))
    image = mix(parenchyma(rng, lung), mask, haze)
    return mix(image, vessels(rng, lung), _VESSEL), mask


def _honeycombing(rng: np.random.Generator, lung: Lung, severity: float) -> tuple[Array, Array]:
    mask = affected_area(rng, lung, 0.5 + 0.5 * severity, rng.uniform(14.0, 24.0), 8.0)
    outside = mix(parenchyma(rng, lung) + 60.0, net(rng, lung, 7.0, 0.7), -300.0)
    outside = mix(outside, vessels(rng, lung, 0.7), _VESSEL)
    distance_mm = rng.uniform(4.0, 7.5)
    sites = scattered_sites(rng, lung, distance_mm, 0.4)
    sites = sites[rng.random(len(sites)) < 0.8]  # where one is missing its neighbours are larger
    distance, border, index = cells(rng, lung, sites, 0.5)
    radius = np.minimum(lung.pixels(distance_mm) * rng.uniform(0.4, 0.9, len(sites)), lung.pixels(5.0))[index]
    wall = lung.pixels(rng.uniform(0.9, 1.9))
    cyst = np.clip(np.minimum(radius - distance, border - wall / 2) + 0.5, 0.0, 1.0)
    tissue = rng.uniform(-300.0, -30.0) + 40.0 * smooth_noise(rng, lung.side, lung.pixels(4.0))
    air = np.clip(_AIR + rng.exponential(50.0, len(sites)), _AIR, -820.0)[index]
    return mix(outside, mask, mix(tissue, cyst, air)), mask


def _reticular(rng: np.random.Generator, lung: Lung, severity: float) -> tuple[Array, Array]:
    mask = affected_area(rng, lung, rng.uniform(0.7, 1.0), rng.uniform(12.0, 22.0), 5.0)
    image = parenchyma(rng, lung) + mask * (20.0 + 90.0 * severity * rng.uniform(0.3, 1.0))
    image = mix(image, vessels(rng, lung, 0.8), _VESSEL)
    lines = rng.uniform(-450.0, -150.0)
    intralobular = net(rng, lung, rng.uniform(3.0, 5.5), 0.45 + 0.35 * severity)
    septa = net(rng, lung, rng.uniform(9.0, 16.0), rng.uniform(0.8, 1.2))
    image = mix(image, mask * intralobular * rng.uniform(0.6, 1.0), lines)
    return mix(image, mask * septa, lines + 80.0), mask


def _emphysema(rng: np.random.Generator, lung: Lung, severity: float) -> tuple[Array, Array]:
    holes = np.zeros((lung.side, lung.side))
    for x, y in scattered_sites(rng, lung, rng.uniform(7.0, 11.0), 0.4):
        if rng.random() < 0.45 + 0.5 * severity:
            radius = lung.pixels(rng.uniform(1.3, 3.4) * (0.8 + 1.0 * severity))
            add_blob(holes, rng, x, y, radius)
    for _ in range(rng.poisson((0.01 + 0.05 * severity) * lung.square_centimetres)):
        x, y = rng.uniform(0.0, lung.side, 2)
        add_blob(holes, rng, x, y, lung.pixels(rng.uniform(5.0, 11.0)))
    image = parenchyma(rng, lung)
    kept = vessels(rng, lung, rng.uniform(0.75, 1.0) - 0.4 * severity)
    # No wall bounds a hole, and few vessels cross it.
    image = mix(image, kept * (1.0 - 0.4 * holes), _VESSEL)
    emptied = rng.uniform(-965.0, -935.0) + 5.0 * smooth_noise(rng, lung.side, lung.pixels(4.0))
    return mix(image, holes * (1.0 - 0.9 * kept), emptied), holes


def _nodular(rng: np.random.Generator, lung: Lung, severity: float) -> tuple[Array, Array]:
    if rng.random() < 0.5:  # centrilobular: evenly spaced, small, ill defined
        points = scattered_sites(rng, lung, rng.uniform(6.5, 10.0), 0.35)
        points = points[rng.random(len(points)) < 0.5 + 0.45 * severity]
        largest, soft, value = rng.uniform(1.6, 2.4), rng.uniform(1.5, 3.0), rng.uniform(-400.0, -150.0)
    else:  # random: anywhere, of any size, well defined
        count = rng.poisson((0.5 + 1.0 * severity) * lung.square_centimetres)
        points = rng.uniform(0.0, lung.side, (count, 2))
        largest, soft, value = rng.uniform(2.0, 4.0), rng.uniform(1.0, 1.5), rng.uniform(-200.0, 40.0)
    image = mix(parenchyma(rng, lung), vessels(rng, lung), _VESSEL)
    nodules = np.zeros_like(image)
    for x, y in points:
        radius = lung.pixels(1.1 + (largest - 1.1) * rng.random() ** 2)
        slant = rng.normal(0.0, 0.25 * radius, 2)
        add_tube(
            nodules, (x, y), (x + slant[0], y + slant[1]), (radius, radius * rng.uniform(0.75, 1.0)), soft
        )
    # A nodule's attenuation varies with how much of it the slice meets.
    dimmer = 1.0 - 0.3 * np.abs(smooth_noise(rng, lung.side, lung.pixels(3.0))).clip(0.0, 1.5) / 1.5
    return mix(image, nodules * dimmer, value), nodules


_DRAW = {
    "CON": _consolidation,
    "GGO": _ground_glass,
    "HCM": _honeycombing,
    "RET": _reticular,
    "EMP": _emphysema,
    "NOD": _nodular,
    "NOR": _normal,
}


def draw(pattern: str, rng: np.random.Generator, lung: Lung, severity: float) -> tuple[Array, Array]:
    """Draw one slice of a patient's lung that shows a pattern, as a perfect scanner would see it.

    Args:
        pattern: CON, GGO, HCM, RET, EMP, NOD or NOR.
        rng: Source of all randomness.
        lung: Extent, pixel size and density of the lung.
        severity: 0 (mild) to 1 (severe): extent, density and size of what is drawn.

    Returns:
        Attenuation in HU, shape (side, side), and how far each pixel is affected, 0 to 1, same shape.
    """
    return _DRAW[pattern](rng, lung, severity)
