"""From records to tables: the runs of a store, the studies that they form, and the details in their files."""

from analysis.runs.load import load_runs
from analysis.runs.out_of_fold import PooledPredictions, pool_folds
from analysis.runs.study import Study, find_studies
from analysis.runs.study_choice import select_study

__all__ = ["PooledPredictions", "Study", "find_studies", "load_runs", "pool_folds", "select_study"]
