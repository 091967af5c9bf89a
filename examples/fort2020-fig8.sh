#!/usr/bin/env bash
# Fort et al. 2020, Fig. 8 and 9: what training in the tangent space of an epoch t̃ reaches, beside the network itself from
# there at the same low rate; and the difference, the nonlinear advantage.
#
#   bash examples/fort2020-fig8.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/fort2020-runs.sh"

landscape linearize fort/parent --at 0ep,1ep,2ep,4ep,8ep,last --low-lr --repeats 2 --lr 0.01 --epochs 8 \
    --out linearized > linearized.jsonl
landscape plot linearized.jsonl --out pictures/fort2020-fig8.png --force
landscape plot linearized.jsonl --kind advantage --out pictures/fort2020-fig9.png --force
