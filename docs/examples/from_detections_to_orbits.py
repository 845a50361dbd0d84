# %% [markdown]
# # From detections to orbits
#
# A job from a notebook: tables in, tables and pictures out. It runs as it stands in a clone after `make run`, in a
# minute on one machine; editors and Jupyter (with jupytext) show it in cells. The detections are those of three real
# objects of the demo, at positions by JPL Horizons, with as many false ones in the same exposures.

# %%
import matplotlib.pyplot as plt
import numpy as np
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
# `obs_id`, time, position, uncertainty, observatory; and here, because we know it, the object that each detection is
# of. This is a pandas DataFrame; a pyarrow Table does as well, and so does a file.

# %%
observations = demo.observations.append_column("object_id", demo.truth["object_id"])
of_names = observations.filter(pc.is_in(observations["object_id"], NAMES))
exposures = of_names["exposure_id"].combine_chunks()
observations = observations.filter(pc.is_in(observations["exposure_id"], exposures))
detections = observations.to_pandas()
print(f"{len(detections)} detections, {detections['object_id'].isna().sum()} of them false")
detections[["obs_id", "mjd_utc", "RA_deg", "Dec_deg", "RA_sigma_deg", "observatory_code"]].head()

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
# [What comes out](../outputs.md) explains every column. `trkSub` is the name by which the object can be reported.

# %%
orbits = job.orbits.to_pandas()
orbits[["trkSub", "orbit_class", "num_obs", "arc_length", "rms_arcsec", "a", "a_sigma", "e", "i"]].round(4)

# %% [markdown]
# The class tells which is which. The detections of each, among all that were given there:

# %%
members = job.members.to_pandas().merge(orbits[["orbit_id", "trkSub", "orbit_class"]], on="orbit_id")
members = members.merge(detections[["obs_id", "RA_deg", "Dec_deg"]], on="obs_id", suffixes=("_of_member", ""))
figure, skies = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for sky, (name, found) in zip(skies, members.groupby("trkSub"), strict=True):
    sky.scatter(detections["RA_deg"], detections["Dec_deg"], s=8, color="0.7", label="all detections")
    sky.scatter(found["RA_deg"], found["Dec_deg"], s=14, label=f"{name} ({found['orbit_class'].iloc[0]})")
    ra, dec = found["RA_deg"], found["Dec_deg"]
    sky.set(xlim=(ra.max() + 2, ra.min() - 2), ylim=(dec.min() - 2, dec.max() + 2), xlabel="right ascension, deg")
    sky.legend(fontsize="small")
skies[0].set_ylabel("declination, deg")

# %% [markdown]
# ## Residuals
#
# Observed minus computed, along right ascension (times the cosine of the declination) and declination. They should
# scatter like the uncertainties that were given: half of them within the inner circle, 99 % within the outer one.

# %%
figure, plane = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
for name, found in members.groupby("trkSub"):
    plane.scatter(found["residual_ra_arcsec"], found["residual_dec_arcsec"], s=14, alpha=0.7, label=name)
around = np.linspace(0, 2 * np.pi, 400)
sigma_arcsec = 3600 * detections["RA_sigma_deg"].median()
for share, style in ((0.5, "-"), (0.99, "--")):
    radius = sigma_arcsec * np.sqrt(-2 * np.log(1 - share))  # of a normal distribution in two dimensions
    plane.plot(radius * np.cos(around), radius * np.sin(around), style, color="0.3", label=f"{share:.0%} of the noise")
plane.set(xlabel="residual in RA cos(Dec), arcsec", ylabel="residual in Dec, arcsec", aspect="equal")
figure.legend(loc="outside right upper", fontsize="small")

# %% [markdown]
# ## In adam-core
#
# States with covariances, to be propagated, compared, drawn.

# %%
states = Orbits.from_parquet(job.adam_core_orbits_file)
elements = states.coordinates.to_keplerian().to_dataframe()
elements[["a", "e", "i", "raan", "ap", "M"]].round(3)

# %% [markdown]
# Seen from above the ecliptic, with the Earth's orbit:

# %%
figure, plan = plt.subplots(figsize=(5.6, 4.6), layout="constrained")
plan.plot(0, 0, "o", color="orange", label="Sun")
plan.plot(np.cos(around), np.sin(around), color="0.6", label="Earth's orbit")
for name, orbit in sorted(zip(orbits["trkSub"], elements.itertuples(), strict=True)):
    i, raan, ap = np.radians([orbit.i, orbit.raan, orbit.ap])
    distance = orbit.a * (1 - orbit.e**2) / (1 + orbit.e * np.cos(around))  # at this true anomaly
    x = distance * (np.cos(raan) * np.cos(around + ap) - np.sin(raan) * np.sin(around + ap) * np.cos(i))
    y = distance * (np.sin(raan) * np.cos(around + ap) + np.cos(raan) * np.sin(around + ap) * np.cos(i))
    plan.plot(x, y, label=name)
plan.set(xlabel="x, au", ylabel="y, au", aspect="equal")
figure.legend(loc="outside right upper", fontsize="small")

# %% [markdown]
# ## All on one page
#
# The report of the job has pictures like these of every job, a table of orbits that sorts and filters, and what was
# done with which settings: open it in a browser.

# %%
print(job.report.name)
print([path.name for path in job.plots])
