# make help lists the targets.
.DEFAULT_GOAL := build
.PHONY: build demo test check shaders amd bench gpu-bundle fmt clean help

build: ## build bin/vkeffnet (needs Go and a C compiler; no shader compiler)
	tools/setup.sh build
	go build -o bin/ ./cmd/...

demo: ## install what is missing, train on real photographs, classify held-out ones
	tools/setup.sh run
	go build -o bin/ ./cmd/...
	tools/demo.sh

test: ## install what is missing, run all tests on all drivers: what CI runs
	tools/setup.sh test
	tools/test.sh

check: ## the quick part of test: format, vet, all tests on the default driver
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "not formatted (make fmt):"; echo "$$files"; exit 1; }
	go vet ./...
	go test ./...

shaders: ## compile the GLSL shaders and write their Go contract; NEWER=glslangValidator 15 or newer, for those that need it
	go run ./tools/glslc $(if $(NEWER),-newer $(NEWER))

amd: ## compile all kernels with AMD's compiler, without a GPU, and print registers, occupancy and latency
	go test -count=1 -v ./tests/amd

bench: build ## time kernels, inference and training steps on this machine
	bin/vkeffnet bench --suite kernels
	bin/vkeffnet bench --suite infer --model b0 --size 224 --batch 1
	bin/vkeffnet bench --suite train --model b0 --size 64 --batch 8

gpu-bundle: ## build build/gpu-bundle: tests and benchmarks for a machine with a GPU and no Go
	tools/setup.sh build
	tools/gpu-bundle/build.sh

fmt: ## format the Go sources
	gofmt -w .

clean: ## remove what make built
	rm -rf bin build

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
