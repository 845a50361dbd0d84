"""One picture of a task: its detections and clusters in the co-rotating frame, their velocities, and how orbits fit."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.results.plots import BLUE, GREY, SKY_BLUE, VERMILION, drawing_style
from tasks.results.task_plot_data import FloatArray, TaskPlotData
from tasks.wording import counted

SIZE_INCHES = (12.0, 4.1)
DPI = 80
"""A page of Prefect's UI is about 1000 pixels wide; the picture should be small."""
MANY = 50
"""Of more clusters than this each is drawn smaller."""
LEAST_ARCSEC = 0.3
LEAST_DEG_PER_DAY = 0.005
"""Half-widths of axes that would otherwise show rounding errors."""


def picture_of_task(plot_data: TaskPlotData) -> bytes:
    """Return a PNG."""
    with drawing_style():
        figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
        frame, velocities, residuals = figure.subplots(1, 3)
        _draw_frame(frame, plot_data)
        _draw_velocities(velocities, plot_data)
        _draw_residuals(residuals, plot_data)
        body = io.BytesIO()
        figure.savefig(body, format="png", metadata={"Software": None})
    return body.getvalue()


def _draw_frame(axes: Axes, plot_data: TaskPlotData) -> None:
    theta = plot_data.theta_deg
    size, width = (1.2, 0.5) if plot_data.n_clusters > MANY else (3.0, 0.8)
    axes.plot(*theta.T, linestyle="none", marker=".", markersize=2.5, color=GREY, label="detection")
    for number, track in enumerate(plot_data.tracks_deg):
        label = "cluster" if number == 0 else None
        axes.plot(*track.T, color=BLUE, linewidth=width, marker="o", markersize=size, label=label)
    shown = f", {len(theta)} shown" if len(theta) < plot_data.n_detections else ""
    axes.set_title(f"Co-rotating frame: {counted(plot_data.n_detections, 'detection')}{shown}")
    axes.set_xlabel(r"$\theta_x$, along the motion [deg]")
    axes.set_ylabel(r"$\theta_y$, along the orbit normal [deg]")
    axes.set_aspect("equal", adjustable="datalim")
    if len(theta):
        axes.legend(loc="upper right")


def _draw_velocities(axes: Axes, plot_data: TaskPlotData) -> None:
    velocity, recovered = plot_data.velocity_deg_per_day, plot_data.is_recovered
    size, width = (2.5, 0.6) if plot_data.n_clusters > MANY else (5.0, 1.0)
    # Those without an orbit may be many more: they lie below.
    axes.plot(
        *velocity[~recovered].T,
        linestyle="none",
        marker="x",
        markersize=size,
        markeredgewidth=width,
        color=VERMILION,
        label="without orbit",
    )
    axes.plot(
        *velocity[recovered].T, linestyle="none", marker="o", markersize=size, color=BLUE, label="orbit recovered"
    )
    axes.set_title(f"Velocities of {counted(plot_data.n_clusters, 'cluster')}")
    axes.set_xlabel(r"$\dot\theta_x$ [deg / d]")
    axes.set_ylabel(r"$\dot\theta_y$ [deg / d]")
    _square_about_zero(axes, velocity, LEAST_DEG_PER_DAY)
    if len(velocity):
        axes.legend(loc="upper right")


def _draw_residuals(axes: Axes, plot_data: TaskPlotData) -> None:
    residual, outlier = plot_data.residual_arcsec, plot_data.is_outlier
    axes.plot(*residual[~outlier].T, linestyle="none", marker=".", markersize=4, color=BLUE, label="in use")
    if outlier.any():
        axes.plot(*residual[outlier].T, linestyle="none", marker="x", markersize=5, color=VERMILION, label="outlier")
    axes.set_title(f"Residuals of {counted(plot_data.n_orbits, 'recovered orbit')}")
    axes.set_xlabel(r"Observed - predicted, RA cos(Dec) [arcsec]")
    axes.set_ylabel("Observed - predicted, Dec [arcsec]")
    _square_about_zero(axes, residual, LEAST_ARCSEC)
    if len(residual):
        axes.legend(loc="upper right")


def _square_about_zero(axes: Axes, values: FloatArray, least: float) -> None:
    reach = 1.1 * float(np.abs(values).max()) if len(values) else 0.0
    half = max(reach, least)
    axes.set_xlim(-half, half)
    axes.set_ylim(-half, half)
    axes.set_aspect("equal")
    for draw in (axes.axhline, axes.axvline):
        draw(0.0, color=SKY_BLUE, linewidth=0.7)
