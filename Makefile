SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help

BUILD := build
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X pytasks/node.version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
PROTOC_GEN_GO := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
PROTOC_GEN_VT := github.com/planetscale/vtprotobuf/cmd/protoc-gen-go-vtproto@v0.6.0

GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: help build demo test race sim fuzz lint vuln bench chaos soak generate clean

# each_fuzz_target fuzzes every target for a time, $(1). It is no make of its own: `make -n` would run that.
each_fuzz_target = set -e; for file in $$(grep -rl --include='*_test.go' '^func Fuzz' . | sort); do \
	for target in $$(grep -o '^func Fuzz[A-Za-z]*' $$file | cut -c6-); do \
		echo "fuzz $$(dirname $$file) $$target"; \
		go test ./$$(dirname $$file) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(1) > $(BUILD)/fuzz.log || { cat $(BUILD)/fuzz.log; exit 1; }; \
	done; \
done

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## build ./pytasks, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o pytasks .

demo: build ## three nodes here: tasks, results from other nodes, a killed leader
	@./deploy/demo.sh

# -v makes the skipped tests visible; what it adds for those that pass is left out here
# and kept in $(BUILD)/test.log. One package at a time: the times of real processes are
# not to be those of a machine that simulates hundreds of minutes beside them.
test: lint vuln ## lint and all tests; lists the skipped ones at the end
	@mkdir -p $(BUILD)
	go test -tags failpoints ./node/failpoint
	@go test -v -p 1 -timeout 25m ./... 2>&1 | tee $(BUILD)/test.log \
		| { grep --line-buffered -vE '^(=== (RUN|PAUSE|CONT|NAME)|[[:space:]]*--- PASS|PASS$$)' || true; }; \
	status=$$?; \
	[ $$status != 0 ] || ( $(call each_fuzz_target,1s) ) || status=$$?; \
	echo; echo 'Skipped tests:'; grep -B1 -E '^[[:space:]]*--- SKIP' $(BUILD)/test.log || echo '  none'; \
	exit $$status

race: ## all tests under the race detector, with fewer drawn ones
	go test -race ./fsm -rapid.checks=5
	go test -race $$(go list ./... | grep -v /fsm)

sim: ## SEEDS=5000 simulations of five nodes for ten minutes each, from seed SEED=1
	go test ./node -run 'TestSim$$' -sim.seeds=$(or $(SEEDS),200) -sim.seed=$(or $(SEED),1) -timeout 24h

lint: ## gofmt, go vet, staticcheck (the import order is a test: node/imports_test.go)
	@files=$$(gofmt -l .); \
	if [ -n "$$files" ]; then echo "gofmt these files:"; echo "$$files"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

vuln: ## known weaknesses of what is built in; left out where their database is not reached
	@mkdir -p $(BUILD)
	@GOBIN=$(CURDIR)/$(BUILD)/bin go install $(GOVULNCHECK)
	@$(BUILD)/bin/govulncheck ./... > $(BUILD)/vuln.log 2>&1; status=$$?; \
	if [ $$status = 1 ] && grep -q 'fetching vulnerabilities' $(BUILD)/vuln.log; then \
		echo "skipped: known weaknesses, as their database is not reached: $$(tail -1 $(BUILD)/vuln.log)"; \
	else cat $(BUILD)/vuln.log; exit $$status; fi

# Each target is fuzzed for FUZZTIME. What it finds is kept in testdata, where the tests run it for ever.
FUZZTIME ?= 10m
fuzz: ## every decoder of bytes from outside, FUZZTIME each, 10m unless told
	@mkdir -p $(BUILD); $(call each_fuzz_target,$(FUZZTIME))

# Each fault of node/chaos is run RUNS times. A part of them: make chaos ROWS=rolling, or ROWS=SIGSTOP.*/5
RUNS ?= 1
ROWS ?= .
TABLE ?= $(BUILD)/chaos-table.md
chaos: ## every fault of the matrix to clusters of real processes, and the table of them; as root, half an hour
	@mkdir -p $(BUILD)
	@go test ./node/chaos -run 'TestMatrix/$(ROWS)' -chaos -runs $(RUNS) -table $(CURDIR)/$(TABLE) -keep $(CURDIR)/$(BUILD)/chaos \
		-count 1 -timeout 0 -v 2>&1 | tee $(BUILD)/chaos.log | { grep --line-buffered -E '^ *--- |FAIL|violation|_test.go:.*want' || true; }; \
	status=$$?; cat $(TABLE); exit $$status

SOAK ?= 20m
soak: ## a cluster kept busy for SOAK, 20m unless told: memory, goroutines and descriptors stay flat; as root
	go test ./node/chaos -run TestSoak -soak $(SOAK) -count 1 -timeout 0 -v

bench: build ## the figures of the design's table, three nodes on this machine
	@echo "== single tasks, 64 connections";   ./pytasks bench --local 3 --tasks 50000 --connections 64
	@echo "== single tasks, 256 connections";  ./pytasks bench --local 3 --tasks 100000 --connections 256
	@echo "== batches of 100, 16 connections"; ./pytasks bench --local 3 --tasks 400000 --connections 16 --batch 100 --verify sample
	@echo "== idle, wait at a follower";       ./pytasks bench --local 3 --tasks 2000 --connections 1 --wait --at follower
	@echo "== reads, 64 connections";          ./pytasks bench --local 3 --tasks 100000 --connections 64 --get
	@echo "== one node, single tasks";         ./pytasks bench --local 1 --tasks 50000 --connections 64
	@echo "== packs of each kind, one node";   ./deploy/bench-packs.sh
	@echo "== memory, restarts, a deep queue, lost leaders"; ./deploy/bench.sh

generate: ## make Go of fsm/fsm.proto
	command -v protoc >/dev/null || { apt-get update && apt-get install -y protobuf-compiler; }
	GOBIN=$(CURDIR)/$(BUILD)/bin go install $(PROTOC_GEN_GO)
	GOBIN=$(CURDIR)/$(BUILD)/bin go install $(PROTOC_GEN_VT)
	PATH=$(CURDIR)/$(BUILD)/bin:$$PATH protoc --go_out=. --go_opt=paths=source_relative \
		--go-vtproto_out=. --go-vtproto_opt=paths=source_relative,features=marshal+unmarshal+unmarshal_unsafe+size \
		fsm/fsm.proto

clean: ## remove what was built
	rm -rf pytasks $(BUILD)
