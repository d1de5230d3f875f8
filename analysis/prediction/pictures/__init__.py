"""Pictures: their classes, how sure the networks are, and a sheet of the most and least certain."""
