# Everything sets itself up: `make run` and `make test` work in a fresh clone.
.PHONY: run test coverage check format bench soak docs lock clean
python := .venv/bin/python
quietly := DO_NOT_TRACK=1 PYTHONUNBUFFERED=1

run: environment            ## the demo job, end to end on this machine
	$(quietly) $(python) -m flows.submit

test: environment kernels services check   ## everything: services, lint, types, import contracts, tests
	$(quietly) $(python) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

coverage: environment kernels services  ## which branches no test takes, also of workers; compiled kernels can't be seen
	$(quietly) $(python) -m pytest -n 3 --dist loadfile --no-loadscope-reorder --cov --cov-report=term $(ARGS)

check: environment          ## lint, format, types, import contracts
	.venv/bin/ruff check --quiet .
	.venv/bin/ruff format --quiet --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

format: environment
	.venv/bin/ruff check --quiet --fix-only .
	.venv/bin/ruff format --quiet .

bench: environment          ## every figure of BENCHMARKS.md
	$(python) -m tests.bench $(ARGS)

soak: environment services  ## 2 000 tasks under every fault at once, embedded and on services
	$(quietly) $(python) -m tests.whole_system.soak $(ARGS)

docs: environment           ## the documents as a site, .cache/site/index.html
	NO_MKDOCS_2_WARNING=1 $(python) -m mkdocs build --quiet --strict

lock:                       ## after a change of dependencies in pyproject.toml
	.venv/bin/uv pip compile --quiet pyproject.toml --extra nbody --group dev --universal --python-version 3.11 --upgrade \
	    --generate-hashes --no-annotate --custom-compile-command "make lock" --output-file requirements.lock

clean:
	rm -rf .venv .cache thor_output .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*

.PHONY: environment kernels services
environment:
	@.ci/set-up

kernels: environment        # compiled before a test's time limit runs: their sources may have changed since the set-up
	@$(python) -m tasks.engines.warm_up

services: environment       # a private RabbitMQ and Chromium, unpacked below .cache; fake-gcs-server comes with its wheel
	@$(python) -m tests.services.rabbitmq install
	@$(python) -m tests.services.chromium install
