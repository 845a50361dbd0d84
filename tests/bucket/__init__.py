"""Buckets: one contract over every kind, and the faults of each."""
