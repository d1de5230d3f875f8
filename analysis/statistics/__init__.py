"""Statistics of a table of runs: means, tests, slopes over data ratios, intervals over patients."""

from analysis.statistics.comparison import compare, pairwise
from analysis.statistics.max_t import max_t
from analysis.statistics.robustness import at_ratios, slope_tests, slopes
from analysis.statistics.two_way import two_way_difference, two_way_level

__all__ = [
    "at_ratios",
    "compare",
    "max_t",
    "pairwise",
    "slope_tests",
    "slopes",
    "two_way_difference",
    "two_way_level",
]
