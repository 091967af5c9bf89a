#!/usr/bin/env bash
# Mao et al. 2023, Fig. 7 and S.6: trainings compared at equal progress. The tree of their distances, with the
# configuration of each; an InPCA of whole trainings; what tells them apart; how wide the tube of each network's runs is.
#
#   bash examples/mao2023-fig7.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/mao2023-runs.sh"

landscape trajectories predictions-train.h5 --group-by network --out trajectories.h5 > /dev/null
landscape cluster trajectories.h5 --importance --factors network,optimizer,seed --out clusters.h5 > /dev/null
landscape plot clusters.h5 --color network,optimizer --out pictures/mao2023-fig7a.png --force
landscape inpca trajectories.h5 --out trainings.h5 > /dev/null
landscape plot trainings.h5 --color network --marker optimizer --out pictures/mao2023-fig7b.png --force
landscape plot clusters.h5 --kind importance --out pictures/mao2023-fig7c.png --force
landscape plot trajectories.h5 --out pictures/mao2023-tubes.png --force
