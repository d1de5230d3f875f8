"""What a source holds, and the options it is read by: folders, files, series and their patients."""
