# Each target is one line over the command that README shows.
SHELL := /bin/bash
ENV ?= demo
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Whatever the caller's shell says of either: Ansible wants UTF-8, and the project its own settings.
export LC_ALL := C.UTF-8
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Set, it would have each process compile all that it loads anew: 7 s of a core for each of pytest's.
export PYTHONDONTWRITEBYTECODE :=
# Set, it would have each module read byte by byte from the pipe that it comes by, half a million of them.
export PYTHONUNBUFFERED :=
# Whether this machine is among the environment's hosts.
HERE = grep -rqs 'ansible_connection: *local' 'inventory/$(ENV)'
# Anybody but root becomes root here by sudo; ask for its password only where it wants one.
BECOME = $(shell [ "$$(id -u)" = 0 ] || ! $(HERE) || sudo -n true 2>/dev/null || echo --ask-become-pass)
PLAYBOOK = $(BIN)/ansible-playbook -i 'inventory/$(ENV)' $(BECOME) $(ARGS)
# An empty SECRET is handed on, and refused: only without any is it all that are due.
SECRETS = $(if $(filter undefined,$(origin SECRET)),,-e 'secrets="$(SECRET)"')

.DEFAULT_GOAL := help
.PHONY: help
help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

.PHONY: quickstart
quickstart: $(VENV)/controller ## From a bare machine to a healthy stack: the environment ENV (demo)
	$(PLAYBOOK) playbooks/site.yml

.PHONY: doctor
doctor: $(VENV)/controller ## Check everything, change nothing
	$(PLAYBOOK) playbooks/doctor.yml

.PHONY: report
report: $(VENV)/controller ## Write a page on all hosts, secrets and rotations to look at: .coffre/ENV/report.html
	$(PLAYBOOK) playbooks/report.yml

.PHONY: rotate-secret
rotate-secret: $(VENV)/controller ## Replace the secrets SECRET=a,b, or all that are due, while the stack serves
	$(PLAYBOOK) playbooks/rotate.yml $(SECRETS)

.PHONY: rotate-secret-dry
rotate-secret-dry: $(VENV)/controller ## Show which secrets that would replace and what blocks it; change nothing
	$(PLAYBOOK) playbooks/rotate.yml $(SECRETS) --check

.PHONY: verify-audit
verify-audit: $(VENV)/controller ## Check the audit trails against the heads that were kept here
	$(PLAYBOOK) playbooks/verify_audit.yml

.PHONY: demo-user
demo-user: $(VENV)/controller ## Make users to sign in to the demo with, each with a new password
	$(PLAYBOOK) playbooks/demo_user.yml

.PHONY: teardown
teardown: $(VENV)/controller ## Remove the stack; keep seals and data
	$(PLAYBOOK) playbooks/teardown.yml

.PHONY: swarm-node
swarm-node: $(VENV)/controller ## A node of a swarm: DRAIN=host, ACTIVATE=host or REMOVE=host
	$(PLAYBOOK) playbooks/nodes.yml $(if $(DRAIN),-e 'drain="$(DRAIN)"') $(if $(ACTIVATE),-e 'activate="$(ACTIVATE)"') \
	  $(if $(REMOVE),-e 'remove="$(REMOVE)"')

.PHONY: move-to-swarm
move-to-swarm: $(VENV)/controller ## Move a stack from one machine to the swarm ENV (docs/swarm.md)
	$(PLAYBOOK) playbooks/move_to_swarm.yml

.PHONY: vault
vault: $(VENV)/controller ## Make the vault that stack_vault describes, and what stands around it: [CONFIRM=its name]
	$(PLAYBOOK) playbooks/vault.yml $(if $(CONFIRM),-e 'confirm="$(CONFIRM)"')

.PHONY: ensure-secrets
ensure-secrets: $(VENV)/controller ## Generate what is missing: into the vault, or for a demo on the hosts
	$(PLAYBOOK) playbooks/ensure_secrets.yml

.PHONY: load-secrets
load-secrets: $(VENV)/controller ## Fetch the secrets and stage them on the hosts, without rolling out
	$(PLAYBOOK) playbooks/secrets.yml

.PHONY: try-keyvault end-try-keyvault
try-keyvault end-try-keyvault: ENV = trial
try-keyvault: $(VENV)/controller $(VENV)/emulator ## Production's path without Azure, from an empty subscription to a rotation
	$(PLAYBOOK) tests/keyvault_emulator/trial.yml
	$(PLAYBOOK) playbooks/vault.yml -e confirm=coffre-trial
	$(PLAYBOOK) tests/keyvault_emulator/trial_certificate.yml
	$(PLAYBOOK) playbooks/ensure_secrets.yml
	$(PLAYBOOK) playbooks/site.yml
	$(PLAYBOOK) playbooks/rotate.yml -e secrets=flask-secret-key

end-try-keyvault: $(VENV)/controller ## Remove what try-keyvault made
	$(PLAYBOOK) playbooks/teardown.yml -e teardown_destroy=coffre-trial
	$(PLAYBOOK) tests/keyvault_emulator/trial.yml -e trial_end=true

.PHONY: new-stack
new-stack: ENV = demo
new-stack: $(VENV)/controller ## A folder of inventory for a stack of your own: NAME=shop [FROM=compose.yaml]
	@PYTHONPATH=collections $(BIN)/python -m ansible_collections.coffre.stack.plugins.module_utils.new_stack . '$(NAME)' '$(FROM)'

.PHONY: move-in
move-in: $(VENV)/controller ## Take the present values of a stack that already runs, for the environment ENV
	$(PLAYBOOK) playbooks/move_in.yml

