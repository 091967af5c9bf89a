#!/usr/bin/env bash
# Fort et al. 2020, Fig. 7: how fast the tangent kernel moves, beside the error barrier of children spawned then, and
# against it.
#
#   bash examples/fort2020-fig7.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/fort2020-runs.sh"

landscape kernel-velocity fort/parent --dt 0.5ep --samples 100 --points 11 --out velocity.jsonl --force > /dev/null
landscape plot velocity.jsonl --out pictures/fort2020-fig7.png --force
landscape plot velocity.jsonl --kind against-barrier --out pictures/fort2020-fig7-right.png --force
