#!/usr/bin/env bash
# Fort et al. 2020, second half, on scikit-learn's digits: when has the tangent kernel learned the features, and what does
# training in the tangent space of t̃ reach? About ten minutes on two cores; interrupted, the same command goes on.
#
#   bash examples/tangent_space.sh [FOLDER]
set -euo pipefail
cd "$(mkdir -p "${1:-tangent-space}" && cd "${1:-tangent-space}" && pwd)"

times=0ep,0.5ep,1ep,2ep,4ep,8ep

# A parent with a checkpoint each half epoch, and two children of each time, as in the demonstration.
landscape train --data digits --network simple-cnn --width 0.5 --epochs 15 --batch-size 64 --lr 0.07 --schedule cosine \
    --checkpoints every:0.5ep --seed 0 --out runs/parent > /dev/null
landscape spawn runs/parent --at "$times" --children 2 --checkpoints last > /dev/null

# How far kernels are apart, and how fast the kernel moves, beside the barrier of the children of each time.
landscape kernel-dist runs/parent --at all --samples 200 --out kernels.jsonl --force > /dev/null
landscape plot kernels.jsonl --out kernels.png --force
landscape kernel-velocity runs/parent --dt 0.5ep --samples 200 > velocity.jsonl
landscape plot velocity.jsonl --out velocity.png --force
landscape gradient-dist runs/parent@0ep runs/parent@1ep runs/parent@8ep runs/parent --format table

# Training in the tangent space of t̃, and the network itself from t̃ at the same low rate.
landscape linearize runs/parent --at "$times,last" --low-lr --repeats 2 --lr 0.01 --epochs 30 > linearized.jsonl
landscape linearize runs/parent --at "$times,last" --solve --kernel trace --samples 1000 > regression.jsonl
landscape plot linearized.jsonl regression.jsonl --out linearized.png --force

# A linearised run is a run like any other: its way through prediction space, beside that of the parent.
landscape predict runs/parent runs/parent-at-*-order1-0 runs/parent-at-*-low-lr-0 --at all --out test.h5 > /dev/null
landscape progress test.h5 --columns all --out progress.jsonl --force > /dev/null
landscape plot progress.jsonl --color linearized --out progress.png --force
