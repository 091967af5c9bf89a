#!/usr/bin/env bash
# Mao et al. 2023, Fig. 4, 8 and 9: how far models are from the geodesic between ignorance and truth on their way; their
# progress against their error, on training and on test images; and how soon each network makes progress, mean and standard
# deviation over optimisers and seeds.
#
#   bash examples/mao2023-fig4.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/mao2023-runs.sh"

for split in train test; do
    landscape progress "predictions-$split.h5" --columns network,optimizer,seed,epoch,run --out "progress-$split.jsonl" \
        --force > /dev/null
    landscape plot "progress-$split.jsonl" --x error --color network --line none --title "Progress and error, $split images" \
        --out "pictures/mao2023-fig8-$split.png" --force
done
landscape plot progress-train.jsonl --x progress --y distance_to_geodesic --color network --line none \
    --title "Off the geodesic, train images" --out pictures/mao2023-fig4.png --force
landscape plot progress-train.jsonl --group-by network --title "Progress, train images" --out pictures/mao2023-fig9.png --force
