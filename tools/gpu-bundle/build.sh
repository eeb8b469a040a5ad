#!/bin/sh
# Builds build/gpu-bundle: one folder that tests and times the program on a machine with a GPU, without Go and without
# the sources. `make gpu-bundle` calls it. The programs share much, so they are packed together; the folder stays below
# 40 MB.
set -eu
cd "$(dirname "$0")/../.."
out=build/gpu-bundle
module=$(go list -m)
rm -rf "$out"
programs=$out/programs # what becomes programs.tar.xz
mkdir -p "$programs/bin" "$out/lib"

go build -trimpath -ldflags '-s -w' -o "$programs/bin/vkeffnet" ./cmd/vkeffnet
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$programs/bin/report" ./tools/gpu-bundle
cp tools/gpu-bundle/run.sh tools/gpu-bundle/torch_peer.py LICENSE NOTICE "$out/"
git log -1 --format='%H %cI' >"$out/version" 2>/dev/null || echo unknown >"$out/version"

# Every package whose tests reach the device, at its own place below pkg/, so that paths to test data stay right.
# Left out: shaders and tests themselves, which check the sources, and what looks at plans through RADV, without a device.
packages=$(go list -test -f '{{if .ForTest}}{{.ForTest}} {{.Deps}}{{end}}' ./... |
	awk -v vk="$module/vk" '{ for (i = 2; i <= NF; i++) { d = $i; gsub(/[\[\]]/, "", d); if (d == vk) print $1 } if ($1 == vk) print $1 }' |
	sort -u | grep -vx -e "$module/shaders" -e "$module/tests" -e "$module/tests/amd" -e "$module/tests/plans" -e "$module/tests/traffic")
for p in $packages; do
	dir=${p#"$module"/}
	mkdir -p "$programs/pkg/$dir"
	go test -c -trimpath -ldflags '-s -w' -o "$programs/pkg/$dir/package.test" "./$dir"
	[ ! -d "$dir/testdata" ] || cp -r "$dir/testdata" "$programs/pkg/$dir/"
done
if [ -d tests/golden ]; then
	mkdir -p "$programs/pkg/tests"
	cp -r tests/golden "$programs/pkg/tests/"
	find "$programs/pkg/tests/golden" -name '*.go' -delete
fi

# A fast preset, but a dictionary that reaches over all programs: they have the runtime and the data sets in common.
tar -C "$programs" --sort=name --owner=0 --group=0 --mtime=@0 -cf - . | xz --lzma2=preset=1,dict=256MiB >"$out/programs.tar.xz"
rm -r "$programs"

size=$(du -sm "$out" | cut -f 1)
echo "$out: $size MB; copy it to the machine and run ./run.sh there"
[ "$size" -lt 40 ] || { echo "gpu-bundle: error: $size MB, want below 40" >&2; exit 1; }
