# make up    install and serve the hub, with a starter model
# make test  install what the tests need and run them
.PHONY: help up install test lint bench calibrate cases brook soak vendor messages clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

help: ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[film]'
	@touch $@

install: $(VENV)/.installed ## make .venv and install Headwater in it

up: install ## install, add the starter model, serve the hub (HOST=127.0.0.1 PORT=8080 DATA=~/.headwater)
	$(BIN)/headwater up --starter $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(if $(DATA),--data $(DATA))

$(VENV)/.tests: pyproject.toml $(VENV)/.installed
	$(BIN)/pip install --quiet -e '.[test,postgres,film]'
	@touch $@

test: $(VENV)/.tests ## install what tests need and run them all
	$(BIN)/python tests/prepare.py
	$(BIN)/ruff check src tests bench calibrate brook
	$(BIN)/pytest -n 2 --dist loadgroup

bench: $(VENV)/.tests ## measure beside the peers; writes docs/numbers.md
	$(BIN)/python bench/run.py

calibrate: $(VENV)/.tests ## train models apart and from each other, measure trace on them; writes docs/calibration.md
	nice -n 10 $(BIN)/python -m calibrate

cases: $(VENV)/.tests ## judge the named cases whose weights are at hand (FROM=a folder of owner/name, or https://a-hub)
	$(BIN)/python -m calibrate cases $(FROM)

brook: $(VENV)/.tests ## train the small film model that comes along, from nothing, and measure it (two hours or more)
	$(BIN)/python -m brook

soak: $(VENV)/.tests ## the long checks: the hub killed 1,000 times, many more requests made up, load, real models
	HEADWATER_KILLS=1000 $(BIN)/pytest tests/api/test_killed.py
	HEADWATER_KILLS=100 $(BIN)/pytest --timeout 1800 tests/film/test_film_killed.py
	HEADWATER_EXAMPLES=20 $(BIN)/pytest --timeout 3600 tests/api/test_openapi.py tests/api/test_model_faults.py
	$(BIN)/pytest -m soak tests/soak

vendor: $(VENV)/.tests ## for maintainers: fetch the pages' browser libraries from npm anew
	$(BIN)/python tools/vendor.py

messages: $(VENV)/.tests ## for maintainers: bring the pages' catalogues of words up to date
	$(BIN)/python tools/messages.py

clean: ## remove the environment
	rm -rf $(VENV)
