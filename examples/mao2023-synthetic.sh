#!/usr/bin/env bash
# Mao et al. 2023, appendix E: students of a synthetic teacher, on sloppy inputs (eigenvalues that fall exponentially) and
# on isotropic ones; and students that begin near corners of prediction space.
#
#   bash examples/mao2023-synthetic.sh [FOLDER]
set -euo pipefail
mkdir -p "${1:-examples-runs}/pictures" && cd "${1:-examples-runs}"

for inputs in sloppy isotropic; do
    for corner in none 0 1 2; do
        begin=() && [ "$corner" = none ] || begin=(--init "corners:$corner")
        landscape train --data "synthetic:$inputs" --network mlp -N widths=128 -N batch_norm=true --epochs 8 \
            --batch-size 200 --lr 0.1 --momentum 0 --schedule cosine --prime-bn 5 --checkpoints mao2023 \
            --resume-states none --eval-train 500 --seeds 0..1 "${begin[@]}" --out "synthetic/$inputs-$corner" \
            > /dev/null
    done
    landscape predict synthetic/"$inputs"-*-seed? --at all --out "$inputs.h5" > /dev/null
    landscape inpca "$inputs.h5" --out "$inputs-inpca.h5" > /dev/null
    landscape plot "$inputs-inpca.h5" --color init --out "pictures/mao2023-$inputs.png" --force
done
