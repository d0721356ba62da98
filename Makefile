# Two commands on a fresh machine: `make repro` and `make test`.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: repro report test lint docs dashboard sbom clean

repro: .venv/installed ## run the whole pipeline; `make repro experiment=mnist` runs another experiment
ifdef experiment
	dvc exp run --set-param "overrides.yaml:all=['experiment=$(experiment)']"
else
	dvc repro
endif
	python -m pipelines.sync hydra.run.dir=. hydra.output_subdir=null hydra/job_logging=none
	python -m pipelines.summary
	python -m pipelines.report

report: .venv/installed ## the results as one page, reports/index.html
	python -m pipelines.report

test: .venv/installed ## run the test suite
	pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: .venv/installed ## the checks of pre-commit
	ruff check .
	ruff format --check .
	pyright
	lint-imports

docs: .venv/installed ## the API reference, reports/api/index.html; a warning is an error
	python -W error -W ignore::DeprecationWarning -m pdoc --no-show-source --output-directory reports/api triptych '!triptych.federated' # needs an extra

dashboard: .venv/installed ## compare runs in the browser
	python -m pipelines.dashboard hydra.run.dir=. hydra.output_subdir=null hydra/job_logging=none

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	pip install --quiet --constraint constraints.txt torch
	pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

sbom: .venv/installed ## list of everything installed (CycloneDX), checked for pins and licences
	python -m pipelines.supply_chain
	$(PYTHON) -m venv .venv-sbom
	.venv-sbom/bin/pip install --quiet cyclonedx-bom==7.5.0
	.venv-sbom/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --output-file sbom.cdx.json .venv

clean: ## remove results, keep the environment and the data
	rm -rf out params reports multirun outputs .ckpt
