"""Schemas of the tables in which stages meet, with the meaning, unit and frame of each column.

Columns carry THOR v1.2's names. `obs_index` (row of the observation in the survey) saves looking ids up between
stages; it is left out of csv files. Frames: heliocentric ecliptic J2000; epochs: TDB.
"""

import pyarrow as pa

OBSERVATIONS = pa.schema(
    [
        #: Unique id of the detection.
        pa.field("obs_id", pa.string(), nullable=False),
        #: Mid-exposure time, MJD UTC.
        pa.field("mjd_utc", pa.float64(), nullable=False),
        #: ICRF right ascension, deg, [0, 360).
        pa.field("RA_deg", pa.float64(), nullable=False),
        #: ICRF declination, deg, [-90, 90].
        pa.field("Dec_deg", pa.float64(), nullable=False),
        #: 1-sigma uncertainty in right ascension times cos(Dec), deg, > 0; null: the settings' default.
        pa.field("RA_sigma_deg", pa.float64()),
        #: 1-sigma uncertainty in declination, deg, > 0; null: the settings' default.
        pa.field("Dec_sigma_deg", pa.float64()),
        #: Minor Planet Center observatory code.
        pa.field("observatory_code", pa.string(), nullable=False),
        #: Apparent magnitude; null: not measured.
        pa.field("mag", pa.float64()),
        pa.field("mag_sigma", pa.float64()),
        pa.field("filter", pa.string()),
        #: Image it came from; null: detections of one observatory at one time share an exposure.
        pa.field("exposure_id", pa.string()),
        #: Night it was taken in; null: local solar noon to noon, from the observatory's longitude.
        pa.field("night_id", pa.string()),
    ]
)

#: The truth, an extra column where it is known: what object a detection is of; null: a false one. No engine reads it.
OBJECT_ID = pa.field("object_id", pa.string())

#: Extra columns where an observer moves (a spacecraft, a roving telescope): its position, au, from the Earth's centre
#: in equatorial axes (ICRF); null: the place of the observatory.
OBSERVER_POSITION = pa.schema(
    [pa.field(name, pa.float64()) for name in ("observer_x_au", "observer_y_au", "observer_z_au")]
)

