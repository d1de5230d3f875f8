"""A CT series: its slices, its lungs, and the map of patterns that networks make of it."""
