"""The container files can't be built here: linters read them, and everything they name is held against the code."""

import copy
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import kubernetes_validate
import prefect.settings
import pyarrow as pa
import pytest
import requests
import yaml
from packaging.specifiers import SpecifierSet

from tasks.broker.topology import WORK_QUEUE
from tasks.broker.urls import scheme_of
from tasks.bucket.open_bucket import open_bucket
from tasks.operations.doctor_bucket import bucket_findings
from tasks.settings import Settings
from tests.services.fake_gcs import FakeGcsMissingError, binary
from tests.services.processes import END_WITH_PARENT, free_port, wait_until

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGE = f"{PROJECT['name']}:{PROJECT['version']}"
DOCKERFILE = (ROOT / "containers" / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "containers" / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("thor-")}
MANIFESTS = tuple(yaml.safe_load_all((ROOT / "containers" / "workers.yaml").read_text()))
DEPLOYMENT, DISRUPTION_BUDGET = MANIFESTS
KEDA = tuple(yaml.safe_load_all((ROOT / "containers" / "keda.yaml").read_text()))
PODS = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = PODS["containers"]


def instructions():
    """Instructions of the Dockerfile, each on one line, as (word, rest)."""
    lines = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in lines.splitlines() if line.strip()]


def instruction(word):
    return [rest for found, rest in instructions() if found == word]


IMAGE_ENVIRONMENT = dict(pair.split("=", 1) for rest in instruction("ENV") for pair in rest.split())
POD_ENVIRONMENT = {each["name"]: each["value"] for each in CONTAINER["env"]}
ENVIRONMENTS = {
    "Dockerfile": IMAGE_ENVIRONMENT,
    "workers.yaml": POD_ENVIRONMENT,
    **{f"compose {name}": service.get("environment", {}) for name, service in OURS.items()},
}


CONSTRAINTS = (ROOT / "containers" / "upstream-constraints.txt").read_text()


def hadolint(path):
    program = Path(sys.executable).with_name("hadolint")
    command = [program, "--failure-threshold", "style", "--disable-ignore-pragma", "--no-color", path]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_hadolint_has_nothing_to_say_of_the_dockerfile(tmp_path):
    worse = tmp_path / "Dockerfile"
    worse.write_text(DOCKERFILE.replace("WORKDIR /opt/thor", "WORKDIR opt/thor").replace("--no-cache-dir ", ""))

    found, found_in_worse = hadolint(ROOT / "containers" / "Dockerfile"), hadolint(worse)

    assert (found.returncode, found.stdout) == (0, "")
    assert sorted(re.findall(r"DL\d+", found_in_worse.stdout)) == ["DL3000", "DL3042"]


UPSTREAM = (ROOT / "containers" / "upstream.Dockerfile").read_text()


def test_hadolint_has_nothing_to_say_of_the_image_with_upstream_which_is_ours_with_an_interpreter_more():
    found = hadolint(ROOT / "containers" / "upstream.Dockerfile")

    assert (found.returncode, found.stdout) == (0, "")
    assert f"FROM {IMAGE}\n" in UPSTREAM
    base = re.search(r"FROM (\S+) AS upstream", UPSTREAM)
    assert base is not None
    # An environment works only with the interpreter that it was made with.
    assert f"FROM {base[1]}-slim" in DOCKERFILE
    assert "THOR_PYTHON=/opt/thor-env/bin/python" in UPSTREAM


def test_upstream_gets_the_versions_that_it_was_tried_with():
    pins = dict(line.split("==") for line in CONSTRAINTS.splitlines() if not line.startswith("#"))

    assert (pins["adam-core"], pins["adam-assist"], pins["ray"]) == ("0.5.5", "0.3.10", "2.49.1")
    assert "thor" not in pins


def test_kubernetes_takes_the_manifest_and_would_take_no_word_that_it_does_not_know():
    for manifest in MANIFESTS:
        kubernetes_validate.validate(manifest, "1.37", strict=True)

    manifest = copy.deepcopy(DEPLOYMENT)
    pod = manifest["spec"]["template"]["spec"]
    pod["terminationGracePeriod"] = pod.pop("terminationGracePeriodSeconds")

    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(manifest, "1.37", strict=True)


