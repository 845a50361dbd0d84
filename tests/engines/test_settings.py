"""Settings as text: every key has a range or choices, and what is outside is refused with words."""

import math
from typing import get_args

import pytest

from tasks.engines.builtin.astrodynamics import n_body
from tasks.engines.builtin.cluster_and_link import FINDERS
from tasks.engines.errors import EngineInputError
from tasks.engines.settings import (
    Algorithm,
    EngineSettings,
    ForceModel,
    items_from_settings,
    settings_from_items,
)

DEFAULTS = items_from_settings(EngineSettings())

WRONG = {
    "engine": ["gauss", "", "Builtin"],
    "seed": ["-1", "1.5"],
    "default_sigma_deg": ["-1", "0"],
    "range_and_shift.cell_radius_deg": ["0", "90.1"],
    "range_and_shift.cell_mahalanobis": ["0"],
    "range_and_shift.exposures_per_block": ["0", "2.5"],
    "cluster_and_link.min_observations": ["-3", "2"],
    "cluster_and_link.min_nights": ["0"],
    "cluster_and_link.min_arc_days": ["-0.1"],
    "cluster_and_link.stationary_nights": ["-1"],
    "cluster_and_link.algorithm": ["foo"],
    "cluster_and_link.speed_spread": ["0"],
    "cluster_and_link.distance_spread": ["0"],
    "cluster_and_link.max_speed_deg_per_day": ["-1"],
    "cluster_and_link.max_gap_days": ["-1", "0"],
    "cluster_and_link.seed_nights": ["0"],
    "cluster_and_link.max_misses": ["0"],
    "cluster_and_link.window_sigmas": ["0"],
    "cluster_and_link.grid_speed_deg_per_day": ["0"],
    "cluster_and_link.grid_bins": ["0"],
    "cluster_and_link.grid_radius_deg": ["0"],
    "initial_orbit_determination.max_reduced_chi2": ["0"],
    "initial_orbit_determination.max_outlier_fraction": ["1", "-0.1"],
    "initial_orbit_determination.max_iterations": ["0"],
    "initial_orbit_determination.fallback": ["yes", "1"],
    "orbit_determination.force_model": ["newton"],
    "orbit_determination.max_reduced_chi2": ["0"],
    "orbit_determination.min_probability": ["1", "-0.1"],
    "orbit_determination.outlier_chi2": ["0"],
    "orbit_determination.max_outlier_fraction": ["1"],
    "orbit_determination.max_iterations": ["0"],
    "orbit_determination.n_body_times": ["0", "3"],
    "orbit_determination.max_n_body_passes": ["0"],
    "orbit_determination.epoch_window_days": ["0"],
    "merge_and_extend.radius_arcsec": ["0"],
    "merge_and_extend.radius_sigmas": ["0"],
    "merge_and_extend.extension": ["-0.1"],
    "merge_and_extend.max_rounds": ["-1"],
    "merge_and_extend.min_kept_fraction": ["0", "1.1"],
    "claims.observations": ["maybe"],
    "claims.min_observations": ["0"],
    "claims.min_nights": ["0"],
    "claims.min_arc_days": ["-1"],
    "claims.max_reduced_chi2": ["0"],
}


def test_the_table_of_wrong_values_has_every_key():
    assert set(WRONG) == set(DEFAULTS)


def test_the_defaults_are_in_their_ranges():
    assert settings_from_items(DEFAULTS) == EngineSettings()


@pytest.mark.parametrize("key", WRONG)
def test_a_value_out_of_range_is_refused_by_key_and_value(key):
    no_numbers = ["nan", "inf", "-inf", "many"] if DEFAULTS[key].replace("e-", "").replace(".", "").isdigit() else []

    for text in [*WRONG[key], *no_numbers]:
        with pytest.raises(EngineInputError) as refusal:
            settings_from_items({key: text})

        assert str(refusal.value).startswith(f"Setting {key!r} is {text!r}: expected ")


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("seed", "seven", "a whole number, at least 0"),
        ("range_and_shift.cell_radius_deg", "nan", "a finite number, more than 0 and at most 90"),
        ("orbit_determination.min_probability", "1", "a finite number, at least 0 and less than 1"),
        ("cluster_and_link.algorithm", "foo", "one of pairs, velocity-grid"),
        ("claims.observations", "maybe", "true or false"),
    ],
)
def test_what_is_expected_is_told(key, text, expected):
    with pytest.raises(EngineInputError) as refusal:
        settings_from_items({key: text})

    assert str(refusal.value).endswith(f"expected {expected}.")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("range_and_shift.cell_radius_deg", "90"),
        ("cluster_and_link.stationary_nights", "0"),
        ("cluster_and_link.max_speed_deg_per_day", "0"),
        ("orbit_determination.min_probability", "0"),
        ("merge_and_extend.min_kept_fraction", "1"),
        ("merge_and_extend.max_rounds", "0"),
        *(("cluster_and_link.algorithm", name) for name in get_args(Algorithm)),
        *(("orbit_determination.force_model", name) for name in get_args(ForceModel)),
    ],
)
def test_the_edges_of_the_ranges_and_every_choice_are_allowed(key, text):
    found = items_from_settings(settings_from_items({key: text}))[key]

    assert found == text or math.isclose(float(found), float(text))


def test_the_choices_are_those_of_the_engine():
    assert (tuple(FINDERS), n_body.FORCE_MODELS) == (get_args(Algorithm), get_args(ForceModel))


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("cluster_and_link.min_observation", "did you mean 'cluster_and_link.min_observations'?"),
        ("seeds", "did you mean 'seed'?"),
        ("grid_bins", "did you mean 'cluster_and_link.grid_bins'?"),
        ("min_nights", "did you mean 'cluster_and_link.min_nights' or 'claims.min_nights'?"),
        ("link.min_nights", "did you mean 'cluster_and_link.min_nights' or 'claims.min_nights'?"),
        ("colour", "expected a key that `python -m flows.config` writes, such as cluster_and_link.min_observations."),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(key, meant):
    with pytest.raises(EngineInputError) as refusal:
        settings_from_items({key: "1"})

    assert str(refusal.value) == f"Unknown setting {key!r}: {meant}"
