# The commands of docker-net-dhcp; `make help` lists them. All that is made lies under build/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Root's tools (dockerd, dnsmasq, ip) are not on the PATH of every shell.
export PATH := $(PATH):/usr/sbin:/sbin
export PYTHONDONTWRITEBYTECODE := 1
unexport FROM_SOURCE # tests test what ships
PYTHON ?= python3
NAME ?= net-dhcp:dev
VENV := build/venv
BROWSER := build/browser-venv
BIN := $(VENV)/bin
LAB := $(PYTHON) -m tests.lab
TOOLS := build/release-venv
PLUGIN := build/plugin
BEFORE := build/plugin-before
# Directories count as well: their times tell that a file was removed.
CLI := build/docker-dhcp
CLI_SOURCES := $(shell find cli -mindepth 1 -name __pycache__ -prune -o -print) requirements-cli.lock
SOURCES := $(shell find api supervisor workers -name __pycache__ -prune -o -print) $(CLI_SOURCES) \
  Dockerfile .dockerignore config.json requirements.lock

.PHONY: help setup lock engine plugin cli install push lab lab-down demo lint check test test-kernels test-boot test-engines \
  test-swarm test-doctor test-orders test-recipes test-monitoring test-page retest coverage bench endurance soak \
  docs site release release-check release-start audit clean

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## install what is missing, from Debian's packages
	@$(LAB) setup

# A Python environment with what its lock files name; it is out of date until it is complete.
define ENVIRONMENT
@rm -rf $@
@$(PYTHON) -m venv $@
@touch --date=@0 $@
@for lock in $^; do $@/bin/pip install --quiet --quiet --require-hashes -r $$lock; done
@touch $@
endef

$(VENV): requirements-dev.lock
	@$(LAB) setup
	@echo "==> the development environment in $@"
	$(ENVIRONMENT)

$(PLUGIN): $(SOURCES)
	@$(LAB) setup
	@$(LAB) plugin
	@touch $@

# From a commit that never changes, so it is made once; behind $(PLUGIN), as both use one engine.
$(BEFORE): | $(PLUGIN)
	@$(LAB) plugin-before

engine: setup
	@$(LAB) engine

plugin: $(PLUGIN) ## build/plugin/{config.json,rootfs}, as `docker plugin create` takes it

build/cli-libraries: requirements-cli.lock
	@$(LAB) setup
	@rm -rf $@ $@.new
	@$(PYTHON) -m pip install --quiet --quiet --root-user-action ignore --no-compile --no-deps --require-hashes --target $@.new \
	  --platform any --implementation py --abi none --only-binary :all: -r requirements-cli.lock
	@mv $@.new $@ && touch $@

$(CLI): build/cli-libraries $(CLI_SOURCES)
	@$(PYTHON) -m cli.onefile build/cli-libraries $@

cli: $(CLI) ## build/docker-dhcp, the command `docker dhcp` and `net-dhcp` in one file

# An engine refuses to remove a plugin that has networks, and says so.
define CREATE
@case "$$(docker plugin inspect --format '{{.Enabled}}' $(NAME) 2>/dev/null || true)" in \
  true) docker plugin disable $(NAME); docker plugin rm $(NAME);; \
  false) docker plugin rm $(NAME);; \
esac
@$(LAB) create $(NAME)
endef

install: $(PLUGIN) ## create and enable the plugin as NAME (net-dhcp:dev) in the engine of DOCKER_HOST
	$(CREATE)
	docker plugin enable $(NAME)

push: $(PLUGIN) ## push the plugin to a registry as NAME
	$(CREATE)
	docker plugin push $(NAME)

lab: $(PLUGIN) $(CLI) ## a LAN with a DHCP server and a Docker Engine with the plugin, left running
	@$(LAB) up

lab-down: ## remove the lab
	@$(LAB) down

demo: $(PLUGIN) ## a container with an address from a real DHCP server, start to end
	@$(LAB) demo

lint: $(VENV) ## linter, formatter, types and import contracts
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: lint ## lint and the unit tests
	@$(BIN)/python -m pytest -m "not netns and not plugin and not kernel and not boot and not recipes"

