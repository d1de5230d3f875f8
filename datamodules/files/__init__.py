"""Files below a folder: which there are, which can be read, what their names say."""
