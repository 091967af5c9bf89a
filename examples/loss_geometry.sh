#!/usr/bin/env bash
# Fort et al. 2020, Fig. 2–5, on scikit-learn's digits, one command a panel; then a curve around the barrier of Fig. 2B.
# About fifteen minutes on two cores; interrupted, the same command goes on.
#
#   bash examples/loss_geometry.sh [FOLDER]
set -euo pipefail
cd "$(mkdir -p "${1:-loss-geometry}" && cd "${1:-loss-geometry}" && pwd)"

# A parent with a checkpoint each half epoch, and three children of each of seven times.
landscape train --data digits --network simple-cnn --width 0.5 --epochs 15 --batch-size 64 --lr 0.07 --schedule cosine \
    --checkpoints every:0.5ep --seed 0 --out runs/parent > /dev/null
landscape spawn runs/parent --at 0ep,0.5ep,1ep,2ep,4ep,8ep,12ep --children 3 --checkpoints last > /dev/null
early=runs/parent-at-0ep-child late=runs/parent-at-2ep-child

# Fig. 2–4. A: training. B: the error barrier between children against the time they were spawned. C, D: how far the
# parent's ReLU patterns and kernels of any two times are apart. E: distances between children at the end of training.
landscape plot runs/parent --out fig2a-training.png --force
landscape barrier runs/parent-at-* --pairs siblings --split test --curve-out paths.jsonl --out barriers.jsonl > /dev/null
landscape plot barriers.jsonl paths.jsonl --out fig2b-barrier.png --force
landscape relu-dist runs/parent --at all | landscape plot --out fig2c-relu.png --force
landscape kernel-dist runs/parent --at all --samples 100 | landscape plot --out fig2d-kernel.png --force
landscape compare runs/parent-at-* --pairs siblings | landscape plot --out fig2e-distances.png --force

# Fig. 5. The plane through the parent at the spawn time and two children, for an early time and a late one: error, distance
# to a child's function, and the error of the network linearised at the spawn point (s) and at the child (c).
landscape plane runs/parent@0ep "${early}0" "${early}1" --to B --linearize A --out early-s.h5 | landscape plot --out fig5-early-s.png --force
landscape plane runs/parent@0ep "${early}0" "${early}1" --to B --linearize B --out early-c.h5 | landscape plot --out fig5-early-c.png --force
landscape plane runs/parent@2ep "${late}0" "${late}1" --to B --linearize A --out late-s.h5 | landscape plot --out fig5-late-s.png --force
landscape plane runs/parent@2ep "${late}0" "${late}1" --to B --linearize B --out late-c.h5 | landscape plot --out fig5-late-c.png --force
landscape plot early-s.h5 --out fig5-early.html --force

# Appendix B: sharpness and the escape threshold along the parent's training.
landscape hessian runs/parent --at 0ep,0.5ep,1ep,2ep,4ep,8ep,last | landscape plot --out sharpness.png --force
landscape escape runs/parent --at 0ep,0.5ep,1ep,2ep,4ep,8ep,last | landscape plot --out escape.png --force

# Around the barrier: two children of epoch 0 joined by a trained curve (Garipov et al. 2018).
landscape curve "${early}0" "${early}1" --epochs 40 --out runs/curve --curve-out curve.jsonl --format table
landscape plot curve.jsonl --out curve.png --force
