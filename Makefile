# Plain `make` lists the targets. Tools are pinned here and fetched by Go itself;
# only protoc has to be on the machine, and only to regenerate (.proto files).

GO            ?= go
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
PROTOC_GEN_GO := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.11

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
VERSION_VAR := github.com/kith-im/kith/cli.version

# What a run may cost. Every target ends by itself with these.
TIMEOUT   ?= 10m# one test binary
FUZZTIME  ?= 5s# one fuzz target
BENCHTIME ?= 1s# one benchmark
COUNT     ?= 1# runs of each benchmark; benchstat wants 6 or more
CYCLES    ?= 200# kill -9 cycles of `make crash`
SEEDS     ?= 60# random schedules of `make sim-fuzz`
SCHEDULES ?= 100000# of `make sessions`
FROM      ?= 1# its first seed
LIVE      ?= 90# people of the idle day of `make live`
STORIES   ?= first-steps new-device removed-device odd-days relays-die# of `make live-stories`
VERIFY    ?= 5# how much `make verify` simulates
ROUNDS    ?= 3# how often each takes part in `make bench-brokers`
PHASE     ?= 5# one phase of it
SIZE      ?= 1 GiB# of the file of `make files`
HOSTILE   ?= Slow|Attack|WithoutLimits|Clock|Quota# tests of `make hostile`
TESTFLAGS ?=# more flags for go test, for example -v
DEMOFLAGS ?=# more flags for kith demo, for example --json

# The rooms with goroutines; pure packages have none, so nothing to race. cli/faults starts whole processes of the same
# rooms, which would take minutes more. Each command of a story is a process, which the detector would keep for a second.
RACE := $(patsubst %,./%/...,$(wildcard dht/kad mailbox/blobs mailbox/boltbox mailbox/relay mailbox/upkeep node/boltstore node/files node/host node/metrics node/p2p node/api simnet/live)) \
	$(addprefix ./,$(wildcard cli cli/bench cli/demo cli/hooks cli/lines cli/rpc cli/term))

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo build test race lint bench bench-brokers fuzz cover proto check check-build check-proto check-unit
.PHONY: sim-standin check-standin models root-test groups files crash splits hostile sim-fuzz sessions town verify live live-stories fixture vectors bench-crypto

# build-into writes the static, reproducible binary to a path; a tag is for builds that are no messengers, and GOFLAGS adds none.
build-into = CGO_ENABLED=0 $(GO) build -tags '$(2)' -buildvcs=false -trimpath -ldflags '-s -w -X $(VERSION_VAR)=$(VERSION)' -o $(1) ./cli/kith

# tagged lists the folders whose tests carry a build tag.
tagged = $(sort $(dir $(shell grep -rlE --include='*_test.go' '^//go:build.*\<$(1)\>' . 2>/dev/null)))

# run-tagged runs them, one package after the other, or says that there are none.
run-tagged = @pkgs='$(call tagged,$(1))'; \
	if [ -z "$$pkgs" ]; then echo 'no package has tests tagged "$(1)"'; exit 0; fi; \
	set -x; $(2) $(GO) test -count=1 -p 1 -tags $(1) -timeout $(3) $(4) $(TESTFLAGS) $$pkgs

# only-tagged matches the tests of the files with a tag, not those beside them.
only-tagged = ^($(shell grep -rlE --include='*_test.go' '^//go:build $(1)$$' . | xargs grep -ohE '^func Test[A-Za-z0-9_]+' | sed 's/^func //' | paste -sd '|'))$$

# note is what a figure needs beside it: the command, the date and the machine.
note = @echo "command: make $@ $(MAKEOVERRIDES)"; echo "version: $(VERSION)"; \
	echo "machine: $$(uname -sm), $$(getconf _NPROCESSORS_ONLN) cores, $$($(GO) env GOVERSION)"; \
	echo "date:    $$(date -u +%Y-%m-%dT%H:%MZ)"; set -x;

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile

demo: build ## three people, four devices and five relays on this machine: a story of ten seconds at most
	@bin/kith demo $(DEMOFLAGS)

build: ## bin/kith, one static binary
	@mkdir -p bin
	$(call build-into,bin/kith)

test: ## all tests; no privileges, no network beyond loopback
	$(GO) test -count=1 -timeout $(TIMEOUT) $(TESTFLAGS) ./...

