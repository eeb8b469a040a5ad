# make help lists the targets.
.DEFAULT_GOAL := build
.PHONY: build shaders fmt help

build: ## build bin/vkeffnet
	go build -o bin/ ./cmd/...

shaders: ## compile the GLSL shaders and write their Go contract
	go run ./tools/glslc

fmt: ## format the Go sources
	gofmt -w .

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
