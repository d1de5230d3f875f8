"""The values of images: measured, and what is odd about them or cannot be."""
