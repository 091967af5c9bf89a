#!/usr/bin/env bash
# One command from a folder of runs to the integrative figure of Fort et al. 2020 and a page: the report of the runs of
# fort2020-*.sh, with what was trained in their parent's tangent space (fort2020-fig8.sh) where that is there. (Without
# --without, predictions and the figure of Mao et al. 2023 too.)
#
#   bash examples/report.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/fort2020-runs.sh"

folders=(fort)
[ ! -d linearized ] || folders+=(linearized)
landscape report "${folders[@]}" --without predict,distances,embedding,progress,trajectories,clusters --out report \
    > report.jsonl
cp report/fort.png pictures/report.png
