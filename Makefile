# make study    a virtual environment, the pinned dependencies, and a study; STUDY= names another one
# make test     everything CI runs
# make lint     style and types only
# make clean    the virtual environment and the tools' caches; outputs, mlflow.db and mlartifacts stay

PYTHON ?= python3
VENV ?= .venv
STUDY ?= studies/quickstart.yaml
# Where pip finds PyTorch besides PyPI, whose build for Linux brings several gigabytes of CUDA libraries: the CPU build where
# there is no NVIDIA driver. Another CUDA version: make study TORCH_INDEX=https://download.pytorch.org/whl/cu128
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi 2>/dev/null),,https://download.pytorch.org/whl/cpu)

python := $(VENV)/bin/python
pip := @$(python) -m pip --quiet --disable-pip-version-check
installed := $(VENV)/.installed
outputs := outputs/$(basename $(notdir $(STUDY)))

.PHONY: study test lint install clean

study: $(installed)
	@if [ $(outputs)/leaderboard.json -nt $(STUDY) ]; then \
		cat $(outputs)/leaderboard.md; echo; echo "$(STUDY) is finished; remove $(outputs) to run it anew."; \
	else \
		set -x; $(python) tune.py $(STUDY) $(if $(wildcard $(outputs)/study.yaml),--resume); \
	fi

test: lint
	$(python) -m pytest

lint: $(installed)
	$(python) -m ruff check
	$(python) -m ruff format --check
	$(python) -m mypy

install: $(installed)

# PyTorch comes first and alone, because nothing else is to be looked for in TORCH_INDEX.
$(installed): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
		|| { echo "mtnat needs Python 3.11 or 3.12 and $(PYTHON) is another; name one, as in: make $(or $(MAKECMDGOALS),study) PYTHON=python3.12" >&2; exit 2; }
	@$(python) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing PyTorch into $(VENV) ..."
	$(pip) install --no-deps --retries 2 --timeout 20 --constraint constraints.txt $(addprefix --extra-index-url ,$(TORCH_INDEX)) torch
	@echo "Installing Ray, Optuna, MLflow and the rest into $(VENV) ..."
	$(pip) install --constraint constraints.txt --editable '.[study,dev]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build *.egg-info
	find mtnat tests -name __pycache__ -type d -exec rm -rf {} +
