"""Whether what networks learned holds on a labelled set that they have not seen (`evaluate=true`)."""
