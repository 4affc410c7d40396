# Set-up and the commands of the README. `make quick` builds everything on two cores, `make test` runs the checks and tests.

VENV := .venv
BIN := $(VENV)/bin
CORES ?= 2
INSTALLED := $(VENV)/.installed

# Packages are compiled when they are used, once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: quick test check unit unit-kernels-audit-docs unit-others figures presets browser packaging forged cluster docs apart faults forgeries environment lock generated clean

quick: environment
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake -c$(CORES) --rerun-incomplete

test: check unit

# Lint, format, types, generated files, rules.
check: environment
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m convrfm.replication.pages.generate --check
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint

# In two lanes of about the same time, side by side.
unit: environment
	@echo "Tests of the kernels, the audit and the docs, and all others, side by side: what each says follows when it has ended."
	$(MAKE) --jobs=2 --output-sync=target unit-kernels-audit-docs unit-others

unit-kernels-audit-docs: environment
	$(BIN)/python -m pytest -m "not browser and not docs and not forged" tests/kernels tests/audit tests/claims tests/datasets tests/docs tests/examples

unit-others: environment
	$(BIN)/python -m pytest -m "not figures and not presets and not cluster and not browser and not packaging" --ignore tests/kernels --ignore tests/audit --ignore tests/claims --ignore tests/datasets --ignore tests/docs --ignore tests/examples

# Every figure, and the audit, through Snakemake, on a tiny preset.
figures: environment
	$(BIN)/python -m pytest -m figures

# The presets that want downloads, whole and in miniature, on official archives that the tests make.
presets: environment
	$(BIN)/python -m pytest -m presets

# The page of the audit in a headless Chromium; skipped with a reason where there is none (Debian: apt-get install chromium).
browser: environment
	$(BIN)/python -m pytest -m browser

# The wheel: built, looked into, and installed into an empty environment.
packaging: environment
	$(BIN)/python -m pytest -m packaging tests/packages

# A SLURM of one node, one like that of a site, and faults; skipped with a reason without root or Debian's packages.
cluster: environment
	$(BIN)/python -m pytest -m cluster

# Results are forged, which the audit has to find; and an audit is interrupted.
forged: environment
	$(BIN)/python -m pytest -m forged tests/audit

# The documentation as a site, strictly, into site/; then the tests that read it, follow its pages, and run the gallery.
docs: environment
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	$(BIN)/python -m pytest -m docs tests/docs tests/examples

# All tests that stand apart: those of the SLURM, which wait more than they work, beside one after the other of the rest.
apart: environment
	@echo "Tests of the cluster, the figures, the presets, the browser, the packaging, forgeries and the docs: what each says follows when it has ended."
	$(MAKE) --jobs=2 --output-sync=target cluster figures presets browser packaging forged docs

# The tests of the cluster, and the table of docs/faults.md from it.
faults: environment
	FAULT_TABLE=docs/faults.md $(BIN)/python -m pytest -m cluster tests/cluster

# The forgeries that the audit is tried with, and the table of docs/forgeries.md from it.
forgeries: environment
	FORGERY_TABLE=1 $(BIN)/python -m pytest -m forged tests/audit

environment: $(INSTALLED)

$(INSTALLED): envs/setup.sh envs/bootstrap.txt envs/lock.txt pyproject.toml src/convrfm/__init__.py
	sh envs/setup.sh $(VENV)
	touch $@

# Resolve the lock anew, after a change of the dependencies in pyproject.toml.
lock: environment
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --quiet --output-file envs/lock.txt
	$(BIN)/python -m convrfm.replication.pages.generate

generated: environment
	$(BIN)/python -m convrfm.replication.pages.generate

# What can be built again; data that were downloaded stay.
clean:
	rm -rf .snakemake site results/quick results/workstation results/paper
