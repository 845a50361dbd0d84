"""Schemas of a catalogue of known orbits, and of the detections that were attributed to it."""

import pyarrow as pa

from tasks.engines.tables import TEST_ORBITS

#: Rows of a catalogue, in blocks. `orbit_id` is the object's designation or name. Frame and units of `TEST_ORBITS`.
KNOWN_ORBITS = pa.schema(
    [
        *TEST_ORBITS,
        #: Absolute magnitude and slope parameter (H-G system); null: not known.
        pa.field("H", pa.float64()),
        pa.field("G", pa.float64()),
        #: 1-sigma of the longitude in the orbit, arcsec a decade after `last_observed` (MJD): what the Minor Planet
        #: Center's uncertainty parameter says. null: not known; a covariance goes before it.
        pa.field("runoff", pa.float64()),
        pa.field("last_observed", pa.float64()),
    ]
)

#: Detections of known objects: sorted by object, then by time, then by id.
KNOWN_OBSERVATIONS = pa.schema(
    [
        #: The object's designation or name, as the catalogue has it.
        pa.field("known_object", pa.string(), nullable=False),
        pa.field("obs_id", pa.string(), nullable=False),
        #: MJD UTC of the detection; ICRF place, deg.
        pa.field("mjd_utc", pa.float64(), nullable=False),
        pa.field("RA_deg", pa.float64(), nullable=False),
        pa.field("Dec_deg", pa.float64(), nullable=False),
        pa.field("observatory_code", pa.string(), nullable=False),
        #: Observed minus predicted, arcsec; in right ascension times cos(Dec).
        pa.field("residual_ra_arcsec", pa.float64(), nullable=False),
        pa.field("residual_dec_arcsec", pa.float64(), nullable=False),
        #: 1-sigma of the prediction in its worst direction, arcsec.
        pa.field("prediction_sigma_arcsec", pa.float64(), nullable=False),
        #: chi^2 of the residual, 2 degrees of freedom: uncertainties of detection and prediction together.
        pa.field("chi2", pa.float64(), nullable=False),
        #: Apparent magnitude as given and as predicted (H-G system), and observed minus predicted; null: not known.
        pa.field("mag", pa.float64()),
        pa.field("predicted_mag", pa.float64()),
        pa.field("mag_difference", pa.float64()),
        #: Row of the observation in the survey; left out of files.
        pa.field("obs_index", pa.int32(), nullable=False),
    ]
)
