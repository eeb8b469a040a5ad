#!/bin/sh
# Installs what is missing on Debian or Ubuntu; installs nothing, and asks for nothing, when all is there.
#
#   tools/setup.sh build   Go, a C compiler
#   tools/setup.sh run     and the Vulkan loader and a driver (lavapipe, on the CPU, where there is no other)
#   tools/setup.sh test    and the shader compiler, the validation layer and a second CPU driver, SwiftShader
#
# Root is needed for apt-get alone; sudo is used where the caller is not root.
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
fail() { say "error: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
exists() { for f in "$@"; do [ -e "$f" ] && return 0; done; return 1; }
# newer A B: version A is at least B.
newer() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

os_id=; os_codename=
if [ -r /etc/os-release ]; then
	os_id=$(. /etc/os-release; echo "${ID:-}")
	os_codename=$(. /etc/os-release; echo "${VERSION_CODENAME:-}")
fi

updated=
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif have sudo; then
		sudo "$@"
	else
		fail "this needs root and there is no sudo; run as root: $*"
	fi
}

# install WHY PACKAGE...: installs packages by apt-get.
install() {
	why=$1; shift
	have apt-get || fail "found no apt-get; install by hand what gives $why (Debian's names: $*)"
	say "installing $* ($why)"
	if [ -z "$updated" ]; then
		as_root apt-get -q update >&2
		updated=1
	fi
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$@" >&2
}

# candidate PACKAGE: the version that apt-get would install, without epoch; empty if none.
candidate() {
	apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: \([0-9]*:\)\{0,1\}\([0-9.]*\).*/\2/p'
}

want_go=$(sed -n 's/^go \([0-9.]*\).*/\1/p' go.mod)
go_works() { # Go 1.21 and newer fetch the version that go.mod names
	have go || return 1
	v=$(go env GOVERSION 2>/dev/null) && newer "${v#go}" "$want_go"
}

setup_build() {
	have gcc || have clang || install "a C compiler, for the Vulkan binding" gcc libc6-dev
	exists /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs /etc/ssl/cert.pem ||
		install "certificates, to fetch Go modules" ca-certificates
	go_works && return
	by_hand="install Go $want_go or newer and put its bin folder first in PATH"
	have apt-get || fail "$by_hand"
	if [ -z "$updated" ]; then
		as_root apt-get -q update >&2
		updated=1
	fi
	if newer "$(candidate golang-go)" 1.21; then
		install "Go $want_go or newer" golang-go
	elif [ "$os_codename" = bookworm ]; then
		say "adding bookworm-backports to the package sources, for Go"
		mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
			awk '$1 == "URIs:" || $1 == "deb" {for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) {print $i; exit}}')
		echo "deb $mirror bookworm-backports main" |
			as_root tee /etc/apt/sources.list.d/vkeffnet-backports.list >/dev/null
		updated=
		install "Go $want_go or newer" -t bookworm-backports golang-go
	fi
	go_works || fail "$by_hand"
}

setup_run() {
	setup_build
	ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1' || install "the Vulkan loader" libvulkan1
	[ -n "${VK_ICD_FILENAMES:-}${VK_DRIVER_FILES:-}" ] ||
		exists /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json "$HOME"/.local/share/vulkan/icd.d/*.json ||
		install "Mesa's Vulkan drivers, lavapipe for the CPU among them" mesa-vulkan-drivers
}

setup_test() {
	setup_run
	exists /usr/share/vulkan/icd.d/radeon_icd*.json || install "RADV, whose compiler tests/amd runs" mesa-vulkan-drivers
	have glslangValidator || install "the GLSL compiler" glslang-tools
	have spirv-val || install "the SPIR-V validator" spirv-tools
	exists /usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json /etc/vulkan/explicit_layer.d/VkLayer_khronos_validation.json ||
		install "the Vulkan validation layer" vulkan-validationlayers
	if ! exists /usr/lib/chromium/vk_swiftshader_icd.json; then
		if [ "$os_id" = debian ]; then
			install "SwiftShader, a second CPU driver, which Chromium brings" chromium
		else
			say "no SwiftShader: only Debian's chromium package brings it; the tests go on without a second CPU driver"
		fi
	fi
}

case "${1:-}" in
build | run | test) "setup_$1" ;;
*) echo "usage: tools/setup.sh build|run|test" >&2; exit 2 ;;
esac
