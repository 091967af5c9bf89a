# Sourced by mao2023-*.sh: goes to the folder named first, or examples-runs, and makes what most of them read: 18 runs on
# scikit-learn's digits (sweeps/mao2023-digits.toml: 3 networks × 3 optimisers × 2 seeds) and the predictions of all their
# checkpoints on training and on test images. Made once: what is there is not made again.
# shellcheck shell=bash
set -euo pipefail
# One thread a process: networks this small gain nothing from a second, and the numbers do not hang on the cores.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
sweeps="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/sweeps"
mkdir -p "${1:-examples-runs}/pictures" && cd "${1:-examples-runs}"

landscape sweep "$sweeps/mao2023-digits.toml" --out mao > /dev/null
landscape predict mao/*-s? --at all --split both > /dev/null
