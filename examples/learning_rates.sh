#!/usr/bin/env bash
# Small, large and annealed learning rates on two kinds of patterns, after Li, Wei and Ma 2019 and Vetrov's lecture, at
# the size of a laptop: handwritten digits, a fifth of them plain, a fifth only a patch that tells the class, the rest
# both. Three short runs and a picture: error on clean images, and on the patch alone.
# Interrupted, the same command goes on. The experiment itself (WRN-16-10, a GPU):
#   landscape train --preset vetrov-annealed-lr --data patches:cifar10:DIR --out runs/annealed
#
#   bash examples/learning_rates.sh [FOLDER]
set -euo pipefail
# One thread a process: networks this small gain nothing from a second, and the numbers do not hang on the cores.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
mkdir -p "${1:-examples-runs}/pictures" && cd "${1:-examples-runs}"

train() { # small, large or annealed
    # 8×8 images have room for a patch of 3×3 only, with 9 numbers instead of 147: it is made three times as strong.
    landscape train --preset "vetrov-$1-lr" --network wrn-10-1 --batch-size 32 \
        --data patches:digits -D patch_position=corner -D patch_strength=0.3 \
        --seed "${SEED:-0}" --checkpoints every:2ep --resume-states none --out "learning-rates/$1" --quiet
}
export -f train

printf '%s\n' small large annealed | xargs -P "${JOBS:-2}" -I NAME bash -c 'train NAME'
landscape plot learning-rates/{small,large,annealed} --title "Small, large and annealed learning rates" \
    --out pictures/learning-rates.png --force

# Where each went: the width of its minimum on clean images, and both kinds of errors as columns of predictions.
landscape hessian learning-rates/* --split clean --samples 355 > learning-rates.jsonl
landscape predict learning-rates/* --split clean --out clean.h5 > /dev/null
landscape predict learning-rates/* --split patch --out patch.h5 > /dev/null
