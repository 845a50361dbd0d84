from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from tasks.engines.builtin.astrodynamics.photometry import absolute_magnitude


def test_at_one_au_from_sun_and_observer_without_phase_it_is_the_magnitude():
    assert absolute_magnitude(np.array([17.3]), np.array([1.0]), np.array([1.0]), np.array([0.0]))[0] == 17.3


def test_it_takes_the_magnitudes_of_jpl_horizons_back_to_horizons_h():
    table = pd.read_csv(files("adam_core.utils.helpers.data").joinpath("ephemeris.csv"))
    table = table[table["G"].notna() & table["V"].notna() & (table["alpha"] < 60.0)]
    assert len(table) > 1000

    absolute = absolute_magnitude(
        table["V"].to_numpy(), table["r"].to_numpy(), table["delta"].to_numpy(), np.radians(table["alpha"].to_numpy())
    )

    with_usual_slope = (table["G"] == 0.15).to_numpy()
    # V is printed with three decimals; Horizons uses the full form of the phase function, 0.02 mag away at most.
    assert np.abs(absolute - table["H"].to_numpy())[with_usual_slope].max() == pytest.approx(0.0, abs=0.03)