# The linters run while what is tested is built. Many tests wait for a lease or a container, so four at a time keep two
# processors busy. Their status tells failed tests from all else that can go wrong (.ci/run). The newest engine that
# Debian has runs the plugin tests. That of DOCKERD and the machine's own run the core of them
# (tests/plugin/test_other_engines.py).
test retest: export ENGINE := $(or $(ENGINE),28)
test: setup ## everything, with Docker 28 and the machine's own engine, or with ENGINE=20, 26 or 29; DOCKERD=FILE
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint $(BEFORE) engine
	@status=0; $(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder --durations=30 \
	  -p tests.lab.lines || status=$$?; echo $$status > build/test-status; exit $$status

KERNEL ?= 5.10 6.1 6.12 sid
test-kernels: setup $(VENV) $(PLUGIN) ## what this machine's kernel may lack, in a guest with KERNEL=5.10, 6.1, 6.12, sid
	@for kernel in $(KERNEL); do $(LAB) test-kernel $$kernel; done

test-engines: setup $(VENV) $(PLUGIN) $(BEFORE) ## the plugin tests on engines of other Debian releases, ENGINE=26, 28 or 29
	@for engine in $(or $(ENGINE),26 28); do ENGINE=$$engine $(BIN)/python -m pytest --numprocesses 2 --dist loadfile \
	  --no-loadscope-reorder tests/plugin --ignore tests/plugin/test_guest.py \
	  --ignore tests/plugin/test_other_engines.py; done

# All takes longer where the processor is emulated. The engine has to be in a root file system of its own.
test-boot: setup $(VENV) $(PLUGIN) ## a machine's power failures, late server and suspends, with Docker 26 or ENGINE=; one of these by ONLY=cuts, late, suspend or many
	@SLOWNESS=8 ENGINE=$(or $(ENGINE),26) CUTS=$(CUTS) SEED=$(SEED) $(BIN)/python -m pytest -m boot -s tests/boot $(if $(ONLY),-k $(ONLY))

test-swarm: setup $(VENV) $(PLUGIN) ## Docker's Swarm on three engines
	@$(BIN)/python -m pytest -m swarm

test-doctor: setup $(VENV) $(PLUGIN) ## docker dhcp doctor on twenty broken hosts, and the commands that mend them
	@$(BIN)/python -m pytest -m netns tests/netns/process/test_doctor.py

test-orders: $(VENV) ## the supervisor on a played host, in EXAMPLES=2000 random orders of requests, deaths and faults
	@EXAMPLES=$(or $(EXAMPLES),2000) $(BIN)/python -m pytest tests/supervisor/test_random_orders.py::TestRandomOrders

test-recipes: setup $(VENV) ## contrib/host-bridge, by netplan, networkd, ifupdown, NetworkManager and Ansible
	@$(BIN)/python -m pytest -m recipes tests/contrib

test-monitoring: setup $(VENV) $(PLUGIN) ## contrib/monitoring, by Debian's Prometheus
	@$(BIN)/python -m pytest -m monitoring

$(BROWSER): requirements-dev.lock tests/browser/requirements.lock
	@$(LAB) setup
	$(ENVIRONMENT)

test-page: $(BROWSER) $(PLUGIN) ## the page in Chromium; PICTURES=1 makes those of the README
	@command -v chromium > /dev/null || apt-get install --quiet --quiet --yes --no-install-recommends chromium
	@$(BROWSER)/bin/python -m pytest -m browser tests/browser

retest: $(VENV) ## the tests that failed, once more
	@$(BIN)/python -m pytest --last-failed --last-failed-no-failures none

coverage: $(VENV) ## the lines of api, supervisor and workers that the last `make test` has not run
	@$(BIN)/python -m tests.lab.lines

bench: $(VENV) $(PLUGIN) ## measure what it costs, beside Docker's drivers and another build: BASELINE=PATH
	@$(BIN)/python -m benchmarks $(if $(BASELINE),--baseline $(BASELINE))

endurance: setup $(VENV) $(PLUGIN) ## CYCLES=10000 endpoints, and HOURS=24 of renewals by a clock that runs faster: what grows
	@$(BIN)/python -m tests.endurance $(if $(CYCLES),--cycles $(CYCLES)) $(if $(HOURS),--hours $(HOURS))

soak: $(VENV) $(PLUGIN) ## churn and faults for MINUTES=20, CONTAINERS=30, repeated by SEED=
	@$(BIN)/python -m tests.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(CONTAINERS),--containers $(CONTAINERS)) \
	  $(if $(SEED),--seed $(SEED))

docs: $(VENV) ## docs/options.md, docs/proofs.md and the reference of docs/cli.md, from the code
	@$(BIN)/python -m tests.option_tables
	@$(BIN)/python -m tests.cli_reference

$(TOOLS): release/requirements.lock
	@echo "==> the tools for site and release in $@"
	$(ENVIRONMENT)

site: $(TOOLS) ## build/site: the documents with a search; a link that leads nowhere fails it
	@$(PYTHON) -m release.site
	@$(TOOLS)/bin/zensical build --clean --strict

ARCH ?= $(shell dpkg --print-architecture)
release: setup ## build/release: the plugin for ARCH=amd64 or arm64 as a file to install, with SBOM and licences
	@$(PYTHON) -m release.build $(ARCH)

release-check: setup ## the same twice from nothing, compared
	@$(PYTHON) -m release.build --check $(ARCH)

release-start: setup ## the plugin that make release has made, started in an engine, in emulation if need be
	@$(PYTHON) -m release.start $(ARCH)

audit: $(TOOLS) ## known vulnerabilities of what ships (asks pypi.org); workflows, issue forms and SBOMs against their schemas
	@$(TOOLS)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(TOOLS)/bin/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	@schemas=$$(echo $(CURDIR)/$(TOOLS)/lib/python3*/site-packages/cyclonedx/schema/_res); \
	  for list in build/release/*.cdx.json; do [ ! -e "$$list" ] || $(TOOLS)/bin/check-jsonschema "$$list" \
	    --schemafile "$$schemas/bom-1.6.SNAPSHOT.schema.json" --base-uri "file://$$schemas/"; done
	@$(TOOLS)/bin/pip-audit --strict --require-hashes --disable-pip -r requirements.lock -r requirements-cli.lock

# What rich formats Markdown and programs with, which the command does not print.
UNUSED := pygments markdown-it-py mdurl

lock: $(VENV) ## the lock files from pyproject.toml
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --group plugin -o requirements.lock
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url $(UNUSED:%=--no-emit-package %) pyproject.toml -o requirements-cli.lock
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --extra dev --group plugin pyproject.toml -o requirements-dev.lock
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url release/requirements.in -o release/requirements.lock
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url -c requirements-dev.lock tests/browser/requirements.in -o tests/browser/requirements.lock

clean: lab-down ## remove all that was made
	@rm -rf build
