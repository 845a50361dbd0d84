"""Constants of nature in the engine's units: au, days, radians."""

import math

#: Gravitational parameter of the Sun, au^3 / d^2 (JPL DE440, as adam-core uses it).
MU_SUN = 0.29591220828411956e-03

#: Speed of light, au / d (exact: 299 792.458 km/s, au of IAU 2012 Resolution B2).
SPEED_OF_LIGHT = 173.14463267424034

#: Obliquity of the J2000 ecliptic, radians: 84381.448 arcsec (IAU 1976, as JPL Horizons and adam-core use it).
OBLIQUITY_J2000 = math.radians(84381.448 / 3600.0)
