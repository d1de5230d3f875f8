"""Stage runs: settings, recipe and id, the plan, the store and its records."""
