"""Files as astronomers have them, a module a format: detections become `tables.OBSERVATIONS`, orbits `TEST_ORBITS`."""
