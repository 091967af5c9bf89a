#!/usr/bin/env bash
# Mao et al. 2023, Fig. 10: trainings that begin elsewhere. Networks are first fitted to labels drawn at random, then trained
# on the true ones; beside them, trainings that begin near ignorance. On training images, and on test images (S.10).
#
#   bash examples/mao2023-fig10.sh [FOLDER]
set -euo pipefail
# One thread a process: networks this small gain nothing from a second, and the numbers do not hang on the cores.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
mkdir -p "${1:-examples-runs}/pictures" && cd "${1:-examples-runs}"

for seed in 1 2 3; do
    options=(--data digits --network mlp -N widths=128,64 --lr 0.05 --checkpoints mao2023 --resume-states none --seed "$seed")
    landscape train "${options[@]}" --epochs 60 --labels "random:$seed" --out "beginnings/random-$seed" > /dev/null
    landscape train "${options[@]}" --epochs 30 --init-from "beginnings/random-$seed" --out "beginnings/from-random-$seed" \
        > /dev/null
    landscape train "${options[@]}" --epochs 30 --out "beginnings/from-ignorance-$seed" > /dev/null
    printf 'beginnings/random-%d,random labels\nbeginnings/from-random-%d,then true labels\n' "$seed" "$seed"
    printf 'beginnings/from-ignorance-%d,true labels at once\n' "$seed"
done > stages.txt
(echo run,stage && cat stages.txt) > stages.csv
for split in train test; do
    landscape predict beginnings/* --at all --split "$split" --data digits --metadata stages.csv \
        --out "beginnings-$split.h5" > /dev/null
    landscape inpca "beginnings-$split.h5" --out "beginnings-$split-inpca.h5" > "beginnings-$split.jsonl"
    landscape progress "beginnings-$split.h5" --columns stage,run,step --out "beginnings-$split-progress.jsonl" --force \
        > /dev/null
done
landscape plot beginnings-train-inpca.h5 --color stage --title "Beginning elsewhere, train images" --height 3.6 \
    --out pictures/mao2023-fig10.png --force
landscape plot beginnings-test-inpca.h5 --color stage --title "Beginning elsewhere, test images" --height 3.6 \
    --out pictures/mao2023-s10.png --force