race: ## the packages with goroutines under the race detector (needs a C compiler)
	@if [ -z '$(RACE)' ]; then echo 'no package with goroutines yet'; exit 0; fi; \
	set -x; GORACE=atexit_sleep_ms=0 $(GO) test -race -count=1 -timeout $(TIMEOUT) $(TESTFLAGS) $(RACE)

lint: ## formatting, vet, static checks, layering and purity with types
	$(GO) run $(GOLANGCI_LINT) run ./...
	$(GO) run $(GOLANGCI_LINT) run --build-tags standin ./crypto/agree ./crypto/signature .

bench: ## benchmarks, with the command, the machine and the date (COUNT=6 for benchstat)
	@echo "command: make bench BENCHTIME=$(BENCHTIME) COUNT=$(COUNT)"
	@echo "version: $(VERSION)"
	@echo "machine: $$(uname -sm), $$(getconf _NPROCESSORS_ONLN) cores, $$($(GO) env GOVERSION)"
	@echo "date:    $$(date -u +%Y-%m-%dT%H:%MZ)"
	@$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -count $(COUNT) -p 1 -timeout 60m $(TESTFLAGS) ./...

# A module of its own: the brokers are no dependency of ours. Redis comes from the machine.
bench-brokers: build ## kith, Redis and NATS on the same disk, in turn: ROUNDS (3) with PHASE (5) seconds a phase
	@command -v redis-server >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >/dev/null; } || \
		{ echo 'redis-server is missing: install it first (Debian: apt-get install redis-server)' >&2; exit 2; }
	@cd .bench/brokers && $(GO) vet . && $(GO) build -o ../../bin/brokers .
	@echo "command: make bench-brokers ROUNDS=$(ROUNDS) PHASE=$(PHASE)"; echo "version: $(VERSION)"; redis-server --version
	@for conns in 1 64; do bin/brokers -kith bin/kith -rounds $(ROUNDS) -seconds $(PHASE) -conns $$conns; done

# A module of its own as well: what it compares with is under other licences, and heavy.
bench-crypto: ## sessions beside libsignal, ROUNDS (3) times in turn, and the ratchet beside doubleratchet, key by key
	$(note) cd crypto/compare && ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout 30m -run 'TestRatchet|TestAnother|TestCost' -v $(TESTFLAGS) .

