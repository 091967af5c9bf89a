#!/usr/bin/env bash
# Fort et al. 2020 in small, end to end: a parent, children of several times, the error barriers between them, how far
# and how fast the parent's tangent kernel moves, what training in its tangent space reaches; a picture of each, and a
# table of the numbers. On digits, under five minutes on two cores; interrupted, the same command goes on.
#
#   bash examples/fort_study.sh [FOLDER] [OPTIONS OF landscape train ...]
#
# The options choose data, network and protocol, for example:
#
#   CHILDREN=2 IMAGES=1000 AT=0ep,0.5ep,1ep,2ep,4ep bash examples/fort_study.sh fashion --data fashion-mnist:DIR \
#       --train-size 3000 --epochs 8 --batch-size 32 --lr 0.02 --schedule step --milestones 6 --eval-train 1000
#   bash examples/fort_study.sh cifar --data cifar10:DIR --train-size 5000 --network resnet20 --epochs 12 --lr 0.1 \
#       --weight-decay 1e-4 --augment crop+flip --eval-train 1000
#
# The rest is set by variables: AT (spawn times), CHILDREN (of each), LINEAR_AT, LINEAR_EPOCHS and LINEAR_LR (tangent
# spaces, and training in them), IMAGES (test images of a barrier; default all of the data's), SAMPLES (of a kernel).
set -euo pipefail
folder="${1:-fort-study}"
shift || true
at="${AT:-0ep,0.25ep,0.5ep,1ep,2ep,4ep,8ep}"
linear_at="${LINEAR_AT:-0ep,1ep,4ep,last}"
runs="$folder/runs"
images=(${IMAGES:+--samples "$IMAGES" --bn-samples "$IMAGES"})
samples=(--samples "${SAMPLES:-100}")
mkdir -p "$runs"

# A parent with a checkpoint each half epoch, and at first each quarter; children that leave it at each time.
landscape train --data digits --network simple-cnn --width 0.5 --epochs 15 --batch-size 64 --lr 0.07 --schedule cosine \
    --checkpoints every:0.5ep+0.25ep,0.75ep,1.25ep "$@" --out "$runs/parent" > /dev/null
landscape spawn "$runs/parent" --at "$at" --children "${CHILDREN:-3}" --checkpoints last > /dev/null

# Fig. 2B: the barrier between siblings against the time they were spawned.
landscape barrier "$runs"/parent-at-*-child? --pairs siblings --points 11 --split test ${images[@]+"${images[@]}"} \
    --curve-out "$folder/paths.jsonl" --out "$folder/barriers.jsonl" --force > /dev/null
landscape plot "$folder/barriers.jsonl" --out "$folder/barrier.png" --force

# Fig. 2D and 7: how far the kernels of any two times are apart, and how fast the kernel moves.
landscape kernel-dist "$runs/parent" --at all "${samples[@]}" --matrix "$folder/kernels.h5" \
    --out "$folder/kernels.jsonl" --force > /dev/null
landscape plot "$folder/kernels.jsonl" --out "$folder/kernels.png" --force
landscape kernel-velocity "$runs/parent" --dt 0.5ep "${samples[@]}" --no-barriers \
    --out "$folder/velocity.jsonl" --force > /dev/null
landscape plot "$folder/velocity.jsonl" --out "$folder/velocity.png" --force

# Fig. 8: training in the tangent space of a time, and the network itself from there at the same low rate.
landscape linearize "$runs/parent" --at "$linear_at" --low-lr --lr "${LINEAR_LR:-0.01}" \
    --epochs "${LINEAR_EPOCHS:-10}" --augment none --checkpoints last > "$folder/linearized.jsonl"
landscape plot "$folder/linearized.jsonl" --out "$folder/linearized.png" --force

landscape plot "$runs/parent" --out "$folder/training.png" --force
python "$(dirname "${BASH_SOURCE[0]}")/fort_summary.py" "$folder"
