"""The force models by name, and propagation of heliocentric states with each of them.

`propagate` is what others call. The engine's own integrator (module `planets`) is the default: it agrees with ASSIST to
1e-10 au over months, needs no extra, and takes a tenth of the time. ASSIST (module `assist`) is an optional extra.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics import assist, planets
from tasks.engines.builtin.astrodynamics.two_body import propagate_two_body
from tasks.engines.errors import EngineInputError, EngineMissingError

FloatArray = NDArray[np.float64]

ForceModel = Literal["n-body", "assist", "2-body"]
FORCE_MODELS: tuple[ForceModel, ...] = get_args(ForceModel)
TWO_BODY: ForceModel = "2-body"


def force_model_named(name: str) -> ForceModel:
    """Check the name of a force model, as a setting has it.

    Raises
    ------
    EngineInputError
        If it is none of the three.
    EngineMissingError
        If it is assist, and adam-assist is not installed.
    """
    for model in FORCE_MODELS:
        if name == model:
            break
    else:
        raise EngineInputError(f"Force model {name!r} does not exist: expected one of {', '.join(FORCE_MODELS)}.")
    if model == "assist" and not assist.is_available():
        raise EngineMissingError(
            "Force model 'assist' cannot be used: adam-assist is not installed. Install the extra 'nbody', or set "
            "'orbit_determination.force_model' to n-body, which needs nothing more."
        )
    return model


def description(model: ForceModel) -> str:
    """Describe the force model with its version, as the tables of orbits state it."""
    descriptions = {"n-body": planets.DESCRIPTION, "2-body": TWO_BODY}
    return assist.description() if model == "assist" else descriptions[model]


def propagate(
    states: FloatArray, epoch_mjd_tdb: float, times_mjd_tdb: FloatArray, model: ForceModel = "n-body"
) -> FloatArray:
    """Propagate many orbits of one epoch to the same times.

    Parameters
    ----------
    states : shape (m, 6)
        Heliocentric ecliptic J2000 positions, au, and velocities, au/d, all at the epoch.
    times_mjd_tdb : shape (k,)
        In any order, repeated or not, before and after the epoch.
    model
        n-body: Sun, planets, Moon, Pluto and relativity; assist: with 16 asteroids and more, by adam-assist;
        2-body: the Sun alone.

    Returns
    -------
    states : shape (m, k, 6)
        Heliocentric ecliptic J2000; nan for an orbit that cannot be propagated.
    """
    times = np.asarray(times_mjd_tdb, dtype=np.float64)
    if model == "assist":
        return assist.propagate(states, epoch_mjd_tdb, times)
    moved = np.empty((len(states), len(times), 6))
    for row, state in enumerate(states):
        moved[row] = propagate_two_body(state, times - epoch_mjd_tdb)
    if model == "n-body":
        moved += planets.planetary_shifts(states, epoch_mjd_tdb, times)
    return moved
