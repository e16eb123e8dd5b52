SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help

BUILD := build
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X pytasks/node.version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
PROTOC_GEN_GO := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
PROTOC_GEN_VT := github.com/planetscale/vtprotobuf/cmd/protoc-gen-go-vtproto@v0.6.0

.PHONY: help build demo test race lint bench generate clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## build ./pytasks, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o pytasks .

demo: build ## three nodes here: tasks, results from other nodes, a killed leader
	@./deploy/demo.sh

# -v makes the skipped tests visible; what it adds for those that pass is left out here
# and kept in $(BUILD)/test.log.
test: lint ## lint and all tests; lists the skipped ones at the end
	@mkdir -p $(BUILD)
	@go test -v ./... 2>&1 | tee $(BUILD)/test.log \
		| { grep --line-buffered -vE '^(=== (RUN|PAUSE|CONT|NAME)|[[:space:]]*--- PASS|PASS$$)' || true; }; \
	status=$$?; \
	echo; echo 'Skipped tests:'; grep -B1 -E '^[[:space:]]*--- SKIP' $(BUILD)/test.log || echo '  none'; \
	exit $$status

race: ## all tests under the race detector
	go test -race ./...

lint: ## gofmt, go vet, staticcheck (the import order is a test: node/imports_test.go)
	@files=$$(gofmt -l .); \
	if [ -n "$$files" ]; then echo "gofmt these files:"; echo "$$files"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

bench: build ## the figures of the design's table, three nodes on this machine
	@echo "== single tasks, 64 connections";   ./pytasks bench --local 3 --tasks 50000 --connections 64
	@echo "== single tasks, 256 connections";  ./pytasks bench --local 3 --tasks 100000 --connections 256
	@echo "== batches of 100, 16 connections"; ./pytasks bench --local 3 --tasks 400000 --connections 16 --batch 100 --verify sample
	@echo "== idle, wait at a follower";       ./pytasks bench --local 3 --tasks 2000 --connections 1 --wait --at follower
	@echo "== reads, 64 connections";          ./pytasks bench --local 3 --tasks 100000 --connections 64 --get
	@echo "== one node, single tasks";         ./pytasks bench --local 1 --tasks 50000 --connections 64
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
