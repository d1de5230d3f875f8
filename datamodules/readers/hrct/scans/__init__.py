"""Slices of CT in Hounsfield units, and where they lie: from DICOM, NIfTI and image files."""
