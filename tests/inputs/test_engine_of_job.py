"""The engine that a job's settings name, with the interpreter that this machine's settings name."""

import sys

import pytest

from tasks.engines.settings import EngineSettings
from tasks.errors import BadInputError, EngineUnavailableError
from tasks.inputs.engine_of_job import ELSEWHERE, engine_named_by, engine_of_job
from tasks.inputs.job_inputs import InputFiles, read_inputs
from tasks.settings import settings_from_environment


@pytest.fixture(autouse=True)
def _settings_read_anew():
    settings_from_environment.cache_clear()
    yield
    settings_from_environment.cache_clear()


def test_the_builtin_engine_is_here():
    assert engine_of_job(EngineSettings()).name == "builtin"


def test_the_interpreter_of_upstream_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("THOR_PYTHON", sys.executable)  # an interpreter, but without upstream THOR

    with pytest.raises(EngineUnavailableError) as asked:
        engine_of_job(EngineSettings(engine="thor"))

    assert sys.executable in str(asked.value)


def test_without_an_interpreter_the_error_says_what_to_set(monkeypatch):
    monkeypatch.delenv("THOR_PYTHON", raising=False)

    with pytest.raises(EngineUnavailableError, match="THOR_PYTHON"):
        engine_of_job(EngineSettings(engine="thor"))


def test_a_client_without_upstream_may_submit_for_workers_that_have_it(monkeypatch):
    monkeypatch.delenv("THOR_PYTHON", raising=False)

    assert engine_named_by(EngineSettings(engine="thor")) == ("thor", ELSEWHERE)


@pytest.mark.parametrize("position", [None, 0.01])
def test_observers_that_move_are_refused_for_upstream_before_anything_is_uploaded(monkeypatch, tmp_path, position):
    monkeypatch.delenv("THOR_PYTHON", raising=False)
    names = ("observer_x_au", "observer_y_au", "observer_z_au")
    columns = ["obs_id", "mjd_utc", "RA_deg", "Dec_deg", "RA_sigma_deg", "Dec_sigma_deg", "observatory_code", *names]
    places = ["" if position is None else str(position)] * 3
    observations = tmp_path / "observations.csv"
    observations.write_text(",".join(columns) + "\na,60201.1,10,5,1e-4,1e-4,X05," + ",".join(places) + "\n")
    config = tmp_path / "config.csv"
    config.write_text("key,value\nengine,thor\n")
    orbits = tmp_path / "orbits.csv"
    orbits.write_text("orbit_id,epoch,x,y,z,vx,vy,vz\no,60201,2.5,0,0,0,0.01,0\n")
    files = InputFiles(observations=observations, orbits=orbits, config=config)

    if position is None:
        assert read_inputs(files).engine_name == "thor"
    else:
        with pytest.raises(BadInputError, match=r"engine 'thor'.*their observer's position.*use engine builtin"):
            read_inputs(files)


def test_a_client_with_a_wrong_interpreter_is_told_before_it_submits(monkeypatch):
    monkeypatch.setenv("THOR_PYTHON", sys.executable)

    with pytest.raises(EngineUnavailableError):
        engine_named_by(EngineSettings(engine="thor"))


def test_an_unknown_engine_is_bad_input():
    with pytest.raises(BadInputError, match="'magic'"):
        engine_of_job(EngineSettings(engine="magic"))
