#!/usr/bin/env bash
# Mao et al. 2023, Fig. 7, S.6, S.7 and S.9: trainings compared at equal progress, on training and on test images. The tree
# of their distances, with the configuration of each; an InPCA of whole trainings; what tells them apart; how far they go
# off the geodesic, and how wide the tube of each network's runs is.
#
#   bash examples/mao2023-fig7.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/mao2023-runs.sh"

for split in train test; do
    landscape trajectories "predictions-$split.h5" --group-by network --out "trajectories-$split.h5" \
        > "trajectories-$split.jsonl"
    landscape cluster "trajectories-$split.h5" --importance --factors network,optimizer,seed --out "clusters-$split.h5" \
        > "clusters-$split.jsonl"
    landscape plot "trajectories-$split.h5" --title "18 trajectories, $split images" \
        --out "pictures/mao2023-tubes-$split.png" --force
done
landscape plot clusters-train.h5 --color network,optimizer --title "Trainings, by predictions on training images" \
    --out pictures/mao2023-fig7a.png --force
landscape inpca trajectories-train.h5 --out trainings.h5 > trainings.jsonl
landscape plot trainings.h5 --color network --marker optimizer --title "InPCA of whole trainings" \
    --out pictures/mao2023-fig7b.png --force
landscape plot clusters-train.h5 --kind importance --out pictures/mao2023-fig7c.png --force
landscape plot clusters-test.h5 --color network,optimizer --title "Trainings, by predictions on test images" \
    --out pictures/mao2023-s9.png --force