# First destroy: Molecule remembers hosts that the machine may have lost since, and would not make them again.
.PHONY: test test-scenario
test: test-quick ## Everything: lint, unit tests and Molecule on real hosts
test-scenario: $(VENV)/development ## One of Molecule's scenarios on real hosts of its own, SCENARIO=name
test test-scenario:
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/molecule destroy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/molecule test $(if $(SCENARIO),--scenario-name '$(SCENARIO)',--all)

.PHONY: test-quick
test-quick: $(VENV)/development ## Lint and unit tests
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target unit lint

# Side by side, each with its output in one piece. Tests of this Makefile are none of its parts, so no MAKEFLAGS.
.PHONY: unit lint
unit:
	MAKEFLAGS= MAKELEVEL= $(BIN)/pytest --numprocesses 3

lint:
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/yamllint .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint

.PHONY: test-faults
ifeq ($(ENV),swarm)
test-faults: $(VENV)/development
	@export PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=molecule/shared:collections; \
	  molecule destroy --scenario-name swarm && molecule converge --scenario-name swarm && \
	  python -m tests.faults --swarm $(ARGS); status=$$?; molecule destroy --scenario-name swarm; exit $$status
else
test-faults: $(VENV)/development ## Harm rotations at every record they write, on real hosts (hours); ARGS="--only REGEX", ENV=swarm
	@export PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=molecule/shared:collections; \
	  molecule destroy && molecule create && molecule converge -- --limit debian13 && molecule converge --scenario-name keyvault && \
	  python -m tests.faults $(ARGS); status=$$?; molecule destroy; exit $$status
endif

.PHONY: bench-deploy
bench-deploy: $(VENV)/controller ## Time a cold start, an unchanged run and the adoption of a secret
	$(BIN)/python -m benchmarks.deploy

.PHONY: bench-keyvault
bench-keyvault: $(VENV)/development ## Time the source keyvault against azure.azcollection's lookup, on an emulated vault
	$(BIN)/python -m benchmarks.keyvault

.PHONY: bench-rotation
ifeq ($(ENV),swarm)
bench-rotation: $(VENV)/development
	@export PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=molecule/shared:collections; \
	  molecule converge --scenario-name swarm && python -m benchmarks.swarm
else
bench-rotation: $(VENV)/controller ## Time unchanged runs, and rotations under load, on this machine [BESIDE=an older checkout], or on test hosts ENV=swarm
	$(BIN)/python -m benchmarks.rotation $(BESIDE)
endif

.PHONY: lock
lock: $(VENV)/uv ## Write requirements/*.txt anew from requirements/*.in
	@for set in app:3.13 host:3.11 controller:3.12 development:3.12 emulator:3.11; do \
	  $(VENV)/uv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	    --python-version "$${set#*:}" "requirements/$${set%:*}.in" -o "requirements/$${set%:*}.txt" || exit; done

$(VENV)/uv:
	@$(PYTHON) -m venv $@ && $@/bin/pip install --quiet uv

$(VENV)/emulator: requirements/emulator.txt
	@$(PYTHON) -m venv $@ && $@/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# What would end in a riddle is refused here.
.PHONY: checkout
checkout:
	@case "$$PWD" in *[][*?:\'\"]*) \
	  echo "The path $$PWD cannot hold a checkout: move it to one without any of [ ] * ? : ' and \"."; exit 1;; esac
	@[ -n '$(ENV)' ] && [ -d 'inventory/$(ENV)' ] || \
	  { echo 'ENV is "$(ENV)", which is no folder of inventory/: name one that is ('$$(ls -d inventory/*/ | cut -d/ -f2)'), or make it.'; exit 1; }
	@[ -z "$$(find . -maxdepth 0 -perm -o+w)" ] || \
	  { echo 'Everybody may write to this checkout, and what it holds runs as root on the hosts: run chmod o-w on it, or move it to a file system that keeps modes.'; exit 1; }
	@! grep -lsx '\.\./.*\.yml' inventory/*/group_vars/all/*.yml || \
	  { echo 'These are links in the repository, and were checked out as files: run git config core.symlinks true, remove them, and run git checkout -- inventory (on a file system that has links).'; exit 1; }
	@[ "$$(id -u)" = 0 ] || ! $(HERE) || command -v sudo >/dev/null || \
	  { echo 'The environment $(ENV) deploys to this machine, and needs root here: install the package sudo, or run make as root.'; exit 1; }

# The environment of a checkout that was moved, or of a Python that is gone, is made anew.
ifeq ($(shell python=$$(grep -om1 '/[^"]*/bin/python[0-9.]*' $(BIN)/pip 2>/dev/null); [ -z "$$python" ] || [ -x "$$python" ] || echo gone),gone)
.PHONY: $(VENV)/controller $(VENV)/development
CLEAR := --clear
endif

$(VENV)/controller: | checkout
$(VENV)/controller $(VENV)/development: $(VENV)/%: requirements/%.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null || \
	  { echo "Coffre needs Python 3.12 to 3.14, and $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo none)."; \
	    echo "Debian 13 has it as the package python3. Debian 12 has no such package: make one by pyenv (pyenv install 3.13) or uv"; \
	    echo "(uv python install 3.13), and name it: make PYTHON=/path/to/python3.13 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "Coffre needs Python's venv module: install the package python3-venv."; exit 1; }
	@echo "Making the environment $(VENV) from $< (about 15 s for controller, 45 s for development)."
	@$(PYTHON) -m venv $(CLEAR) $(VENV)
	@$(BIN)/pip install --quiet --no-compile --disable-pip-version-check --require-hashes -r $<
	@$(BIN)/python -m compileall -q -j 0 -x /ansible_collections/ $(VENV)/lib/python*/site-packages
	@touch $@
