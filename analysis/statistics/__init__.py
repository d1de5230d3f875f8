"""Statistics of a table of runs: means, tests, slopes over data ratios, intervals over patients."""

from analysis.statistics.comparison import compare, pairwise
from analysis.statistics.robustness import at_ratios, slope_tests, slopes

__all__ = ["at_ratios", "compare", "pairwise", "slope_tests", "slopes"]
