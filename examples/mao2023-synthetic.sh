#!/usr/bin/env bash
# Mao et al. 2023, appendix E: students of a synthetic teacher, on sloppy inputs (eigenvalues that fall exponentially) and
# on isotropic ones; and students that begin near corners of prediction space.
#
#   bash examples/mao2023-synthetic.sh [FOLDER]
set -euo pipefail
# One thread a process: networks this small gain nothing from a second, and the numbers do not hang on the cores.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
mkdir -p "${1:-examples-runs}/pictures" && cd "${1:-examples-runs}"

for inputs in sloppy isotropic; do
    for corner in none 0 1 2; do
        begin=() && [ "$corner" = none ] || begin=(--init "corners:$corner")
        landscape train --data "synthetic:$inputs" --network mlp -N widths=128 -N batch_norm=true --epochs 8 \
            --batch-size 200 --lr 0.1 --momentum 0 --schedule cosine --prime-bn 5 --checkpoints mao2023 \
            --resume-states none --eval-train 500 --seeds 0..1 ${begin[@]+"${begin[@]}"} --out "synthetic/$inputs-$corner" \
            > /dev/null
    done
    echo run,begins > begins.csv
    for run in synthetic/"$inputs"-*-seed?; do
        case $run in *-none-*) echo "$run,near ignorance" ;; *) echo "$run,corner ${run:$((${#run} - 7)):1}" ;; esac
    done >> begins.csv
    landscape predict synthetic/"$inputs"-*-seed? --at all --metadata begins.csv --out "$inputs.h5" > /dev/null
    landscape inpca "$inputs.h5" --out "$inputs-inpca.h5" > "$inputs.jsonl"
    landscape progress "$inputs.h5" --columns begins,epoch,run --out "$inputs-progress.jsonl" --force > /dev/null
    landscape plot "$inputs-inpca.h5" --color begins --title "Students of a teacher, $inputs inputs" --height 3.6 \
        --out "pictures/mao2023-$inputs.png" --force
done
