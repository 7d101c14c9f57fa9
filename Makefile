# Tieout needs Python 3.11 or later and nothing else. `make run` is the place to begin.
#
#   make run              everything on this machine; PORT=8001 another port, EMPTY=1 without the demo firm
#   make test             the whole suite, in parallel; ARGS="-k rates -x" goes to pytest instead
#   make check            style, types, layers, migrations, templates, deployment, dependencies
#   make cases            which cases of docs/cases.md are proven by tests
#   make bench            the measurements; NAME="admit move" FILE=bench.json
#   make reset            end what runs here and delete its data
#   make lock             compile the requirements again

PY := .venv/bin/python

.PHONY: help run test check reset cases bench lock environment environment-dev

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

environment:
	@.ci/environment run

environment-dev:
	@.ci/environment dev

run: environment
	@exec $(PY) manage.py serve $(if $(EMPTY),--empty)

test: environment-dev
	@$(PY) -m pytest $(or $(ARGS),-n auto --maxprocesses 4)

check: environment-dev
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .ci/check

cases: environment-dev
	@$(PY) -m pytest --cases -q $(ARGS)

bench: environment
	@$(PY) manage.py bench $(NAME) $(if $(FILE),--json $(FILE))

reset:
	@if [ -x $(PY) ]; then $(PY) manage.py reset; else rm -rf var; fi

lock: environment-dev
	@.ci/lock
