# make study    a virtual environment, the pinned dependencies, and a study; STUDY= names another one
# make test     everything CI runs
# make lint     style and types only
# make clean    the virtual environment and the tools' caches; outputs, mlflow.db and mlartifacts stay

PYTHON ?= python3
VENV ?= .venv
STUDY ?= studies/quickstart.yaml
# PyTorch, from wherever pip is set up to look; another build: make study TORCH=…
TORCH ?= torch==2.13.0

python := $(VENV)/bin/python
pip := @$(python) -m pip --quiet --disable-pip-version-check
installed := $(VENV)/.installed
outputs := outputs/$(basename $(notdir $(STUDY)))

.PHONY: study test lint install clean

# A study that was begun goes on; a finished one shows its leaderboard again.
study: $(installed)
	$(python) tune.py $(STUDY) $(if $(wildcard $(outputs)/study.yaml),--resume)

test: lint
	$(python) -m pytest

lint: $(installed)
	$(python) -m ruff check
	$(python) -m ruff format --check
	$(python) -m mypy

install: $(installed)

# PyTorch comes first and alone: once it is there, no other package's range can ask for another build.
$(installed): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
		|| { echo "mtnat needs Python 3.11 or 3.12 and $(PYTHON) is another; name one, as in: make $(or $(MAKECMDGOALS),study) PYTHON=python3.12" >&2; exit 2; }
	@$(python) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing PyTorch into $(VENV) ..."
	$(pip) install $(TORCH)
	@echo "Installing Ray, Optuna, MLflow and the rest into $(VENV) ..."
	$(pip) install --constraint constraints.txt --editable '.[study,dev]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build *.egg-info
	find mtnat tests -name __pycache__ -type d -exec rm -rf {} +
