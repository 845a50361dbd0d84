"""Known objects in a table of detections: which orbits of a catalogue pass, and which detections are theirs."""
