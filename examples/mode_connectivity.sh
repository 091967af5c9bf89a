#!/usr/bin/env bash
# Mode connectivity, after Garipov et al. 2018 and Vetrov's lecture: two children of epoch 0 have a barrier between them on
# the straight line, and none along a trained curve.
#
#   bash examples/mode_connectivity.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/fort2020-runs.sh"

landscape curve fort/parent-at-0ep-child0 fort/parent-at-0ep-child1 --epochs 40 --out curve \
    --curve-out path.jsonl > curve.jsonl
landscape plot path.jsonl --title "Two children: straight line and trained curve" --out pictures/mode-connectivity.png --force
