#!/usr/bin/env bash
# Mao et al. 2023, Fig. 10: trainings that begin elsewhere. Networks are first fitted to labels drawn at random, then trained
# on the true ones; beside them, trainings that begin near ignorance.
#
#   bash examples/mao2023-fig10.sh [FOLDER]
set -euo pipefail
mkdir -p "${1:-examples-runs}/pictures" && cd "${1:-examples-runs}"

for seed in 1 2 3; do
    options=(--data digits --network mlp -N widths=128,64 --lr 0.05 --checkpoints mao2023 --resume-states none --seed "$seed")
    landscape train "${options[@]}" --epochs 60 --labels "random:$seed" --out "beginnings/random-$seed" > /dev/null
    landscape train "${options[@]}" --epochs 30 --init-from "beginnings/random-$seed" --out "beginnings/from-random-$seed" \
        > /dev/null
    landscape train "${options[@]}" --epochs 30 --out "beginnings/from-ignorance-$seed" > /dev/null
    printf 'beginnings/random-%d,fit to random labels\nbeginnings/from-random-%d,then to the true ones\n' "$seed" "$seed"
    printf 'beginnings/from-ignorance-%d,to the true ones at once\n' "$seed"
done > stages.txt
(echo run,stage && cat stages.txt) > stages.csv
landscape predict beginnings/* --at all --split train --data digits --metadata stages.csv --out beginnings.h5 > /dev/null
landscape inpca beginnings.h5 --out beginnings-inpca.h5 > /dev/null
landscape plot beginnings-inpca.h5 --color stage --out pictures/mao2023-fig10.png --force
