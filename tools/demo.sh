#!/bin/sh
# make demo: trains the nano model progressively on photographs of clothes that are part of the program
# (Fashion-MNIST), then classifies held-out ones. Results are left in build/demo.
set -eu
cd "$(dirname "$0")/.."
out=build/demo
rm -rf "$out"
mkdir -p "$(dirname "$out")"
# Without tuning, whose choices may differ from run to run and with them the last bits: the demo shows the same figures every time.
bin/vkeffnet train --data demo --model nano --out "$out" --seed 1 --no-tune "$@"
bin/vkeffnet eval --weights "$out/best.safetensors" --data demo --show 10
cat <<END

Curves are in $out/plots, weights in $out/best.safetensors. Train on your own images, in a folder for each class:
  bin/vkeffnet train --data FOLDER --model b0 --out RUN
  bin/vkeffnet predict --weights RUN/best.safetensors IMAGE...
END
