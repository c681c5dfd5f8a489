# Two commands are all that a newcomer needs: make run, make test. Each does its own set-up.
BIN := .venv/bin
LOCKED := kit/pyproject.toml service/pyproject.toml tools/setup.sh
PYTEST_FLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help run new test test-all lint types unit bench bench-all bench-quick figures fuzz layer grpc import bank orders rolling kafka bench-orders bench-updates bench-telemetry overload conform faults soak soak-faults trace dashboards docs docs-serve api-check checks changelog image release-check protos lock clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

run: .venv/.run ## Start the service with its own PostgreSQL and NATS (Ctrl-C ends it; the data stays in .data; ARGS=--reload restarts it on a save)
	@exec $(BIN)/myservice run $(ARGS)

new: .venv/.dev ## Make a service: make new NAME=shop DEST=../shop [ARGS="--full"]
	@$(BIN)/paceline new $(or $(NAME),$(error write make new NAME=shop DEST=../shop)) $(if $(DEST),--directory $(DEST)) $(ARGS)

test: .venv/.dev lint types ## Everything CI checks: lint, types, imports, all tests
	$(BIN)/pytest -n 2 $(PYTEST_FLAGS)

test-all: ## All tests with each Python from 3.11 to 3.14 that is found, pyenv's too
	@tools/test_all.sh $(PYTEST_FLAGS)

lint: .venv/.dev ## Style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/basedpyright
	$(BIN)/lint-imports

types: .venv/.dev ## Every public name of the kit has a complete type
	@PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=kit/src \
		basedpyright --verifytypes paceline --ignoreexternal >.venv/types.txt \
		|| { sed -n '/^Symbols used/,$$p' .venv/types.txt; exit 1; }
	@grep "completeness score" .venv/types.txt

unit: .venv/.dev ## The fast tests only
	$(BIN)/pytest -q kit/tests/unit kit/tests/house service/tests/unit tests/unit tests/house $(PYTEST_FLAGS)

fuzz: .venv/.dev ## Fuzz the server of HTTP/2 (an hour, or FUZZ_SECONDS)
	$(BIN)/python kit/tests/tools/fuzz_http2.py

bench: .venv/.bench ## Measure the service against Go, FastAPI and Litestar, side by side (half an hour)
	$(BIN)/python bench/service.py $(ARGS)
	$(BIN)/python bench/plot.py

bench-all: .venv/.bench ## Measure all that is published, one after the other (an hour; ends with an error when a bar is missed)
	$(BIN)/python bench/run_all.py $(ARGS)

figures: .venv/.dev ## Write the figures of bench/results into README and docs/performance.md
	$(BIN)/python bench/figures.py

bench-quick: .venv/.bench ## Run every bench in small numbers, so that none stops working unseen (CI does)
	$(BIN)/pytest -n 2 bench/test_quick.py $(PYTEST_FLAGS)

layer: .venv/.bench ## Measure the HTTP layer alone against raw ASGI and FastAPI, and start-up
	$(BIN)/python bench/http_layer.py $(ARGS)
	$(BIN)/python bench/startup.py

grpc: .venv/.bench ## Measure gRPC against grpc.aio and Go
	$(BIN)/python bench/rpc_layer.py $(ARGS)

import: .venv/.dev ## Import a million lines, killed in the middle, and count
	$(BIN)/python bench/import_million.py $(ARGS)

bank: .venv/.dev ## The bank test in full: service killed ten times, PostgreSQL twice
	BANK_TEST=full $(BIN)/pytest -q -s service/tests/e2e/test_bank.py

orders: .venv/.dev ## The order tests in full: everything killed three times, replicas that leave, engines that freeze
	ORDERS_TEST=full $(BIN)/pytest -q -s service/tests/e2e/test_orders_killed.py service/tests/e2e/test_replicas.py tests/e2e/test_redis_away.py

rolling: .venv/.dev ## Reloads, kills and rolling restarts under load, in full: only what a killed worker had in hand fails
	ROLLING_TEST=full $(BIN)/pytest -q -s service/tests/e2e/test_reload.py service/tests/e2e/test_rolling.py

kafka: .venv/.dev ## Run the queue's tests on a real Kafka, fetched with Maven (needs Java)
	KAFKA_TESTS=1 $(BIN)/pytest -q -k "[kafka] or kafka" kit/tests service/tests docs $(PYTEST_FLAGS)

bench-orders: .venv/.bench ## Measure orders from the queue to their effect, against the Go reference consumer
	$(BIN)/python bench/orders.py $(ARGS)

bench-updates: .venv/.bench ## Measure StreamUpdates with 1,000 subscribers
	$(BIN)/python bench/updates.py $(ARGS)

