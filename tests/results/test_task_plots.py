"""What people see of one task: a few thousand points at most, whatever the survey, and a picture also of nothing."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.engines.tables import CLUSTER_MEMBERS, CLUSTERS, PROJECTED_OBSERVATIONS
from tasks.results.task_plot_data import MOST_DETECTIONS, plot_data_of_task
from tasks.results.task_plots import picture_of_task


def table(schema, n, **columns):
    """Rows whose other columns are zero."""
    plain = {
        field.name: np.zeros(n, dtype=field.type.to_pandas_dtype()) for field in schema if field.type != pa.string()
    }
    texts = {field.name: [""] * n for field in schema if field.type == pa.string()}
    return pa.table({**plain, **texts, **columns}).select(schema.names).cast(schema)


def projected(n):
    """Detections in an order of time that is not the order of the survey."""
    return table(
        PROJECTED_OBSERVATIONS,
        n,
        obs_index=np.arange(n)[::-1],
        theta_x_deg=np.arange(n) * 1.0,
        theta_y_deg=-np.arange(n),
    )


def clusters():
    return {
        "clusters": table(CLUSTERS, 2, cluster_id=["c0", "c1"], vtheta_x=[0.01, 0.02]),
        "cluster_members": table(
            CLUSTER_MEMBERS, 4, cluster_id=["c0", "c0", "c1", "c1"], cluster_index=[0, 0, 1, 1], obs_index=[9, 7, 0, 3]
        ),
    }


def test_members_are_drawn_where_their_detections_lie():
    plot_data = plot_data_of_task({"projected_observations": projected(10), **clusters()})

    assert [track[:, 0].tolist() for track in plot_data.tracks_deg] == [[0.0, 2.0], [9.0, 6.0]]
    assert plot_data.velocity_deg_per_day.tolist() == [[0.01, 0.0], [0.02, 0.0]]
    assert not plot_data.is_recovered.any()


def test_of_a_large_survey_a_sample_is_kept():
    plot_data = plot_data_of_task({"projected_observations": projected(3 * MOST_DETECTIONS + 1)})

    assert plot_data.n_detections == 3 * MOST_DETECTIONS + 1
    assert len(plot_data.theta_deg) <= MOST_DETECTIONS
    assert plot_data.theta_deg[-1, 0] > 2.9 * MOST_DETECTIONS


def test_a_task_that_failed_at_once_has_nothing_to_be_seen():
    assert plot_data_of_task({}) is None


@pytest.mark.parametrize("tables", [{}, clusters()], ids=["first stage only", "no orbits"])
@pytest.mark.parametrize("n", [0, 10])
def test_a_picture_can_be_drawn_of_whatever_there_is(n, tables):
    if n == 0:
        tables = {}
    png = picture_of_task(plot_data_of_task({"projected_observations": projected(n), **tables}))

    assert png.startswith(b"\x89PNG")
    assert len(png) < 150_000
