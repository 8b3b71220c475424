# SPDX-License-Identifier: Apache-2.0
# make run and make test are all a newcomer needs.

GO         ?= go
DATA       ?= data
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.1.4
FUZZTIME   ?= 20s
CHAT       ?= yes

.PHONY: help run test race fuzz demo interop sint bench specs check vuln build clean
help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

build: ## build bin/sottod, bin/sotto and bin/sottoload
	$(GO) build -o bin/ ./cmd/...

run: build ## a private server on localhost with alice and bob (CHAT=no: without the client for browsers)
ifneq ($(CHAT),no)
	-@bin/sottod --data $(DATA) chat install
endif
	bin/sottod --data $(DATA) dev

test: ## all tests
	$(GO) test ./...

race: ## all tests with the race detector
	$(GO) test -race ./...

fuzz: ## each fuzz target for FUZZTIME
	$(GO) test ./xmpp -run xxx -fuzz FuzzDecoder -fuzztime $(FUZZTIME)
	$(GO) test ./xmpp -run xxx -fuzz FuzzStream -fuzztime $(FUZZTIME)
	$(GO) test ./xmpp -run xxx -fuzz FuzzSASL -fuzztime $(FUZZTIME)
	$(GO) test ./xmpp -run xxx -fuzz FuzzJID -fuzztime $(FUZZTIME)
	$(GO) test ./xmpp/frame -run xxx -fuzz FuzzFrame -fuzztime $(FUZZTIME)
	$(GO) test ./relay/web -run xxx -fuzz FuzzLane -fuzztime $(FUZZTIME)
	$(GO) test ./relay/web -run xxx -fuzz FuzzBosh -fuzztime $(FUZZTIME)
	$(GO) test ./xmpp/mam -run xxx -fuzz FuzzQuery -fuzztime $(FUZZTIME)
	$(GO) test ./xmpp/peer -run xxx -fuzz FuzzNames -fuzztime $(FUZZTIME)
	$(GO) test ./offline -run xxx -fuzz FuzzDecodeMail -fuzztime $(FUZZTIME)
	$(GO) test ./offline/blob -run xxx -fuzz FuzzHead -fuzztime $(FUZZTIME)
	$(GO) test ./relay/push -run xxx -fuzz FuzzEnable -fuzztime $(FUZZTIME)
	$(GO) test ./relay/chat -run xxx -fuzz FuzzPath -fuzztime $(FUZZTIME)
	$(GO) test ./relay/chat -run xxx -fuzz FuzzPack -fuzztime $(FUZZTIME)
	$(GO) test ./offline -run xxx -fuzz FuzzRecord -fuzztime $(FUZZTIME)
	$(GO) test ./relay/transfer -run xxx -fuzz FuzzRead -fuzztime $(FUZZTIME)
	$(GO) test ./crypto/ratchet -run xxx -fuzz FuzzWire -fuzztime $(FUZZTIME)
	$(GO) test ./crypto/omemo -run xxx -fuzz FuzzDecrypt -fuzztime $(FUZZTIME)
	$(GO) test ./internal/terminal -run xxx -fuzz FuzzSafe -fuzztime $(FUZZTIME)

demo: build ## the story of one message, unattended: sent, server killed, read, forgotten
	testdata/demo.sh

# Where others' work is found that this project does not ship: a folder with the
# oracles oracle_oldmemo.py and oracle_twomemo.py, and one with Smack's suite.
SOTTO_ORACLES ?=
SINT          ?=
PYTHON         = .tools/venv/bin/python

interop: build .tools/venv/ready .tools/node/ready .tools/chat.zip ## strangers' clients and sotto talk through a server that is killed
	$(PYTHON) -W ignore testdata/interop/run.py bin
	$(GO) test -count=1 -tags interop -run TestExpat ./xmpp
	$(GO) test -count=1 -tags interop -run TestPeers ./internal/script
ifeq ($(SOTTO_ORACLES),)
	@echo "interop: SOTTO_ORACLES is not set: python oldmemo and twomemo did not meet crypto live, only their recorded talks do (make test)"
else
	SOTTO_ORACLES=$(abspath $(SOTTO_ORACLES)) SOTTO_ORACLE_PY=$(abspath $(PYTHON)) $(GO) test -count=1 -v -run 'TestStranger' ./crypto/omemo
endif

sint: build ## Smack's integration suite, if SINT names its folder (needs Java and Maven)
	@test -n "$(SINT)" || { echo "sint: SINT is not set: name the folder that has the suite's run.sh"; exit 1; }
	python3 testdata/interop/sint.py bin $(SINT)

.tools/venv/ready: testdata/interop/requirements.txt
	python3 -m venv .tools/venv
	.tools/venv/bin/pip install -q -r $<
	touch $@

.tools/node/ready: testdata/interop/package.json
	mkdir -p .tools/node && cp $< .tools/node/
	cd .tools/node && npm install --silent --no-audit --no-fund
	touch $@

.tools/chat.zip: relay/chat/install.go
	bin/sottod --data .tools chat install
	touch $@

bench: build ## micro-benchmarks, then this server beside Prosody and ejabberd
	$(GO) test ./xmpp ./offline ./internal/terminal -run xxx -bench .
	bin/sottoload

specs: ## write docs/specs.md, docs/xeps.md and docs/sotto.doap from the code
	SOTTO_WRITE=1 $(GO) test -count=1 -run 'TestTidySpecs|TestTidyXEPs' ./internal/tidy

check: ## format, vet, staticcheck, sizes and import rules
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w ."; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) test -count=1 -v -run 'TestTidy' ./internal/tidy

vuln: ## known vulnerabilities (needs the vulnerability database on the network)
	$(GO) run $(GOVULNCHECK) ./...

clean: ## remove what was built and the private server's data
	rm -rf bin $(DATA)
