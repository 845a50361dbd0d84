"""Chooses test orbits that cover the observed sky and time from a population. Pure numerics, like the engines."""
