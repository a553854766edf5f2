# The targets are the contract with users and CI; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN      := bin
GO       ?= go
BINARIES := proxy redirect cni agent webhook discovery shuntctl
LDFLAGS  := -s -w

# Modules with code of ours: the product, the test cluster, the end-to-end tests,
# the benchmark, and the suites of others.
MODULES := . test/cluster test/e2e test/bench test/conformance

# Fuzz seconds per target: 5 in `make test`, 60 in `make soak`.
FUZZTIME ?= 5s

.PHONY: help
help: ## Show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: $(addprefix build-,$(BINARIES)) ## Build the product's static binaries into bin/

.PHONY: build-%
build-%:
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags='$(LDFLAGS)' -o $(BIN)/$* ./cmd/$*

.PHONY: tidy-tools
tidy-tools: ## Tidy the modules that only pin tools; downloads a lot
	@for mod in $$(git ls-files '*go.mod'); do (cd $$(dirname $$mod) && $(GO) mod tidy); done

.PHONY: demo
demo: ## A real cluster, Shunt, and a gRPC client without and with it
	@scripts/demo.sh

.PHONY: demo-down
demo-down: ## Remove every trace of the demo
	@scripts/demo-down.sh

.PHONY: verify
verify: fmt lint generate tidy ## Format, lint, generated files; nothing may differ afterwards
	@git diff --exit-code

.PHONY: fmt
fmt: ## Format the code
	@$(GO) build -C tools -o ../$(BIN)/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@$(BIN)/golangci-lint fmt

.PHONY: lint
lint: ## Lint Go and shell
	@$(GO) build -C tools -o ../$(BIN)/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@for mod in $(MODULES); do (cd $$mod && $(CURDIR)/$(BIN)/golangci-lint run --config $(CURDIR)/.golangci.yml ./...); done
	@scripts/shellcheck.sh

.PHONY: generate
generate: ## Rebuild generated files
	@$(GO) generate ./...

.PHONY: tidy
tidy: ## Tidy the modules with code of ours
	@for mod in $(MODULES); do (cd $$mod && $(GO) mod tidy); done

.PHONY: unit
unit: ## Unit tests: seconds, no root, no network but loopback
	@for mod in $(MODULES); do (cd $$mod && $(GO) test ./...); done

.PHONY: race
race: ## All but the command line under the race detector
	@scripts/install-prerequisites.sh
	@$(GO) test -race ./internal/... ./proxy/... ./discovery/... ./webhook/... ./cni/... ./redirect/...
	@cd test/cluster && $(GO) test -race ./...

.PHONY: fuzz
fuzz: ## Every fuzz target for FUZZTIME
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: test-netns
test-netns: ## Real network namespaces; needs root
	@scripts/install-prerequisites.sh
	@scripts/netns.sh

.PHONY: e2e
e2e: ## A real two-node cluster, the demo's figures and the end-to-end tests; needs root
	@scripts/e2e.sh

.PHONY: conformance
conformance: ## What others wrote, through two sidecars: h2spec, curl, nghttp2, gRPC, WebSocket, 1 GiB bodies
	@$(GO) test -C test/conformance -count=1 -v -tags conformance ./... | grep -E '^(FIGURE|ok|FAIL|---|panic)|_test.go'

.PHONY: profile
profile: ## Measure anew the profile that the compiler optimises the proxy by; 3 min
	@$(GO) build -C test/bench -o ../../$(BIN)/bench . && exec $(BIN)/bench -source test/bench \
		-only '^(grpc\.(c8m10|c50m1|8ep)|http1|tcp\.pingpong|mtls\.c8m10)$$' -targets '^shunt$$' -reps 5 -profile cmd/proxy/default.pgo

.PHONY: bench
bench: ## Compare with haproxy, nginx, Envoy and others on this machine; 15 min
	@$(GO) build -C test/bench -o ../../$(BIN)/bench . && exec $(BIN)/bench -source test/bench $(BENCHFLAGS)

.PHONY: bench-redirect
bench-redirect: ## Compare the ways to steer a pod, in real network namespaces; 4 min; needs root
	@CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/proxy ./cmd/proxy && SHUNT_PROXY_BINARY=$(CURDIR)/$(BIN)/proxy \
		scripts/netns.sh -run '^$$' -bench '^Benchmark(Backends|ClosedPorts|Balance)$$' -benchtime 1x ./redirect/conformance ./redirect/ebpf

.PHONY: test
test: unit race fuzz conformance test-netns e2e ## Everything

.PHONY: soak
soak: ## What takes long: fuzzing, applies killed 200 times, the end-to-end tests with many pods and for long
	@scripts/fuzz.sh 60s
	@SHUNT_KILLS=200 scripts/netns.sh -timeout 2h -run '^Test(KilledApply|TwiceAtOnce|ChangeUnderTraffic)$$' ./redirect/conformance
	@SHUNT_SOAK=1 SHUNT_CAPTURES="cni ebpf" scripts/e2e.sh

.PHONY: clean
clean: ## Remove what was built
	@rm -rf $(BIN) out
