#!/usr/bin/env bash
# Mao et al. 2023, Fig. 4 and 9: how far models are from the geodesic between ignorance and truth on their way, and how
# soon each network makes progress, mean and standard deviation over optimisers and seeds.
#
#   bash examples/mao2023-fig4.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/mao2023-runs.sh"

landscape progress predictions-train.h5 --columns network,optimizer,seed,epoch,run --out progress.jsonl --force > /dev/null
landscape plot progress.jsonl --x progress --y distance_to_geodesic --color optimizer --out pictures/mao2023-fig4.png --force
landscape plot progress.jsonl --group-by network --out pictures/mao2023-fig9.png --force
