"""Sets made from a provider's files: written part by part, read by memory map."""
