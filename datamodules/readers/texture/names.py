"""Names of the 61 materials of CUReT, and of the ten of KTH-TIPS.

CUReT numbers its samples 1 to 61; the names are those of Dana, van Ginneken, Nayar and Koenderink,
"Reflectance and Texture of Real-World Surfaces", ACM TOG 18(1), 1999. 29 to 32 show samples 2, 11, 12
and 14 from a smaller distance. KTH-TIPS carries the same numbers for ten of the materials.
"""

CURET_MATERIALS: tuple[str, ...] = (
    *("felt", "polyester", "terrycloth", "rough_plastic", "leather", "sandpaper", "velvet", "pebbles"),
    *("frosted_glass", "plaster_a", "plaster_b", "rough_paper", "artificial_grass", "roof_shingle"),
    *("aluminum_foil", "cork", "rough_tile", "rug_a", "rug_b", "styrofoam", "sponge", "lambswool"),
    *("lettuce_leaf", "rabbit_fur", "quarry_tile", "loofa", "insulation", "crumpled_paper"),
    *("polyester_zoomed", "plaster_b_zoomed", "rough_paper_zoomed", "roof_shingle_zoomed"),
    *("slate_a", "slate_b", "painted_spheres", "limestone", "brick_a", "ribbed_paper", "human_skin", "straw"),
    *("brick_b", "corduroy", "salt_crystals", "linen", "concrete_a", "cotton", "stones", "brown_bread"),
    *("concrete_b", "concrete_c", "corn_husk", "white_bread", "soleirolia_plant", "wood_a", "orange_peel"),
    *("wood_b", "peacock_feather", "tree_bark", "cracker_a", "cracker_b", "moss"),
)
"""Sample 1 first; every name once."""

KTH_TIPS_MATERIALS: dict[str, int] = {
    "sandpaper": 6,
    "aluminium_foil": 15,
    "styrofoam": 20,
    "sponge": 21,
    "corduroy": 42,
    "linen": 44,
    "cotton": 46,
    "brown_bread": 48,
    "orange_peel": 55,
    "cracker": 60,
}
"""Class folder -> number of the CUReT sample of the same material."""
