#!/usr/bin/env bash
# Mao et al. 2023, appendix D. S.8: the manifold of test images, coloured by error. S.11 and S.12: the same models by other
# distances, IsKL, geodesic and PCA. S.13: means of networks.
#
#   bash examples/mao2023-appendix-d.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/mao2023-runs.sh"

landscape inpca predictions-test.h5 --out test.h5 > test.jsonl
landscape plot test.h5 --color error --title "Test images" --height 3.2 --out pictures/mao2023-s8.png --force

for method in iskl geodesic pca; do
    landscape inpca predictions-train.h5 --method "$method" --out "$method.h5" > "$method.jsonl"
    landscape plot "$method.h5" --color network --height 3.4 --out "pictures/mao2023-$method.png" --force
done

# Where training ends: the means of the six networks of a kind, three optimisers by two seeds; and of the mlps on their way.
landscape centroid predictions-test.h5 --where "epoch == 15" --group-by network --out means.h5 > means.jsonl
landscape progress predictions-test.h5 --where "epoch == 15" --columns network --out members.jsonl --force > /dev/null
landscape centroid predictions-test.h5 --where "network == 'mlp'" --kind arithmetic,geometric,harmonic --group-by epoch \
    --out means-mlp.h5 > /dev/null
landscape inpca test.h5 --project means-mlp.h5 --out test-means.h5 > /dev/null
landscape plot test-means.h5 --where "network == 'mlp'" --color centroid --line none --title "Six mlps and their means" \
    --height 3.4 --out pictures/mao2023-s13.png --force
