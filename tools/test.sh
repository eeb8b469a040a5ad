#!/bin/sh
# The whole test run; `make test` and continuous integration call it.
#
# 1. formatting and go vet
# 2. all tests on the drivers that the Vulkan loader finds: a GPU where there is one, else lavapipe
# 3. the packages that compute on devices again: on SwiftShader (a second, unrelated CPU driver), with the lowest
#    limits that Vulkan allows, and under the validation layer
#
# Every part runs, whatever failed before it. TEST_FLAGS is handed to go test.
set -u
cd "$(dirname "$0")/.."

swiftshader=/usr/lib/chromium/vk_swiftshader_icd.json
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}" # some loaders complain without one

# The packages that compute on devices: vk, and those whose tests use tests/shadertest.
computing="./vk $(go list -test -f '{{if .ForTest}}{{.ForTest}} {{.Deps}}{{end}}' ./... |
	awk '/vkeffnet\/tests\/shadertest/ {print $1}' | sort -u)"

begin=$(date +%s)
failed=
summary=
# part NAME COMMAND...: runs one part and notes its time.
part() {
	name=$1; shift
	echo
	echo "== $name"
	start=$(date +%s)
	if "$@"; then result=ok; else result=FAILED; failed=1; fi
	summary="$summary
$(printf '%-38s %6s  %4d s' "$name" "$result" $(($(date +%s) - start)))"
}

formatted() {
	files=$(gofmt -l .)
	[ -z "$files" ] || { echo "not formatted (make fmt):"; echo "$files"; return 1; }
	go vet ./...
}

# tests [NAME=VALUE...] PACKAGE...: go test in that environment; uncached, as results depend on drivers, which the
# cache does not know.
tests() (
	while case "$1" in *=*) true ;; *) false ;; esac; do
		export "${1?}"
		shift
	done
	go run ./cmd/vkeffnet devices
	go test -count=1 -timeout 20m ${TEST_FLAGS:-} "$@"
)

part "format and vet" formatted
part "all tests, default driver" tests ./...
if [ -e "$swiftshader" ]; then
	part "computing packages, SwiftShader" tests VK_ICD_FILENAMES="$swiftshader" VK_DRIVER_FILES="$swiftshader" $computing
else
	echo "no SwiftShader here ($swiftshader): its part is left out"
fi
part "computing packages, lowest limits" tests VKEFFNET_TEST_LOWER=1 $computing
part "computing packages, validation layer" tests VKEFFNET_TEST_VALIDATE=1 $computing

echo "$summary"
printf 'in all %d s\n' $(($(date +%s) - begin))
[ -z "$failed" ]
