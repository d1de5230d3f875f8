"""A trained chain applied to new images: classes of pictures, patterns of a CT series (`predict.py`)."""