# Large inputs would spend nearly all the time on being made smaller: 20 tries each.
fuzz: ## every fuzz target for FUZZTIME (5s)
	@failed=; log=$$(mktemp); trap 'rm -f "$$log"' EXIT; while IFS=: read -r file decl; do \
		target=$${decl#func }; package=$$(dirname "$$file"); echo "== $$package $$target"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "$$package" </dev/null 2>&1 | tee "$$log"; \
		if [ "$${PIPESTATUS[0]}" != 0 ]; then \
			if grep -q '^    context deadline exceeded$$' "$$log" && ! grep -q 'Failing input' "$$log"; then \
				echo "ended by its own clock (golang.org/issue/75804), no failing input"; \
			else failed="$$failed $$package:$$target"; fi; \
		fi; \
	done < <(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sort); \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

cover: ## statement coverage of the whole tree; the page is bin/cover.html
	@mkdir -p bin
	$(GO) test -count=1 -timeout $(TIMEOUT) -coverpkg=./... -coverprofile=bin/cover.out ./...
	@$(GO) tool cover -html=bin/cover.out -o bin/cover.html
	@$(GO) tool cover -func=bin/cover.out | tail -n 1

PROTOS = $(shell find . -name '*.proto' -not -path '*/testdata/*' -not -path './bin/*' | sed 's,^\./,,' | sort)
protoc-into = GOBIN='$(CURDIR)/bin/tools' $(GO) install $(PROTOC_GEN_GO) && \
	protoc --plugin=protoc-gen-go=bin/tools/protoc-gen-go -I . --go_out=$(1) --go_opt=paths=source_relative $(PROTOS)
need-protoc = command -v protoc >/dev/null || { echo 'protoc is missing: install it first (Debian: apt-get install protobuf-compiler)' >&2; exit 2; }

proto: ## regenerate the protobuf code from the .proto files (needs protoc)
	@$(need-protoc)
	@$(call protoc-into,.)
	@printf '%s\n' $(PROTOS)

check: check-build check-proto ## the build is reproducible, the generated code is current

# The tree is built twice, in two folders, the second time with an empty build
# cache: equal caches would compare a file with itself.
check-build:
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; mkdir -p "$$tmp"/one "$$tmp"/elsewhere/two; \
	for dir in one elsewhere/two; do tar -cf - --exclude=./.git --exclude=./bin . | tar -xf - -C "$$tmp/$$dir"; done; \
	(cd "$$tmp/one" && $(call build-into,kith)); \
	(cd "$$tmp/elsewhere/two" && GOCACHE="$$tmp/cache" GOFLAGS="$${GOFLAGS:-} -tags=standin" $(call build-into,kith)); \
	cmp "$$tmp/one/kith" "$$tmp/elsewhere/two/kith" || { echo 'two builds of one tree differ' >&2; exit 1; }; \
	"$$tmp/one/kith" version | grep -qF '$(VERSION)' || { echo 'the binary does not know its version: $(VERSION_VAR) is not a plain string' >&2; exit 1; }; \
	echo "reproducible build: sha256 $$( (sha256sum || shasum -a 256) 2>/dev/null <"$$tmp/one/kith" | cut -c 1-64)"

# The version of protoc itself stands in a comment and may differ.
check-proto:
	@$(need-protoc)
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; $(call protoc-into,"$$tmp"); \
	for proto in $(PROTOS); do go=$${proto%.proto}.pb.go; \
		diff -q -I '^//.*protoc  *v' "$$go" "$$tmp/$$go" || { echo "$$go is not what $$proto generates: make proto" >&2; exit 1; }; \
	done; echo "generated code is current: $(words $(PROTOS)) files"

check-unit: ## how exposed the relay's systemd unit is: 1.5 of 10 or better (needs systemd-analyze)
	@command -v systemd-analyze >/dev/null || { echo 'systemd-analyze is missing: install it first (Debian: apt-get install systemd)' >&2; exit 2; }
	systemd-analyze security --offline=yes --threshold=15 --no-pager docs/relay/kith-relay.service

root-test: ## tests that need root: network namespaces, mounts
	@[ "$$(id -u)" = 0 ] || { echo 'make root-test makes network namespaces and mounts: run it as root (sudo make root-test)' >&2; exit 2; }
	$(call run-tagged,root,,$(TIMEOUT),-run '$(call only-tagged,root)')

files: ## a file of SIZE (1 GiB) between two nodes and a relay, all killed twice on the way: time, memory, chunks sent again
	$(note) FILE_SIZE='$(SIZE)' $(GO) test ./cli/faults -count=1 -run TestAFileArrives -v -timeout 30m $(TESTFLAGS)

crash: ## kill -9 of real processes at random moments, CYCLES times (200)
	$(note) true
	$(call run-tagged,crash,KITH_CRASH_CYCLES=$(CYCLES),30m)

splits: ## every two-way split of seven real processes in network namespaces, with and without loss (root)
	@[ "$$(id -u)" = 0 ] || { echo 'make splits makes network namespaces: run it as root (sudo make splits)' >&2; exit 2; }
	$(note) KITH_SPLITS=all $(GO) test -count=1 -v -tags root -parallel 4 -timeout 60m -run TestEverySplitHeals $(TESTFLAGS) ./cli/faults

hostile: ## slow peers, a relay under attack by ten thousand streams, clocks that jump: minutes each; HOSTILE=regexp picks
	$(note) $(GO) test -count=1 -v -tags hostile -timeout 60m -run '$(HOSTILE)' $(TESTFLAGS) ./cli/faults

sim-standin: ## bin/kith-standin, a simulator with hashes for signatures and key agreements: worlds cost a third less, nothing is secret
	@mkdir -p bin
	$(call build-into,bin/kith-standin,standin)

# With the flags of the builds, so that nothing is compiled twice.
check-standin: export CGO_ENABLED = 0
check-standin: build sim-standin ## both builds play the same, neither can be taken for the other
	$(GO) vet -trimpath -tags standin ./crypto/... ./simnet/...
	$(GO) test -trimpath -count=1 -tags standin $(TESTFLAGS) ./crypto/agree ./crypto/signature
	$(GO) test -trimpath -count=1 -tags standin -run TestStandIn $(TESTFLAGS) . ./node/p2p

sim-fuzz: build ## schedules drawn from a seed: cuts, crashes, liars, lost disks; SEEDS of them (60), a failing one is shortened into bin/
	$(note) bin/kith sim fuzz --seeds 1..$(SEEDS) --out bin

groups: SEEDS = 1000
groups: ## groups at odds over cuts and absences, SEEDS of them (1000); then 64 members with 3 devices each, a tenth of them away
	$(note) SEEDS=$(SEEDS) $(GO) test -count=1 -v -run 'RandomGroups$$' -timeout 120m $(TESTFLAGS) ./simnet
	MEMBERS=64 DEVICES=3 MESSAGES=100 $(GO) test -count=1 -v -run GroupReaches -timeout 60m ./simnet

sessions: ## random schedules of two devices that lose envelopes, state and time, SCHEDULES of them (100,000) from seed FROM (1)
	$(note) SCHEDULES=$(SCHEDULES) FROM=$(FROM) $(GO) test -count=1 -v -run SchedulesLoseNothing -timeout 180m $(TESTFLAGS) ./node/mend

town: ## what a population of production engines costs, as a row of docs/simulation.md: USERS, DAYS, MESSAGES, CONTACTS, RELAYS, UNTIL (small without), CRYPTO=stand-in
	$(note) $(GO) test $(if $(filter stand-in,$(CRYPTO)),-tags standin) -count=1 -v -run TestCost -timeout $(TIMEOUT) $(TESTFLAGS) ./simnet/crowd

verify: ## the population model against closed forms and published figures, each with a control; VERIFY (5) times as much
	$(note) VERIFY=$(VERIFY) $(GO) test -count=1 -v -run TestClosedForms -timeout $(TIMEOUT) $(TESTFLAGS) ./simnet/verify

live: SEEDS = 3
live: ## real nodes in virtual time: a small town beside engines, SEEDS of them (3), then LIVE (90) people and a tenth of relays (3 at least) idle for a day
	@mkdir -p bin
	$(GO) build -o bin/livesim ./simnet/cmd/livesim
	$(note) bin/livesim -compare -seeds $(SEEDS) simnet/cmd/livesim/pair.toml
	bin/livesim -set users=$(LIVE) -set relays=$$(( $(LIVE) < 27 ? 3 : $(LIVE) / 9 )) simnet/cmd/livesim/idle.toml

live-stories: ## STORIES with real nodes in virtual time: those of at most four days, two minutes of one core
	$(note) STORIES='$(STORIES)' $(GO) test -count=1 -v -run StoriesHold -timeout 30m $(TESTFLAGS) ./simnet/live

models: ## the protocol's symbolic models, with their controls (needs swipl, see docs/models)
	@command -v swipl >/dev/null || { echo 'swipl is missing: install it first (Debian: apt-get install swi-prolog-nox)' >&2; exit 2; }
	$(note) timeout 300 swipl docs/models/run.pl
	@if command -v proverif >/dev/null; then timeout 3600 docs/models/proverif/run.sh; else echo 'proverif is not here: docs/models/proverif was not run'; fi

# The second implementation needs Node and four packages, which npm fetches by the hashes of the lock file.
VECTORS ?=# --write, to compute the files anew from their inputs
vectors: ## the second implementation (JavaScript, from the documents) computes every vector file and compares (needs node, npm)
	@command -v npm >/dev/null || { echo 'node and npm are missing: install them first (Debian: apt-get install npm; Node 20.19 or later)' >&2; exit 2; }
	@mkdir -p bin/model && cp docs/vectors/model/package.json docs/vectors/model/package-lock.json bin/model/
	@cd bin/model && npm ci --silent --no-audit --no-fund --ignore-scripts
	@trap 'rm -f docs/vectors/model/node_modules' EXIT; ln -sfn ../../../bin/model/node_modules docs/vectors/model/node_modules; \
	(cd docs/vectors/model && node run.mjs $(VECTORS))

fixture: ## homes of this build that later ones have to open, when the store has a new version
	$(GO) test -count=1 -tags fixture -run "TestWriteThe(Homes|Store)OfThisBuild" -v $(TESTFLAGS) ./cli/faults ./mailbox/boltbox
