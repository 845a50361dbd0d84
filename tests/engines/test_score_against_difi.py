"""Our score against difi's own: the same where the words mean the same, and what differs, differs on purpose."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.engines.registry import engine_by_name
from tasks.engines.score import CONTAMINATED, FALSE, PURE, score_orbits
from tasks.engines.settings import ClusterAndLinkSettings, EngineSettings
from tests.bench.cases import CASES
from tests.bench.survey import generate_survey
from tests.support.difi_core import difi_counts
from tests.support.linking import run_stages
from tests.support.recovered import merged_demo

SETTINGS = ClusterAndLinkSettings(window_sigmas=5.0)
"""Windows so wide that clusters take detections of their neighbours in."""


@pytest.fixture(scope="module")
def confused():
    """Clusters of a survey of 2 arcsec of noise: many pure, some contaminated, some of several objects."""
    case = replace(CASES["20k"], name="confused", orbits=300, detections=9000, noise_arcsec=2.0, efficiency=0.7)
    survey = generate_survey(case, seed=4)
    tables = run_stages(
        engine_by_name("builtin"),
        survey.observations,
        survey.test_orbits,
        EngineSettings(cluster_and_link=SETTINGS),
        stages=("range_and_shift", "cluster_and_link"),
    )
    members = tables["cluster_members"].select(["cluster_id", "obs_id"]).rename_columns(["orbit_id", "obs_id"])
    return survey.observations, survey.truth, members


def scores(confused, folder, *, settings=SETTINGS, **options):
    """Ours, and what difi says where each false detection is an object of its own: ours needs no telling."""
    observations, truth, members = confused
    pairs = list(zip(members["orbit_id"].to_pylist(), members["obs_id"].to_pylist(), strict=True))
    of_obs = dict(zip(truth["obs_id"].to_pylist(), truth["object_id"].to_pylist(), strict=True))
    names = [of_obs[obs_id] or f"false {obs_id}" for obs_id in observations["obs_id"].to_pylist()]
    ours = score_orbits(observations, truth, members, settings=settings)
    return ours, *difi_counts(observations, names, pairs, folder, settings=settings, **options)


def test_the_same_objects_are_findable_and_found(confused, tmp_path):
    ours, findable, _, totals = scores(confused, tmp_path)

    objects = ours.objects.to_pylist()
    assert {row["object_id"]: row["findable"] for row in objects} == {
        name: could for name, could in findable.items() if not name.startswith("false ")
    }
    assert {name for name, could in findable.items() if could} <= {row["object_id"] for row in objects}
    assert (ours.findable, ours.recovered) == (totals["findable"], totals["found"])
    assert 100 * ours.completeness == pytest.approx(totals["completeness"])
    assert 100 < ours.recovered < ours.findable < len(objects)


def test_the_same_orbits_are_pure_with_the_same_share_of_others(confused, tmp_path):
    ours, _, linkages, totals = scores(confused, tmp_path)

    rows = ours.orbits.to_pylist()
    assert len(rows) == len(linkages)
    for row in rows:
        of_difi = linkages[row["orbit_id"]]
        assert row["num_obs"] == of_difi["num_obs"]
        assert row["contamination"] == pytest.approx(of_difi["contamination"])
        assert (row["verdict"] == PURE) == of_difi["pure"]
        assert of_difi["linked_object_id"] in {"", row["object_id"]}
    assert ours.count(PURE) == totals["num_pure"] > 100
    assert ours.purity == totals["num_pure"] / totals["num_linkages"]


@pytest.mark.parametrize("percent", [15.0, 20.0, 40.0])
def test_the_share_of_others_gives_difis_contaminated_and_mixed_for_any_limit(confused, tmp_path, percent):
    ours, _, _, totals = scores(confused, tmp_path, contamination_percent=percent)

    share = ours.orbits["contamination"].to_numpy()
    assert totals["num_contaminated"] == np.sum((share > 0) & (share <= percent + 1e-9)) > 0
    assert totals["num_mixed"] == np.sum(share > percent + 1e-9) > 0


def test_ours_counts_as_contaminated_what_has_enough_of_an_object_and_difi_what_has_few_others(confused, tmp_path):
    ours, _, linkages, _ = scores(confused, tmp_path)

    rows = ours.orbits.to_pylist()
    few_others = [row for row in rows if row["verdict"] == FALSE and linkages[row["orbit_id"]]["contaminated"]]
    assert few_others
    assert all(row["object_obs"] < SETTINGS.min_observations for row in few_others)
    assert all(row["object_obs"] >= SETTINGS.min_observations for row in rows if row["verdict"] == CONTAMINATED)


def test_difi_knows_no_shortest_arc(confused, tmp_path):
    long_arc = replace(SETTINGS, min_arc_days=9.0)

    ours, findable, *_ = scores(confused, tmp_path, settings=long_arc)

    assert 0 < ours.findable < sum(findable.values())


def test_difi_takes_all_false_detections_for_one_object_where_they_have_no_name(confused, tmp_path):
    observations, truth, _ = confused
    false = [row["obs_id"] for row in truth.to_pylist() if row["object_id"] is None][:6]

    _, linkages, _ = difi_counts(
        observations, truth["object_id"].to_pylist(), [("o", obs_id) for obs_id in false], tmp_path, settings=SETTINGS
    )

    assert linkages["o"]["pure"]


def test_recovered_orbits_of_real_objects_are_scored_alike(tmp_path):
    merged, observations = merged_demo()
    used = merged.members.filter(np.equal(merged.members["outlier"].to_numpy(), 0))
    truth = observations.select(["obs_id", "object_id"])

    ours, _, _, totals = scores((observations, truth, used), tmp_path)

    assert (ours.recovered, ours.count(PURE), ours.purity) == (3, 3, 1.0)
    assert (totals["found"], totals["num_pure"], totals["num_linkages"]) == (3, 3, 3)
    assert 100 * ours.completeness == pytest.approx(totals["completeness"])
