#!/usr/bin/env bash
# Fort et al. 2020, Fig. 6, 10 and 11: how differently two children answer, against the barrier between them and through
# training; and t-SNE of the answers, and of the weights, of the parent and its children.
#
#   bash examples/fort2020-fig10.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/fort2020-runs.sh"

landscape compare fort/parent-at-*ep-child? --pairs siblings --points 11 --measures barrier,function \
    --out functions.jsonl --force > /dev/null
landscape plot functions.jsonl --kind scatter --out pictures/fort2020-fig6.png --force
landscape function-dist fort/parent-at-*ep-child? --at 8ep,9ep,10ep,11ep,12ep,13ep,14ep,15ep --pairs siblings \
    --out through.jsonl --force > /dev/null
landscape plot through.jsonl --kind through --out pictures/fort2020-fig10.png --force

# Each checkpoint is a point; lines join those of a run.
family=(fort/parent fort/parent-at-{0,1,8}ep-child[01])
landscape predict "${family[@]}" --at all --out family.h5 > /dev/null
landscape tsne family.h5 --distance bhattacharyya --perplexity 15 --out family-tsne.h5 --force > /dev/null
landscape plot family-tsne.h5 --color spawn_epoch --title "t-SNE of answers" --out pictures/fort2020-fig11.png --force
landscape weight-dist "${family[@]}" --at all --pairs all --matrix weights.h5 --force > /dev/null
landscape tsne weights.h5 --out weights-tsne.h5 --force > /dev/null
landscape plot weights-tsne.h5 --color spawn_epoch --title "t-SNE of weights" --out pictures/fort2020-fig11-weights.png --force
