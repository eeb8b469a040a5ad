#!/bin/sh
# Trains nano and B0 from several seeds in each precision on the demo's data and prints the top-1 on the 10000 test images of
# Fashion-MNIST (Debian's dataset-fashion-mnist; without it on the demo's 1000), as in docs/measurements/precision.md. The runs are
# left in build/precision; those that are there are not repeated.
#   tools/precision.sh [PRECISION...]      default: f32 f16 bf16
# VKEFFNET is the command to run (bin/vkeffnet), MODELS the networks ("nano b0"), SEEDS the seeds ("1 2 3"), OUT the folder.
set -eu
cd "$(dirname "$0")/.."
vkeffnet=${VKEFFNET:-bin/vkeffnet}
models=${MODELS:-nano b0}
seeds=${SEEDS:-1 2 3}
out=${OUT:-build/precision}
[ $# -gt 0 ] || set -- f32 f16 bf16
test=/usr/share/datasets/fashion-mnist
[ -d "$test" ] && test=idx:$test || test=demo
mkdir -p "$out"

# One stage, crops and flips only: the precision is all that differs.
common="--data demo --stages 1 --first-size 32 --train-size 32 --eval-size 32 --eval-crop squash --crop-area-min 0.9
	--augment-ops 0 --first-magnitude 0 --magnitude 0 --drop-path 0 --first-dropout 0 --dropout 0 --decay cosine
	--eval-every 0 --checkpoint-every 0 --epochs 3 --ema-decay 0.99"
for model in $models; do
	case $model in
	nano) flags="$common --batch 64 --learning-rate 0.008" ;;
	*) flags="$common --batch 32 --learning-rate 0.002" ;;
	esac
	for seed in $seeds; do
		for precision; do
			run=$out/$model-$precision-$seed
			[ ! -f "$run.json" ] || continue
			rm -rf "$run"
			# shellcheck disable=SC2086 # flags are words
			"$vkeffnet" train --model "$model" $flags --seed "$seed" --precision "$precision" --out "$run"
			"$vkeffnet" eval --weights "$run/last.safetensors" --data "$test" --batch 100 --precision "$precision" --json >"$run.part"
			mv "$run.part" "$run.json"
		done
	done
done

for model in $models; do
	for precision; do
		for seed in $seeds; do
			sed 's/^{"top1":\([0-9.]*\),.*/\1/' "$out/$model-$precision-$seed.json"
		done | awk -v name="$model $precision" '
			{ sum += $1; each = each sprintf(" %.1f", 100 * $1) }
			END { printf "%-10s top-1 %.1f (seeds:%s)\n", name, 100 * sum / NR, each }'
	done
done
