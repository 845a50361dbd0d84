"""`python -m flows.config`: the keys of config.csv, explained, and a file that means the defaults."""

from flows.config import main
from tasks.engines.settings import EngineSettings, items_from_settings
from tasks.inputs.ades_settings import REQUIRED, RULES
from tasks.inputs.config_file import Config, config_keys, read_config
from tests.support.commands import run_command


def test_every_key_is_there_with_its_default_and_an_explanation():
    found = {each["key"]: each for each in run_command(main, "--json").json["keys"]}

    assert found["thor.cluster_vx_bins"]["value"] == "300"
    assert {key: each["value"] for key, each in found.items() if key in items_from_settings(EngineSettings())} == (
        items_from_settings(EngineSettings())
    )
    assert found["range_and_shift.cell_radius_deg"] == {
        "key": "range_and_shift.cell_radius_deg",
        "value": "10.0",
        "expected": "a finite number, more than 0 and at most 90",
        "meaning": "Great-circle radius of the cell about the test orbit's position, deg.",
    }
    assert found["columns.time_scale"]["expected"] == "one of utc, tai, tt, tdb"
    assert "metres" in found["ades.telescope.aperture"]["expected"]
    assert [key for key, each in found.items() if not each["meaning"]] == []


def test_the_file_that_is_written_says_the_same_as_no_file(tmp_path):
    output = tmp_path / "config.csv"

    ended = run_command(main, "--output", output)

    assert ended.code == 0
    assert str(output) in ended.out
    assert read_config(output).settings == Config().settings
    said, default = read_config(output).observations_format, Config().observations_format
    assert vars(said.columns).items() >= vars(default.columns).items()
    assert (said.exposures, said.fills_uncertainties) == (None, True)
    assert read_config(output).ades == {}
    written = {line.partition(",")[0] for line in output.read_text().splitlines()[1:]}
    assert {key for key in config_keys() if not key.startswith("thor.")} - written == {"default_sigma_deg"}


def test_a_file_that_is_there_is_not_overwritten(tmp_path):
    output = tmp_path / "config.csv"
    output.write_text("mine")

    ended = run_command(main, "--output", output)

    assert (ended.code, output.read_text()) == (2, "mine")
    assert "File exists" in ended.err


def test_the_help_of_keys_that_ades_requires_says_so():
    assert [name for name, rule in RULES.items() if rule.help.startswith("Required")] == list(REQUIRED)
