# %% [markdown]
# # From detections to orbits
#
# A job from a notebook: tables in, tables out. It runs as it stands in a clone after `make run`, in a minute on one
# machine; editors and Jupyter (with jupytext) show it in cells. The detections are those of three real objects of the
# demo, at places by JPL Horizons, with as many false ones in the same exposures.

# %%
import pyarrow as pa
import pyarrow.compute as pc
from adam_core.orbits import Orbits

from flows.notebook import run_job
from tasks.engines.demo import demo_problem

NAMES = pa.array(["Hebe", "Eros", "Agamemnon"])
demo = demo_problem(seed=5)
test_orbits = demo.test_orbits.filter(pc.is_in(demo.test_orbits["orbit_id"], NAMES))

# %% [markdown]
# ## Detections
#
# `obs_id`, time, place, uncertainty, observatory; and here, because we know it, the object that each detection is of.
# This is a pandas DataFrame; a pyarrow Table does as well, and so does a file.

# %%
observations = demo.observations.append_column("object_id", demo.truth["object_id"])
of_names = observations.filter(pc.is_in(observations["object_id"], NAMES))
exposures = of_names["exposure_id"].combine_chunks()
observations = observations.filter(pc.is_in(observations["exposure_id"], exposures))
detections = observations.to_pandas()
print(f"{len(detections)} detections, {detections['object_id'].isna().sum()} of them false")
print(detections[["obs_id", "mjd_utc", "RA_deg", "Dec_deg", "RA_sigma_deg", "observatory_code"]].head())

# %% [markdown]
# ## The job
#
# Bucket and queue are those of the environment: on one machine a directory and a file, with as many workers as there
# are cores. With `orbits="auto"` test orbits are chosen that cover the sky of a survey.

# %%
job = run_job(
    detections,
    test_orbits,
    config={"cluster_and_link.min_observations": 6, "cluster_and_link.min_nights": 3},
    output="notebook",
)
print(f"{len(job.tasks)} tasks, failed: {job.failed}")
print(f"completeness {job.truth['completeness']:.0%}, purity {job.truth['purity']:.0%}")

# %% [markdown]
# ## Recovered orbits
#
# [What comes out](../outputs.md) explains every column.

# %%
orbits = job.orbits.to_pandas()
print(orbits[["trkSub", "orbit_class", "num_obs", "arc_length", "rms_arcsec", "a", "a_sigma", "e", "i"]])

# %%
members = job.members.to_pandas()
print(members.groupby("orbit_id")[["residual_ra_arcsec", "residual_dec_arcsec"]].std())

# %% [markdown]
# ## In adam-core
#
# States with covariances, to be propagated, compared, looked at.

# %%
states = Orbits.from_parquet(job.adam_core_orbits_file)
print(states.coordinates.to_keplerian().to_dataframe()[["a", "e", "i"]])

# %% [markdown]
# ## All on one page
#
# And where it lies: open it in a browser.

# %%
print(job.report)
print([path.name for path in job.plots])
