#!/usr/bin/env bash
# Fort et al. 2020, appendices B and C: sharpness through training, the density of the Hessian's spectrum, how far its top
# eigenspace is that of the logit-gradient centroids, the escape threshold; and how far these centroids are apart between
# any two times.
#
#   bash examples/fort2020-curvature.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/fort2020-runs.sh"

times=0ep,0.5ep,1ep,2ep,4ep,8ep,last
landscape hessian fort/parent --at "$times" --samples 500 --top 10 --overlap --density 2 --out hessian.jsonl --force \
    > /dev/null
landscape plot hessian.jsonl --out pictures/fort2020-sharpness.png --force
landscape plot hessian.jsonl --kind density --where "epoch in (0, 1, 15)" --out pictures/fort2020-density.png --force
landscape plot hessian.jsonl --kind overlap --out pictures/fort2020-overlap.png --force
landscape escape fort/parent --at "$times" --samples 500 --out escape.jsonl --force > /dev/null
landscape plot escape.jsonl --out pictures/fort2020-escape.png --force
landscape gradient-dist fort/parent --at all --samples 500 | landscape plot \
    --title "Logit-gradient centroids through training" --out pictures/fort2020-gradients.png --force
