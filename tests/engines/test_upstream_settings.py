"""Upstream's own settings by their names: parsed, refused, written back; and what has no effect with which engine."""

import pytest

from tasks.engines.errors import EngineInputError
from tasks.engines.settings import (
    EngineSettings,
    items_from_settings,
    require_settings_have_effect,
    settings_from_items,
)
from tasks.engines.upstream_settings import FIELDS, differences_of_config

THOR = {"engine": "thor"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("cluster_min_obs,7", 7),
        ("od_delta,1e-7", 1e-7),
        ("cluster_whiten,true", True),
        ("cluster_algorithm,hotspot_2d", "hotspot_2d"),
        ("filter_mahalanobis_distance,none", None),
        ("max_processes, 8 ", 8),
    ],
)
def test_a_field_is_parsed_by_its_type_and_written_back(text, value):
    name, given = text.split(",")

    settings = settings_from_items({**THOR, f"thor.{name}": given})

    assert settings.thor == ((name, value),)
    assert settings_from_items(items_from_settings(settings)) == settings


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("thor.cluster_min_ob", "6", "did you mean 'thor.cluster_min_obs'"),
        ("thor.cluster_min_obs", "2", "a whole number, at least 3"),
        ("thor.cluster_min_obs", "six", "a whole number"),
        ("thor.cluster_radius", "nan", "a finite number, more than 0"),
        ("thor.cluster_radius", "none", "a finite number, more than 0"),
        ("thor.max_processes", "0", "at least 1, or none"),
        ("thor.cluster_algorithm", "kmeans", "one of hotspot_2d, dbscan"),
        ("thor.propagator_namespace", "os.system", "one of adam_assist.ASSISTPropagator"),
        ("thor.stop_after_stage", "cluster_and_link", "can't be set: every stage is run"),
        ("thor.split_threshold", "5", "can't be set"),
    ],
)
def test_what_a_field_cannot_be_is_refused_with_what_is_right(key, text, said):
    with pytest.raises(EngineInputError, match=said) as refused:
        settings_from_items({**THOR, key: text})

    assert repr(key) in str(refused.value)


def test_a_config_that_names_none_of_them_has_none():
    assert not [key for key in items_from_settings(EngineSettings()) if key.startswith("thor.")]


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.refused is None])
def test_every_field_can_be_set_to_its_own_default(name):
    default = FIELDS[name].default

    settings = settings_from_items({**THOR, f"thor.{name}": "none" if default is None else str(default)})

    assert dict(settings.thor) == {name: default}


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ({**THOR, "orbit_determination.max_reduced_chi2": "5"}, "set 'thor.od_rchi2_threshold' instead"),
        ({**THOR, "cluster_and_link.window_sigmas": "5"}, "leave it out"),
        ({**THOR, "orbit_determination.force_model": "2-body"}, "has no effect with engine 'thor'"),
        ({"thor.od_max_iter": "5"}, "has no effect with engine 'builtin'"),
    ],
)
def test_a_setting_that_the_engine_does_not_heed_is_refused(items, said):
    with pytest.raises(EngineInputError, match=said):
        require_settings_have_effect(settings_from_items(items))


@pytest.mark.parametrize(
    "items",
    [
        {},
        {"cluster_and_link.window_sigmas": "5"},
        {**THOR, "cluster_and_link.min_observations": "5", "claims.observations": "true", "thor.od_max_iter": "5"},
        {**THOR, "default_sigma_deg": "0.001", "cluster_and_link.algorithm": "velocity-grid"},
    ],
)
def test_settings_that_are_heeded_pass(items):
    require_settings_have_effect(settings_from_items(items))


def test_an_upstream_with_other_fields_or_defaults_is_told_apart():
    found = {name: field.default for name, field in FIELDS.items()}
    assert differences_of_config(found) == []

    found["od_max_iter"] = 20
    found["vx_bins"] = found.pop("cluster_vx_bins")

    assert differences_of_config(found) == [
        "it lacks cluster_vx_bins",
        "it has vx_bins besides",
        "the default of od_max_iter is 20, not 10",
    ]