TEST_ORBITS = pa.schema(
    [
        pa.field("orbit_id", pa.string(), nullable=False),
        #: MJD TDB.
        pa.field("epoch", pa.float64(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in ("x", "y", "z")),  # au
        *(pa.field(name, pa.float64(), nullable=False) for name in ("vx", "vy", "vz")),  # au / d
        #: Lower triangle of the covariance of (x, y, z, vx, vy, vz), 21 values row by row; null: none.
        pa.field("covariance", pa.list_(pa.float64(), 21)),
    ]
)

#: Sorted by time, then observatory, exposure, and row in the survey. `obs_*` is the observer (heliocentric, au),
#: `obj_*` the test orbit when light left it (heliocentric, au).
PROJECTED_OBSERVATIONS = pa.schema(
    [
        pa.field("obs_index", pa.int32(), nullable=False),
        pa.field("obs_id", pa.string(), nullable=False),
        pa.field("mjd_utc", pa.float64(), nullable=False),
        pa.field("RA_deg", pa.float64(), nullable=False),
        pa.field("Dec_deg", pa.float64(), nullable=False),
        pa.field("RA_sigma_deg", pa.float64(), nullable=False),
        pa.field("Dec_sigma_deg", pa.float64(), nullable=False),
        pa.field("observatory_code", pa.string(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in ("obs_x", "obs_y", "obs_z")),
        *(pa.field(name, pa.float64(), nullable=False) for name in ("obj_x", "obj_y", "obj_z")),
        #: Gnomonic plane about the test orbit, deg: x along its motion, y along its orbit normal.
        pa.field("theta_x_deg", pa.float64(), nullable=False),
        pa.field("theta_y_deg", pa.float64(), nullable=False),
    ]
)

CLUSTERS = pa.schema(
    [
        #: From a hash of the sorted ids of the members.
        pa.field("cluster_id", pa.string(), nullable=False),
        #: Velocity in the plane at the reference epoch, deg / d.
        pa.field("vtheta_x", pa.float64(), nullable=False),
        pa.field("vtheta_y", pa.float64(), nullable=False),
        #: Time from first to last member, days; and number of members and nights.
        pa.field("arc_length", pa.float64(), nullable=False),
        pa.field("num_obs", pa.int32(), nullable=False),
        pa.field("num_nights", pa.int32(), nullable=False),
        #: The track: theta(t) = theta_0 + vtheta dt + atheta dt^2 (coefficient, not half an acceleration), dt in days
        #: from `epoch` (MJD TDB, the same for all clusters of a task: mid-survey).
        pa.field("epoch", pa.float64(), nullable=False),
        pa.field("theta_x0", pa.float64(), nullable=False),
        pa.field("theta_y0", pa.float64(), nullable=False),
        pa.field("atheta_x", pa.float64(), nullable=False),
        pa.field("atheta_y", pa.float64(), nullable=False),
    ]
)

#: Sorted by the cluster's row in CLUSTERS, then by time.
CLUSTER_MEMBERS = pa.schema(
    [
        pa.field("cluster_id", pa.string(), nullable=False),
        #: Row of the cluster in CLUSTERS.
        pa.field("cluster_index", pa.int32(), nullable=False),
        pa.field("obs_id", pa.string(), nullable=False),
        pa.field("obs_index", pa.int32(), nullable=False),
    ]
)

_STATE = [
    #: MJD TDB, of the state and all that is derived from it.
    pa.field("epoch", pa.float64(), nullable=False),
    *(pa.field(name, pa.float64(), nullable=False) for name in ("x", "y", "z")),  # au
    *(pa.field(name, pa.float64(), nullable=False) for name in ("vx", "vy", "vz")),  # au / d
]

_FIT = [
    #: Time from first to last detection in use, days; and their number.
    pa.field("arc_length", pa.float64(), nullable=False),
    pa.field("num_obs", pa.int32(), nullable=False),
    #: chi^2 of the detections in use, and divided by the degrees of freedom, 2 num_obs - 6.
    pa.field("chi2", pa.float64(), nullable=False),
    pa.field("rchi2", pa.float64(), nullable=False),
]

_OURS = [
    #: Nights with a detection in use, each observatory's own; and nights of the sky, by the local date of their
    #: beginning: what several observatories see on one date is one.
    pa.field("num_nights", pa.int32(), nullable=False),
    pa.field("num_sky_nights", pa.int32(), nullable=False),
    #: The cluster that it grew from; for recovered orbits, the first of them.
    pa.field("cluster_id", pa.string(), nullable=False),
    #: What moved the body, with versions: 2-body, or n-body and by what.
    pa.field("force_model", pa.string(), nullable=False),
    #: Engine and its version.
    pa.field("software", pa.string(), nullable=False),
]

#: First orbits, two bodies. Sorted like the clusters.
IOD_ORBITS = pa.schema(
    [
        #: From a hash of the sorted ids of the cluster's members.
        pa.field("orbit_id", pa.string(), nullable=False),
        *_STATE,
        *_FIT,
        *_OURS,
    ]
)

_MEMBER = [
    pa.field("orbit_id", pa.string(), nullable=False),
    pa.field("obs_id", pa.string(), nullable=False),
    #: Observed minus predicted, arcsec; in right ascension times cos(Dec).
    pa.field("residual_ra_arcsec", pa.float64(), nullable=False),
    pa.field("residual_dec_arcsec", pa.float64(), nullable=False),
    #: chi^2 of the detection, 2 degrees of freedom.
    pa.field("chi2", pa.float64(), nullable=False),
]

_MEMBER_OURS = [
    #: 1: rejected, not used in the fit; 0: in use.
    pa.field("outlier", pa.int8(), nullable=False),
    #: Row of the orbit in its table, and of the observation in the survey.
    pa.field("orbit_index", pa.int32(), nullable=False),
    pa.field("obs_index", pa.int32(), nullable=False),
]

#: Sorted by the orbit's row, then by time; so are the other tables of members.
IOD_ORBIT_MEMBERS = pa.schema(
    [
        *_MEMBER,
        #: 1: one of the three detections that Gauss's method took, where it made the first orbit.
        pa.field("gauss_sol", pa.int8(), nullable=False),
        *_MEMBER_OURS,
    ]
)

_ELEMENTS = [
    field
    for name in ("a", "e", "i", "raan", "ap", "M")
    for field in (pa.field(name, pa.float64(), nullable=False), pa.field(f"{name}_sigma", pa.float64()))
]
"""Osculating Keplerian elements, heliocentric ecliptic J2000, at the epoch: au and deg; a is negative for a hyperbola,
and M is then e sinh F - F in deg. Sigmas are 1-sigma to first order; null where there is no covariance."""

_DETERMINED = [
    pa.field("orbit_id", pa.string(), nullable=False),
    *_STATE,
    #: Lower triangle of the covariance of (x, y, z, vx, vy, vz), 21 values row by row; null: it could not be had.
    pa.field("covariance", pa.list_(pa.float64(), 21)),
    #: Heliocentric distance, au, and speed, au/d, with the roots of the sums of their components' variances.
    pa.field("r", pa.float64(), nullable=False),
    pa.field("r_sigma", pa.float64()),
    pa.field("v", pa.float64(), nullable=False),
    pa.field("v_sigma", pa.float64()),
    *_FIT[:2],
    #: Parameters of the fit (6) and its steps.
    pa.field("num_params", pa.int32(), nullable=False),
    pa.field("num_iterations", pa.int32(), nullable=False),
    *_FIT[2:],
]

_DETERMINED_OURS = [
    *_OURS,
    #: First and last detection in use, MJD UTC.
    pa.field("first_mjd_utc", pa.float64(), nullable=False),
    pa.field("last_mjd_utc", pa.float64(), nullable=False),
    *_ELEMENTS,
    #: Perihelion distance, au.
    pa.field("q", pa.float64(), nullable=False),
    #: Absolute magnitude (H-G system, G = 0.15) from the magnitudes as they are, whatever the filter: their median;
    #: and the number of magnitudes. null: none.
    pa.field("H", pa.float64()),
    pa.field("num_mag", pa.int32(), nullable=False),
    #: The fit ended on a limit (of its steps, or of the distance), not in a minimum; then there is no covariance.
    pa.field("on_limit", pa.bool_(), nullable=False),
]

_MINIMA = [
    #: Another orbit, in another minimum, fits as well but for what chance does: chi^2 within 11.8, which two parameters
    #: exceed by chance once in 370.
    pa.field("ambiguous", pa.bool_(), nullable=False),
    #: The best of the other minima: chi^2, semi-major axis, au (negative for a hyperbola), eccentricity, inclination,
    #: deg. null: none is known.
    *(pa.field(f"rival_{name}", pa.float64()) for name in ("chi2", "a", "e", "i")),
]

#: Orbits with the full force model that passed the gate. Sorted like the first orbits.
OD_ORBITS = pa.schema(
    [
        *_DETERMINED,
        #: The full force model fits better than two bodies did.
        pa.field("improved", pa.bool_(), nullable=False),
        *_DETERMINED_OURS,
    ]
)

OD_ORBIT_MEMBERS = pa.schema([*_MEMBER, *_MEMBER_OURS])

#: One orbit per object; orbit_id is from a hash of the sorted ids of its members. Sorted by number of detections
#: (most first), then by id.
RECOVERED_ORBITS = pa.schema([*_DETERMINED, *_DETERMINED_OURS, *_MINIMA])

RECOVERED_ORBIT_MEMBERS = pa.schema([*_MEMBER, *_MEMBER_OURS])
