#!/usr/bin/env bash
# Fort et al. 2020, Fig. 8, 9 and 19: what training in the tangent space of an epoch t̃ reaches, beside the network itself
# from there at the same low rate; the difference, the nonlinear advantage, also against the error barrier; and the same on
# the polynomial of order 2, and by regression on the tangent kernel.
#
#   bash examples/fort2020-fig8.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/fort2020-runs.sh"

landscape linearize fort/parent --at 0ep,1ep,2ep,4ep,8ep,last --low-lr --repeats 2 --lr 0.01 --epochs 8 \
    --out linearized > linearized.jsonl
landscape plot linearized.jsonl --out pictures/fort2020-fig8.png --force
landscape plot linearized.jsonl --kind advantage --out pictures/fort2020-fig9.png --force
landscape barrier fort/parent-at-*ep-child? --pairs siblings --points 11 --split test > barriers.jsonl
landscape plot linearized.jsonl barriers.jsonl --out pictures/fort2020-fig9-right.png --force

landscape linearize fort/parent --at 0ep,1ep,2ep,4ep --order 2 --low-lr --lr 0.01 --epochs 8 \
    --out linearized > order2.jsonl
landscape linearize fort/parent --at 0ep,1ep,2ep,4ep,8ep,last --solve --kernel trace --samples 500 > regression.jsonl
landscape plot linearized.jsonl order2.jsonl regression.jsonl --out pictures/fort2020-fig19.png --force
