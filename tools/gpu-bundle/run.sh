#!/bin/sh
# Tests and times vkeffnet on this machine's GPU and leaves report.json, report.md and logs/ in the folder given by -out
# (default: report, beside this script). Needs a Vulkan driver and xz or python3; no Go, no compiler, no network.
#
# Where the machine lacks the Vulkan loader, put libvulkan.so.1, or Debian's libvulkan1_*.deb, into lib/ beside this
# script. ./run.sh -help lists the flags.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT INT TERM

# The programs, once; python3 can unpack them where there is no xz.
if [ ! -x "$here/programs/bin/report" ]; then
	mkdir -p "$here/programs"
	if command -v xz >/dev/null; then
		xz -dc "$here/programs.tar.xz" | tar -xf - -C "$here/programs"
	else
		python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$here/programs.tar.xz" "$here/programs"
	fi
fi

libs=$here/lib
for deb in "$here"/lib/*.deb; do
	[ -e "$deb" ] || continue
	if command -v dpkg-deb >/dev/null; then
		dpkg-deb -x "$deb" "$unpacked"
	else # a .deb is an ar archive that holds a tar archive
		(cd "$unpacked" && ar x "$deb" && tar xf data.tar.*)
	fi
done
for so in "$unpacked"/usr/lib/*/libvulkan.so.1 "$unpacked"/usr/lib/libvulkan.so.1; do
	[ ! -e "$so" ] || libs=$libs:$(dirname "$so")
done
export LD_LIBRARY_PATH="$libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

# Containers often mount a GPU's driver at a place where the loader does not look.
if [ -z "${VK_ICD_FILENAMES:-}${VK_DRIVER_FILES:-}" ]; then
	found=
	for icd in /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json; do
		[ ! -e "$icd" ] || found=yes
	done
	if [ -z "$found" ]; then
		for icd in /usr/local/*/share/vulkan/icd.d/*.json /opt/*/share/vulkan/icd.d/*.json; do
			[ ! -e "$icd" ] || export VK_DRIVER_FILES="${VK_DRIVER_FILES:+$VK_DRIVER_FILES:}$icd"
		done
		[ -z "${VK_DRIVER_FILES:-}" ] || export VK_ICD_FILENAMES="$VK_DRIVER_FILES"
	fi
fi
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$unpacked}"

"$here/programs/bin/report" -bundle "$here" "$@"
