"""A trained chain for programs without Relay: `python -m analysis.export`."""
