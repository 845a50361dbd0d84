"""The built-in engine: five stages, and the celestial mechanics below them."""
