#!/usr/bin/env bash
# Mao et al. 2023, Fig. 6, and S.3 and S.4: test models placed in the coordinates of training images (Eq. 10); and the
# coordinates that 50 of the training images give, laid over those of all.
#
#   bash examples/mao2023-fig6.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/mao2023-runs.sh"

landscape inpca predictions-train.h5 --project-test predictions-test.h5 --out both.h5 > both.jsonl
landscape plot both.h5 --color placed --title "Test images, placed by training images" --height 3.4 \
    --out pictures/mao2023-fig6a.png --force
landscape inpca predictions-train.h5 --out train.h5 > train.jsonl
landscape inpca predictions-train.h5 --fit-samples 50 --align train.h5 --out few.h5 > few.jsonl
landscape plot few.h5 --kind aligned --color network --title "Coordinates from 50 training images" --height 3.4 \
    --out pictures/mao2023-fig6b.png --force
