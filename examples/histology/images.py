"""Draw tiles that look a little like stained tissue: `python examples/histology/images.py FOLDER [IMAGES]`.

FOLDER/tissue/CLASS and FOLDER/lesion/CLASS get PNG files of 64 x 64 pixels in colour; IMAGES of each class of
tissue, half as many of each class of lesion.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

SIZE = 64
# Nuclei of a tile, their radius in pixels, how much longer than wide, how unequal in size, and how they lie.
TISSUE = {
    "lymphoid": (90, 2.2, 1.0, 0.1, "anywhere"),
    "stroma": (18, 2.2, 3.0, 0.1, "along fibres"),
    "gland": (40, 2.6, 1.3, 0.1, "in rings"),
    "fat": (6, 1.8, 1.5, 0.1, "between drops"),
}
LESION = {  # where they overlap less there are fewer, so that tiles are about equally dark
    "benign": (36, 2.8, 1.2, 0.1, "in rings"),
    "borderline": (31, 2.8, 1.2, 0.3, "in loose rings"),
    "malignant": (27, 2.8, 1.2, 0.5, "anywhere"),
}
PINK, PURPLE, WHITE = np.array([226.0, 160.0, 194.0]), np.array([98.0, 62.0, 138.0]), np.array([244.0] * 3)
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def tile(random: np.random.Generator, kind: tuple[int, float, float, float, str]) -> np.ndarray:
    """One tile, (64, 64, 3) uint8."""
    number, radius, longer, unequal, lie = kind
    angle = random.uniform(0, np.pi)
    fibres = np.sin((ROWS * np.cos(angle) + COLUMNS * np.sin(angle)) * random.uniform(0.5, 0.9))
    rough = gaussian_filter(random.normal(size=(SIZE, SIZE)), 2) * 60
    colour = PINK + (8 * fibres * (lie == "along fibres") + rough)[..., None]
    centres = random.uniform(0, SIZE, (number, 2))
    if lie.endswith("rings"):
        rings = random.uniform(10, SIZE - 10, (random.integers(2, 5), 2))
        turn, ring = random.uniform(0, 2 * np.pi, number), random.integers(0, len(rings), number)
        away = random.normal(10, 4 if "loose" in lie else 1, (number, 1))
        centres = rings[ring] + np.stack([np.sin(turn), np.cos(turn)], 1) * away
        for row, column in rings:
            colour[np.hypot(ROWS - row, COLUMNS - column) < random.uniform(4, 8)] = WHITE
    if lie == "between drops":
        for row, column, wide in random.uniform((0, 0, 8), (SIZE, SIZE, 14), (9, 3)):
            colour[np.hypot(ROWS - row, COLUMNS - column) < wide] = WHITE
    for row, column in centres:
        own = angle + random.normal(0, 0.2) if lie == "along fibres" else random.uniform(0, np.pi)
        # The mean area is that of `radius` however unequal they are, so that the tile is no darker.
        wide = radius * np.exp(unequal * random.normal() - unequal**2)
        along = (ROWS - row) * np.cos(own) + (COLUMNS - column) * np.sin(own)
        across = (COLUMNS - column) * np.cos(own) - (ROWS - row) * np.sin(own)
        inside = np.hypot(along, across / longer) < wide
        colour[inside] = PURPLE + random.normal(0, 15)
    stained = colour * random.normal(1, 0.06) + random.normal(0, 8, 3) + random.normal(0, 5, colour.shape)
    return np.clip(stained, 0, 255).astype(np.uint8)


def main(folder: Path, images: int) -> None:
    """Write all tiles."""
    random = np.random.default_rng(0)
    for domain, kinds, number in (("tissue", TISSUE, images), ("lesion", LESION, images // 2)):
        for name, kind in kinds.items():
            (folder / domain / name).mkdir(parents=True, exist_ok=True)
            for place in range(number):
                Image.fromarray(tile(random, kind)).save(folder / domain / name / f"{place:03d}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 250)
