"""Least squares of orbits to detections: the kernels below orbit determination and merging."""
