"""Files of detections as astronomers have them, a module a format; each gives rows of `tables.OBSERVATIONS`."""
