#!/bin/sh
# Makes the runs in this folder: a parent on the embedded digits, two children spawned at its first step and two at
# epoch 8. Run it in an empty copy of this folder; it takes about half a minute on two cores.
set -eu
landscape train --data digits --network simple-cnn --width 0.5 --lr 0.07 --schedule cosine --epochs 15 --batch-size 64 \
    --checkpoints 8ep --resume-states none --device cpu --threads 1 --out parent
landscape spawn parent --at 0ep --children 2 --name "early-{letter}" --checkpoints last --resume-states none \
    --device cpu --threads 1
landscape spawn parent --at 8ep --children 2 --name "late-{letter}" --checkpoints last --resume-states none \
    --device cpu --threads 1
rm -r parent/resume # the replayed state at epoch 8: spawning again replays it again
