"""Whether a store is as its runs left it: `python -m stages.verify runs_dir=runs`."""
