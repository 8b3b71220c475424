# SPDX-License-Identifier: Apache-2.0
# make run and make test are all a newcomer needs.

GO         ?= go
DATA       ?= data
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.1.4
FUZZTIME   ?= 20s

.PHONY: help run test race fuzz interop bench check vuln build clean
help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

build: ## build bin/sottod and bin/sottoload
	$(GO) build -o bin/ ./cmd/...

run: build ## a private server on localhost with alice and bob
	bin/sottod --data $(DATA) dev

test: ## all tests
	$(GO) test ./...

race: ## all tests with the race detector
	$(GO) test -race ./...

fuzz: ## each fuzz target for FUZZTIME
	$(GO) test ./xmpp -run xxx -fuzz FuzzDecoder -fuzztime $(FUZZTIME)
	$(GO) test ./xmpp -run xxx -fuzz FuzzJID -fuzztime $(FUZZTIME)
	$(GO) test ./offline -run xxx -fuzz FuzzDecodeMail -fuzztime $(FUZZTIME)
	$(GO) test ./crypto/omemo -run xxx -fuzz FuzzDecrypt -fuzztime $(FUZZTIME)

interop: build .tools/venv/ready ## sotto, slixmpp-omemo and profanity talk through a server that is killed
	.tools/venv/bin/python -W ignore testdata/interop/run.py bin

.tools/venv/ready:
	python3 -m venv .tools/venv
	.tools/venv/bin/pip install -q slixmpp==1.17.0 slixmpp-omemo==2.2.0 OMEMO==2.1.0 Oldmemo==2.1.0 Twomemo==2.1.0
	touch $@

bench: build ## micro-benchmarks, then this server beside Prosody and ejabberd
	$(GO) test ./xmpp ./offline -run xxx -bench .
	bin/sottoload

check: ## format, vet, staticcheck, sizes and import rules
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w ."; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) test -count=1 -v -run 'TestTidy' ./internal/tidy

vuln: ## known vulnerabilities (needs the vulnerability database on the network)
	$(GO) run $(GOVULNCHECK) ./...

clean: ## remove what was built and the private server's data
	rm -rf bin $(DATA)
