#!/bin/sh
# make demo: trains the nano model progressively on photographs of clothes that are part of the program
# (Fashion-MNIST), then classifies held-out ones. Results are left in build/demo.
set -eu
cd "$(dirname "$0")/.."
out=build/demo
rm -rf "$out"
mkdir -p "$(dirname "$out")"
bin/vkeffnet devices
bin/vkeffnet train --data demo --model nano --out "$out" --seed 1 "$@"
bin/vkeffnet eval --weights "$out/best.safetensors" --data demo
