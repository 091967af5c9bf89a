#!/usr/bin/env bash
# Fort et al. 2020, Fig. 2–4, a panel a picture. A: training. B: the error barrier between children against the time they
# were spawned. C, D: how far the parent's ReLU patterns, and its tangent kernels, of any two times are apart. E: distances
# between children at the end of training.
#
#   bash examples/fort2020-fig2.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/fort2020-runs.sh"

landscape plot fort/parent --out pictures/fort2020-fig2a.png --force
landscape barrier fort/parent-at-*ep-child? --pairs siblings --points 11 --split test --curve-out paths.jsonl \
    --out barriers.jsonl --force > /dev/null
landscape plot barriers.jsonl paths.jsonl --out pictures/fort2020-fig2b.png --force
landscape relu-dist fort/parent --at all | landscape plot --title "ReLU distance through training" \
    --out pictures/fort2020-fig2c.png --force
landscape kernel-dist fort/parent --at all --samples 60 | landscape plot --title "Kernel distance through training" \
    --out pictures/fort2020-fig2d.png --force
landscape compare fort/parent-at-*ep-child? --pairs siblings --points 11 --gradient-samples 300 \
    --measures barrier,weight,relu,function,kernel,gradient --out compared.jsonl --force > /dev/null
landscape plot compared.jsonl --out pictures/fort2020-fig2e.png --force
