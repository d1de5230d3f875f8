"""The page of a study: its tables, figures, sentences and caveats (`python -m analysis.report`)."""
