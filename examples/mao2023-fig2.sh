#!/usr/bin/env bash
# Mao et al. 2023, Fig. 1–3 and 5: models of all trainings in the leading dimensions of their prediction space, on training
# and on test images, coloured by network; how many dimensions it takes, and their signs; and pairs of them, coloured by
# progress.
#
#   bash examples/mao2023-fig2.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/mao2023-runs.sh"

for split in train test; do
    landscape inpca "predictions-$split.h5" --out "$split.h5" > "$split.jsonl"
    landscape plot "$split.h5" --color network --title "InPCA of predictions on $split images" --height 3.3 \
        --out "pictures/mao2023-$split.png" --force
done
landscape plot train.h5 --color network --dims 1,2,3 --title "The same in three dimensions" --height 5 \
    --out pictures/mao2023-fig2a.png --force
landscape plot train.h5 --color network --dims 1,2,3 --out train.html --force # to turn in a browser
landscape plot train.h5 --kind stress --title "What m dimensions explain" --out pictures/mao2023-fig2b.png --force
landscape plot train.h5 --kind spectrum --title "Eigenvalues with their signs" --out pictures/mao2023-spectrum.png --force
landscape plot train.h5 --color error --dims 1,3 --title "First and third dimension" --height 3.6 --out pictures/mao2023-fig3.png --force
