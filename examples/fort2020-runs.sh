# Sourced by fort2020-*.sh: goes to the folder named first, or examples-runs, and makes the runs that all of them read,
# on scikit-learn's digits: a parent with a checkpoint each half epoch, and three children of each of six times. Made
# once: what is there is not made again.
# shellcheck shell=bash
set -euo pipefail
# One thread a process: networks this small gain nothing from a second, and the numbers do not hang on the cores.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
mkdir -p "${1:-examples-runs}/pictures" && cd "${1:-examples-runs}"

landscape train --data digits --network simple-cnn --width 0.5 --epochs 15 --batch-size 64 --lr 0.07 --schedule cosine \
    --checkpoints every:0.5ep --seed 0 --out fort/parent > /dev/null
landscape spawn fort/parent --at 0ep,0.5ep,1ep,2ep,4ep,8ep --children 3 --checkpoints every:1ep --resume-states none \
    > /dev/null