bench-telemetry: .venv/.bench ## Measure GET by id with traces and metrics on, against Go and FastAPI with theirs
	$(BIN)/python bench/telemetry.py $(ARGS)

conform: .venv/.dev ## Hold the servers against HTTP/2, gRPC and Connect with the judges of others (fetched with Go and Maven; ARGS="h2spec" for one)
	$(BIN)/python tests/conformance/conform.py $(ARGS)

faults: .venv/.dev ## Try every fault and attack of docs/faults.md, and write that page (most of an hour; ARGS="jwks-away" for one)
	$(BIN)/python tests/faults/faults.py $(ARGS)

soak-faults: .venv/.dev ## Mixed requests for an hour while everything is killed at random (SOAK_SECONDS=, SOAK_SEED= to repeat one)
	FAULTS_TEST=full SOAK_SECONDS=$(or $(SOAK_SECONDS),3600) $(if $(SOAK_SEED),SOAK_SEED=$(SOAK_SEED)) \
		$(BIN)/pytest -q -s tests/faults/test_soak.py

soak: .venv/.dev ## Call over HTTP/2 ten million times and watch the memory (SOAK_CALLS= for fewer)
	$(BIN)/python tests/conformance/soak.py

trace: .venv/.dev ## Show one order's trace, from HTTP to the worker's commit, out of Jaeger (builds it, with Go)
	@$(BIN)/python kit/tests/tools/go_tool.py jaeger
	$(BIN)/pytest -q -s tests/e2e/test_traces.py

overload: .venv/.bench ## Ask the service and its peers for five times what they can do
	$(BIN)/python bench/overload.py $(ARGS)
	$(BIN)/python bench/plot.py overload

dashboards: .venv/.dev ## Hold dashboard, alerts and metrics against a real Prometheus (builds it, with Go)
	@for tool in promtool prometheus; do $(BIN)/python kit/tests/tools/go_tool.py $$tool >/dev/null || exit 1; done
	$(BIN)/pytest -q -s tests/e2e/test_prometheus.py

docs: .venv-docs/.made ## Build the documentation site into site/html
	@.venv-docs/bin/python tools/docs_site.py

docs-serve: .venv-docs/.made ## Build the documentation site and show it at http://127.0.0.1:8000
	@.venv-docs/bin/python tools/docs_site.py serve

api-check: .venv-docs/.made ## Compare what the kit exports with the last tag, and name what would break its users
	@tag=$$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null) || { echo "No tag v* is there to compare with."; exit 0; }; \
	.venv-docs/bin/griffe check paceline --search kit/src --against "$$tag" && echo "Nothing breaks since $$tag."

checks: .venv/.dev .venv-checks/.made ## Hold manifests, image, workflows and locks against the checkers of others (some built with Go)
	@$(BIN)/python tools/checks.py

release-check: .venv/.dev .venv-checks/.made ## Build the kit twice, compare, check and install it; dist/ has what is published
	@$(BIN)/python tools/release_check.py

changelog: .venv/.dev .venv-checks/.made ## Write changelog.d into CHANGELOG.md as this version's changes (ARGS=--draft only shows it)
	@.venv-checks/bin/towncrier build --yes $(ARGS) \
		--version $$($(BIN)/python -c 'import paceline; print(paceline.__version__)')

image: .venv/.dev ## Build the service's image with buildah, without a container engine, and start it (root; Debian)
	@$(BIN)/python tools/image.py

protos: .venv/.dev ## Generate the gRPC messages from service/api/proto, and those of health and reflection
	$(BIN)/python service/tools/protos.py
	$(BIN)/python tools/standard_protos.py

lock: .venv/.dev ## Lock the newest allowed versions again, with hashes
	$(BIN)/python tools/lock.py --upgrade

clean: ## Remove the environment and caches (keeps .data)
	rm -rf .venv .venv-3.* .venv-checks .venv-docs site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Programs that check what is published: never imported, so they have an environment of their own.
.venv-checks/.made: requirements/checks.txt | .venv/.dev
	@$(BIN)/uv venv --quiet --clear .venv-checks
	@$(BIN)/uv pip install --quiet --python .venv-checks --require-hashes -r requirements/checks.txt
	@touch $@

.venv-docs/.made: requirements/docs.txt $(LOCKED)
	@tools/setup.sh docs .venv-docs
	@touch $@

.venv/.run: requirements/run.txt $(LOCKED)
	@tools/setup.sh run
	@touch $@

.venv/.dev: requirements/dev.txt $(LOCKED)
	@tools/setup.sh dev
	@touch $@ .venv/.run

.venv/.bench: requirements/bench.txt $(LOCKED)
	@tools/setup.sh bench
	@touch $@ .venv/.dev .venv/.run
