"""Weights & Biases: a dashboard of a study, and the page's figures logged there."""
