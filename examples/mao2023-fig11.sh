#!/usr/bin/env bash
# Mao et al. 2023, Fig. 11 and 12: the three-coordinate reading. Ignorance, truth and two mean models on the way are embedded, all
# models are added to these, and what three coordinates explain of the distances is measured.
#
#   bash examples/mao2023-fig11.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/mao2023-runs.sh"

landscape inpca predictions-train.h5 --dims 3 --reading --out reading.h5 > reading.jsonl
landscape plot reading.h5 --kind reading --color network --out pictures/mao2023-fig11.png --force
