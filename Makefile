# make study    install the pinned dependencies into a virtual environment and run a study; STUDY= names another one
# make test     run all checks of CI
# make chaos    run the long tests that break things on purpose, with KILLS= kills of processes
# make fuzz     give the readers of files and command lines hostile input, INPUTS= times each
# make lint     check style and types only
# make docs     build the documentation into site/; index.html there is its first page
# make lock     write the hashes of the packages in constraints.txt to requirements.lock
# make audit    look for known vulnerabilities of the locked packages
# make sbom     write a list of the locked packages with their hashes to sbom.json (CycloneDX)
# make help     print these lines
# make clean    remove the virtual environment and the caches of the tools; outputs, mlflow.db and mlartifacts stay

PYTHON ?= python3
VENV ?= .venv
STUDY ?= studies/quickstart.yaml
# PyTorch, from the index that pip is configured for. For another build: make study TORCH=…
TORCH ?= torch==2.13.0

python := $(VENV)/bin/python
pip := @$(python) -m pip --quiet --disable-pip-version-check
installed := $(VENV)/.installed
outputs := outputs/$(basename $(notdir $(STUDY)))

# Modules that are used are compiled once, also where the environment says otherwise: to compile them in every process would
# double the time that each takes to start.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help study test style types tests-fast tests-slow tests-ray-first tests-ray-second chaos fuzz lint docs lock audit sbom \
	install clean

# Resumes a study that was started before; for a finished study, shows its leaderboard again.
study: $(installed)
	$(python) tune.py $(STUDY) $(if $(wildcard $(outputs)/study.yaml),--resume)

# The first lines of this file.
help:
	@sed -n 's/^# make /make /p' $(firstword $(MAKEFILE_LIST))

# The types are checked beside the tests, which run in four processes. Those that start Ray mostly wait for its processes, which
# have a limited time to start, so the others give way: Ray's own workers have a niceness of 15 by default, here of 10. The
# output of a process comes as a whole at its end, except that of the fast tests.
test: style
	@$(MAKE) --no-print-directory --jobs 5 types tests-fast tests-slow tests-ray-first tests-ray-second

# The models of the tests are so small that a second thread costs more than it gains.
one_thread := OMP_NUM_THREADS=1 nice -n 5

at_the_end = output=$$(mktemp) && trap 'rm -f "$$output"' EXIT && \
	{ $(1) >"$$output" 2>&1; code=$$?; cat "$$output"; exit $$code; }
# About half of the time of all tests that start Ray.
first_half := tests/lab/test_whole_search.py tests/lab/test_whole_study.py

tests-fast: $(installed)
	@$(one_thread) $(python) -m pytest --durations=15 -m "not ray and not slow and not chaos"

tests-slow: $(installed)
	@$(call at_the_end,$(one_thread) $(python) -m pytest --durations=15 -m "slow and not ray and not chaos")

tests-ray-first: $(installed)
	@$(call at_the_end,RAY_worker_niceness=10 $(python) -m pytest --durations=15 -m "ray and not chaos" $(first_half))

tests-ray-second: $(installed)
	@$(call at_the_end,RAY_worker_niceness=10 $(python) -m pytest --durations=15 -m "ray and not chaos" $(addprefix --ignore=,$(first_half)))

# Not part of CI: about half an hour on two cores. KILLS= kills in all, 100 of which take half an hour more.
KILLS ?= 8
chaos: $(installed)
	MTNAT_KILLS=$(KILLS) $(python) -m pytest -m chaos

# A failure prints the input.
INPUTS ?= 7000
fuzz: $(installed)
	MTNAT_FUZZ=$(INPUTS) OMP_NUM_THREADS=1 $(python) -m pytest --durations=0 tests/fuzz

lint: style types

style: $(installed)
	$(python) -m ruff check
	$(python) -m ruff format --check

types: $(installed)
	@$(call at_the_end,nice -n 5 $(python) -m mypy)

# The pictures and the page of the command line are written first.
docs: $(installed)
	$(python) docs/scripts/pictures.py
	$(python) docs/scripts/command_line.py
	NO_MKDOCS_2_WARNING=1 $(python) -m mkdocs build --strict --quiet
	@echo "The documentation is in site/index.html."

install: $(installed)

# Tools that look at the packages from outside, so they have an environment of their own.
tools := $(VENV)/tools

$(tools)/.installed: Makefile
	@$(PYTHON) -m venv --clear $(tools)
	@$(tools)/bin/python -m pip --quiet --disable-pip-version-check install cyclonedx-bom==7.5.0 pip-audit==2.10.1 uv==0.13.9
	@touch $@

lock: $(tools)/.installed
	$(tools)/bin/uv pip compile --quiet constraints.txt --no-deps --generate-hashes --no-annotate --python-version 3.12 \
		--custom-compile-command "make lock" --output-file requirements.lock

# PyTorch is not in the lock; its version is audited all the same.
torch_version := $(firstword $(TORCH))
database := https://api.osv.dev

audit: $(tools)/.installed
	@if ! $(PYTHON) -c 'import urllib.request; urllib.request.urlopen("$(database)/v1/vulns/PYSEC-2022-43012", timeout=20)' \
			2>/dev/null; then \
		echo "audit: skipped, because $(database), the database of vulnerabilities, does not answer"; \
	else \
		{ sed 's/ *\\$$//; /--hash/d' requirements.lock; echo '$(torch_version)'; } >$(tools)/audited.txt; \
		$(tools)/bin/pip-audit --strict --vulnerability-service osv --disable-pip --no-deps --requirement $(tools)/audited.txt; \
	fi

sbom: $(tools)/.installed
	@{ cat requirements.lock; echo '$(torch_version)'; } | PYTHONWARNINGS=ignore $(tools)/bin/cyclonedx-py requirements \
		--pyproject pyproject.toml --output-reproducible --output-file sbom.json -
	@echo "The list of packages is in sbom.json."

# PyTorch is installed separately, so that the version range of another package cannot select another build, and all others at
# the same time, because pip unpacks on one core. Each of these must have one of the hashes in the lock. The last call installs what
# a build of PyTorch needs beyond them.
# pip would compile every module of every package, on one core. Only those that are used are compiled, when they are imported.
$(installed): pyproject.toml constraints.txt requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
		|| { echo "mtnat needs Python 3.11 or 3.12, and $(PYTHON) is another version; name one, as in: make $(or $(MAKECMDGOALS),study) PYTHON=python3.12" >&2; exit 2; }
	@$(python) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing PyTorch, Ray, Optuna, MLflow and the rest into $(VENV) (2.3 GB on the disk, two to four minutes) ..."
	$(pip) install --no-compile --no-deps $(TORCH) & torch=$$!; \
		$(subst @,,$(pip)) install --no-compile --no-deps --require-hashes --requirement requirements.lock; others=$$?; \
		wait $$torch && exit $$others
	$(pip) install --no-compile --no-build-isolation --constraint constraints.txt --editable '.[study,dev]'
	@$(python) -c 'import mlflow, optuna, ray.train.torch, ray.tune, torch, mtnat.lab.start'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build site *.egg-info
	find mtnat tests -name __pycache__ -type d -exec rm -rf {} +
