#!/bin/sh
# The whole test run; `make test` and continuous integration call it.
#
# 1. formatting and go vet
# 2. all tests on the drivers that the Vulkan loader finds: a GPU where there is one, else lavapipe
# 3. what computes on devices again, whole networks as far as they are quick there: on SwiftShader (a second, unrelated CPU
#    driver), with the lowest limits that Vulkan allows, and under the validation layer
#
# Every part runs, whatever failed before it. TEST_FLAGS is handed to go test.
set -u
cd "$(dirname "$0")/.."

swiftshader=/usr/lib/chromium/vk_swiftshader_icd.json
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}" # some loaders complain without one

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

# tests FLAG-OR-PACKAGE...: go test, uncached: results depend on drivers, which the cache does not know.
tests() {
	go test -count=1 -timeout 20m ${TEST_FLAGS:-} "$@"
}

everything() {
	go run ./cmd/vkeffnet devices
	tests ./...
}

# computing NETWORKS [NAME=VALUE...]: the tests of part 3 in that environment; NETWORKS is a pattern of those whose whole
# steps are compared with torchvision's.
computing() (
	networks=$1; shift
	for assignment in "$@"; do
		export "${assignment?}"
	done
	go run ./cmd/vkeffnet devices
	result=0
	tests ./kernels ./layers ./effnetv2/... ./train ./cmd/internal/selftest ./tests/shadertest || result=1
	tests -run "//$networks" ./tests/parity || result=1 # test, device, network
	exit $result
)

part "format and vet" formatted
part "all tests, default driver" everything
if [ -e "$swiftshader" ]; then
	part "what computes, on SwiftShader" computing nano VK_ICD_FILENAMES="$swiftshader" VK_DRIVER_FILES="$swiftshader"
	part "runtime, on SwiftShader" env VK_ICD_FILENAMES="$swiftshader" VK_DRIVER_FILES="$swiftshader" go test -count=1 ./vk
else
	echo "no SwiftShader here ($swiftshader): its part is left out"
fi
part "what computes, lowest limits" computing '(nano|b0)' VKEFFNET_TEST_LOWER=1
part "what computes, validation layer" computing . VKEFFNET_TEST_VALIDATE=1
part "runtime, validation layer" env VKEFFNET_TEST_VALIDATE=1 go test -count=1 ./vk

echo "$summary"
printf 'in all %d s\n' $(($(date +%s) - begin))
[ -z "$failed" ]
