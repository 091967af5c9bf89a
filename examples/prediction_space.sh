#!/usr/bin/env bash
# The main finding of Mao et al. 2023 at the size of a laptop: 24 runs on handwritten digits (4 architectures,
# 3 optimisers, 2 seeds) move through prediction space on one low-dimensional manifold.
# Makes runs/, predictions, distances, an embedding and pictures in a folder; about ten minutes on two cores.
# Usage: bash examples/prediction_space.sh [FOLDER]     Interrupted, the same command goes on.
set -euo pipefail
mkdir -p "${1:-prediction-space}" && cd "${1:-prediction-space}"

train() { # architecture optimiser seed
    local options=()
    case $1 in
        mlp) options+=(--network mlp -N widths=128,64) ;;
        simple-cnn) options+=(--network simple-cnn --width 0.5) ;;
        resnet20) options+=(--network resnet20 --width 0.5 --prime-bn 4) ;;
        wrn-10-1) options+=(--network wrn-10-1 --width 0.5 --prime-bn 4) ;;
    esac
    case $2 in
        sgd) options+=(--optimizer sgd --momentum 0 --lr 0.1) ;;
        nesterov) options+=(--optimizer nesterov --lr 0.03) ;;
        adam) options+=(--optimizer adam --lr 0.002) ;;
    esac
    landscape train --data digits "${options[@]}" --seed "$3" --epochs 20 --batch-size 64 --schedule cosine \
        --checkpoints mao2023 --resume-states none --threads 1 --out "runs/$1-$2-$3" --quiet
}
export -f train

for architecture in resnet20 simple-cnn wrn-10-1 mlp; do
    for optimizer in sgd nesterov adam; do
        for seed in 0 1; do echo "$architecture $optimizer $seed"; done
    done
done | xargs -P "${JOBS:-2}" -L 1 bash -c 'train "$@"' _

# One file of predictions: every checkpoint of every run on the same test images.
landscape predict runs/* --at all --out test.h5
landscape distances test.h5 --truth --ignorance --geodesic 20 --out distances.h5
landscape inpca distances.h5 --dims 6 --out embedding.h5
landscape plot embedding.h5 --color network --out embedding.png
landscape plot embedding.h5 --color network --dims 1,2,3 --out embedding.html
landscape plot embedding.h5 --kind spectrum --out spectrum.png
landscape plot embedding.h5 --kind stress --out stress.png

# How far each model is, and how each run goes at equal progress.
landscape progress test.h5 --columns network,optimizer --out progress.jsonl > /dev/null
landscape plot progress.jsonl --group-by network --out progress.png
landscape trajectories test.h5 --group-by network,optimizer --out trajectories.h5
landscape cluster trajectories.h5 --clusters 4 --importance --factors network,optimizer,seed --out clusters.h5
landscape plot clusters.h5 --color network,optimizer --out dendrogram.png
landscape plot clusters.h5 --kind importance --out importance.png

# Mean models of the trained networks: an ensemble by seven means.
landscape centroid test.h5 --where "epoch == 20" --group-by network --out centroids.h5
