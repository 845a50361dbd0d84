"""Celestial mechanics: two-body and n-body motion, frames, light time, observers. Knows no stage."""