def thing(required=(), **fields):
    """A mapping of these fields and no others, as a JSON schema."""
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT, "minItems": 1}
DURATION = {"type": "string", "pattern": r"^(\d+(h|m|s|ms|us))+$"}
OF_TEXTS = {"type": "object", "additionalProperties": TEXT}
CONDITIONS = ["service_started", "service_healthy", "service_completed_successfully"]
SERVICE = thing(
    ["image"],
    image=TEXT,
    build=thing(["context"], context=TEXT, dockerfile=TEXT),
    command=TEXTS,
    entrypoint=TEXTS,
    init={"type": "boolean"},
    restart={"enum": ["no", "always", "on-failure", "unless-stopped"]},
    environment=OF_TEXTS,
    ports=TEXTS,
    volumes=TEXTS,
    configs={"type": "array", "items": thing(["source", "target"], source=TEXT, target=TEXT)},
    depends_on={"type": "object", "additionalProperties": thing(["condition"], condition={"enum": CONDITIONS})},
    healthcheck=thing(
        test=TEXTS, interval=DURATION, timeout=DURATION, retries={"type": "integer"}, disable={"type": "boolean"}
    ),
    deploy=thing(replicas={"type": "integer", "minimum": 1}),
    stop_grace_period=DURATION,
)
COMPOSE_FILE = thing(
    ["services"],
    name={"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
    services={"type": "object", "additionalProperties": SERVICE},
    configs={"type": "object", "additionalProperties": thing(["content"], content=TEXT)},
    volumes={"type": "object", "additionalProperties": {"type": "null"}},
    **{"x-thor": {"type": "object"}},
)
"""What of the Compose Specification compose.yaml uses; no installed package has the whole of its schema."""


def test_compose_has_only_words_of_the_specification_with_values_of_their_kind():
    jsonschema.validate(COMPOSE, COMPOSE_FILE)

    with pytest.raises(jsonschema.ValidationError, match="'enviroment' was unexpected"):
        jsonschema.validate({"services": {"workers": {"image": IMAGE, "enviroment": {}}}}, COMPOSE_FILE)


def own_variables():
    """Every variable that the settings read."""
    names = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names |= {alias} if isinstance(alias, str) else {f"THOR_{name.upper()}"} if alias is None else {*alias.choices}
    return names


@pytest.mark.parametrize("where", ENVIRONMENTS)
def test_each_variable_is_read_by_somebody(where):
    others = {"OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "DO_NOT_TRACK", "PYTHONUNBUFFERED", "PATH"}
    for name in set(ENVIRONMENTS[where]) - others:
        assert name in own_variables() or (name.startswith("PREFECT_") and hasattr(prefect.settings, name)), name


@pytest.mark.parametrize("where", ENVIRONMENTS)
def test_each_variable_has_a_value_that_the_settings_take(where, monkeypatch):
    for name, value in ENVIRONMENTS[where].items():
        monkeypatch.setitem(os.environ, name, value)

    settings = Settings()

    assert settings.bucket is None or urlsplit(settings.bucket).scheme == "gs"
    assert settings.queue is None or scheme_of(settings.queue) == "amqp"


def healthcheck():
    (words,) = [rest.partition("CMD ")[2] for rest in instruction("HEALTHCHECK")]
    return yaml.safe_load(words)


def commands():
    """Every command of the files, as a list of words."""
    found = [*(yaml.safe_load(rest) for rest in instruction("CMD")), healthcheck()]
    found += [shlex.split(part) for rest in instruction("RUN") for part in rest.split("&&")]
    found += [service["command"] for service in OURS.values()] + [CONTAINER["command"]]
    found += [CONTAINER["livenessProbe"]["exec"]["command"]]
    shells = [command for command in found if command[:2] == ["sh", "-c"]]
    found += [shlex.split(part) for _, _, script in shells for part in script.split("&&")]
    return [command for command in found if command[0] in {"python", "prefect"}]


def test_the_files_run_what_they_are_for():
    run = {" ".join(command[:3]) for command in commands()}

    assert {"python -m workers", "python -m flows.setup", "python -m workers.health"} <= run
    assert {"prefect server start", "prefect worker start", "prefect --no-prompt deploy"} <= run


@pytest.mark.parametrize("command", [each for each in commands() if each[0] == "python"], ids=" ".join)
def test_each_module_is_there_and_takes_its_options(command):
    _, option, name, *options = command
    assert option == "-m"
    spec = importlib.util.find_spec(name)
    assert spec is not None
    if spec.submodule_search_locations:
        name = f"{name}.__main__"
    if options and name not in {"compileall", "workers.health"}:
        module = importlib.import_module(name)
        parser = module.COMMAND_LINE if name == "workers.__main__" else module.main
        assert parser.parse(options) is not None


@pytest.mark.slow
@pytest.mark.parametrize("command", [each for each in commands() if each[0] == "prefect"], ids=" ".join)
def test_prefect_has_each_command_and_option(command):
    words = [word for word in command[1:] if word != "--no-prompt"]
    names = words[: 1 if words[0] == "deploy" else 2]
    run = [sys.executable, "-m", "prefect", *names, "--help"]
    shown = subprocess.run(run, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"}).stdout

    assert [word for word in words if word.startswith("--") and word not in shown] == []


def test_everything_that_is_copied_is_there_and_sent_to_the_builder():
    copied = [source for rest in instruction("COPY") if "--from=" not in rest for source in rest.split()[:-1]]
    sent = (ROOT / "containers" / "Dockerfile.dockerignore").read_text().splitlines()

    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert {f"!{source}" for source in copied} == {line for line in sent if line.startswith("!")}
    assert "*" in sent


def test_the_image_has_a_python_and_an_extra_of_the_project():
    bases = {re.search(r"python:([\d.]+)", base).group(1) for base in instruction("FROM")}

    (version,) = bases  # an environment that one stage made runs in the other
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{version}.1")
    assert re.search(r"--extra (\w+)", DOCKERFILE).group(1) in PROJECT["optional-dependencies"]


def test_every_file_names_the_image_of_this_version_and_its_directory():
    places = yaml.safe_load((ROOT / "prefect.yaml").read_text())["definitions"]
    in_containers = [place for place in places.values() if "pull" in place]

    assert f"--tag {IMAGE}" in DOCKERFILE
    assert {service["image"] for service in OURS.values()} == {IMAGE}
    assert CONTAINER["image"] == IMAGE
    assert {place["work_pool"]["job_variables"]["image"] for place in in_containers} == {IMAGE}
    for place in in_containers:
        (step,) = place["pull"]
        assert [each["directory"] for each in step.values()] == instruction("WORKDIR")[-1:]


def test_nothing_runs_as_root():
    (user,) = instruction("USER")

    assert user == "10001:10001"
    assert "--uid 10001" in DOCKERFILE
    seccomp = {"type": "RuntimeDefault"}
    user = {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001, "seccompProfile": seccomp}
    assert PODS["securityContext"] == user
    assert CONTAINER["securityContext"]["allowPrivilegeEscalation"] is False


def seconds(text):
    return float(str(text).removesuffix("s"))


def test_workers_have_the_time_to_give_a_task_back():
    workers = SERVICES["workers"]

    assert seconds(workers["stop_grace_period"]) > float(workers["environment"]["THOR_DRAIN_SECONDS"])
    assert PODS["terminationGracePeriodSeconds"] > float(POD_ENVIRONMENT["THOR_DRAIN_SECONDS"])


def test_each_url_names_a_service_and_the_port_that_it_listens_on():
    ports = {
        "rabbitmq": 5672,
        "postgres": 5432,
        "bucket": int(SERVICES["bucket"]["entrypoint"][SERVICES["bucket"]["entrypoint"].index("-port") + 1]),
        "prefect": int(SERVICES["prefect"]["command"][SERVICES["prefect"]["command"].index("--port") + 1]),
    }
    values = [value for service in OURS.values() for value in service["environment"].values()]
    urls = [urlsplit(value) for value in values if "://" in value and not value.startswith("gs:")]

    assert {url.hostname for url in urls} == {*ports, "127.0.0.1"}
    for url in urls:
        assert url.port == ports["prefect" if url.hostname == "127.0.0.1" else url.hostname]
    assert SERVICES["bucket"]["ports"] == [f"127.0.0.1:{ports['bucket']}:{ports['bucket']}"]
    assert SERVICES["prefect"]["ports"] == [f"127.0.0.1:{ports['prefect']}:{ports['prefect']}"]
    assert ports["prefect"] == prefect.settings.PREFECT_SERVER_API_PORT.value()
    assert f":{ports['prefect']}/api/health" in SERVICES["prefect"]["healthcheck"]["test"][-1]


def test_passwords_and_names_agree_between_services():
    queue = urlsplit(SERVICES["workers"]["environment"]["THOR_QUEUE"])
    database = urlsplit(SERVICES["prefect"]["environment"]["PREFECT_SERVER_DATABASE_CONNECTION_URL"])
    rabbitmq, postgres = SERVICES["rabbitmq"]["environment"], SERVICES["postgres"]["environment"]
    (seed,) = SERVICES["bucket"]["configs"]
    bucket = urlsplit(SERVICES["workers"]["environment"]["THOR_BUCKET"]).netloc

    assert (queue.username, queue.password) == tuple(rabbitmq.values())
    assert (database.username, database.password, database.path[1:]) == tuple(postgres.values())
    assert database.scheme == "postgresql+asyncpg"
    assert importlib.util.find_spec("asyncpg")
    assert seed["target"].split("/")[:3] == ["", "data", bucket]
    assert seed["source"] in COMPOSE["configs"]


def test_what_a_service_waits_for_or_mounts_is_there():
    for service in SERVICES.values():
        for name, how in service.get("depends_on", {}).items():
            assert name in SERVICES
            assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[name]
        for volume in service.get("volumes", ()):
            assert volume.startswith("${THOR_DATA:-./") or volume.split(":")[0] in COMPOSE["volumes"]
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in PODS["volumes"]}
    assert Path(POD_ENVIRONMENT["THOR_QUEUE_FILE"]).parent == Path(mounts["queue"])
    assert IMAGE_ENVIRONMENT["THOR_HOME"] == mounts["home"]
    assert f"mkdir {mounts['home']}" in DOCKERFILE
    probes = (CONTAINER["livenessProbe"]["exec"]["command"], healthcheck())
    assert {probe[-1] for probe in probes} == {f"{mounts['home']}/health"}


@pytest.mark.gcs
def test_the_bucket_of_the_trial_is_made_by_its_folder_and_keeps_its_word(tmp_path):
    """Run the same program with the same options, its port and folder exchanged."""
    try:
        program = binary()
    except FakeGcsMissingError as error:
        pytest.skip(str(error))
    port = free_port()
    (seed,) = SERVICES["bucket"]["configs"]
    made = tmp_path / seed["target"].removeprefix("/")
    made.parent.mkdir(parents=True)
    made.write_text(COMPOSE["configs"]["bucket"]["content"])
    exchanged = {"/data": str(tmp_path / "data"), "4443": str(port)}
    options = [exchanged.get(option, option) for option in SERVICES["bucket"]["entrypoint"][1:]]
    with subprocess.Popen([*END_WITH_PARENT, program, *options, "-host", "127.0.0.1", "-log-level", "warn"]) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: answers(f"{url}/storage/v1/b"), seconds=60, what=f"the bucket answers at {url}")
            bucket = open_bucket("gs://thor", deadline_seconds=10.0, emulator_host=url)

            assert [info.name for info in bucket.list("")] == ["README.md"]
            assert {finding.verdict for finding in bucket_findings(bucket)} == {"ok"}
            bucket.close()
        finally:
            process.kill()


def answers(url):
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def test_keda_scales_these_workers_by_the_queue_that_they_read():
    authentication, scaled = KEDA
    (trigger,) = scaled["spec"]["triggers"]
    (secret,) = authentication["spec"]["secretTargetRef"]

    assert scaled["spec"]["scaleTargetRef"]["name"] == DEPLOYMENT["metadata"]["name"]
    assert trigger["metadata"]["queueName"] == WORK_QUEUE
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    assert secret["name"] == next(volume["secret"]["secretName"] for volume in PODS["volumes"] if "secret" in volume)
    assert DISRUPTION_BUDGET["spec"]["selector"] == DEPLOYMENT["spec"]["selector"]


def test_what_the_slim_image_leaves_out_is_named_as_it_is_installed():
    """A pattern that matches nothing would let the image grow in silence."""
    packages = Path(pa.__file__).parents[1]
    script = (ROOT / "containers" / "slim.sh").read_text()

    assert list((packages / "pyarrow").glob("*flight*"))
    assert list((packages / "googleapiclient/discovery_cache/documents").glob("run.*.json"))
    for name in re.findall(r'"\$packages/([\w/]+)"', script):
        assert (packages / name).is_dir(), name
