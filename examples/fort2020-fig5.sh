#!/usr/bin/env bash
# Fort et al. 2020, Fig. 5: the plane through the parent at the spawn time and two children, for an early time and a late
# one: test error, distance to a child's function, and the error of the network linearised at the spawn point.
#
#   bash examples/fort2020-fig5.sh [FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/fort2020-runs.sh"

for at in 0ep 4ep; do
    landscape plane "fort/parent@$at" "fort/parent-at-$at-child0" "fort/parent-at-$at-child1" --grid 15 --to B \
        --linearize A --out "plane-$at.h5" --force > "plane-$at.jsonl"
    landscape plot "plane-$at.h5" --out "pictures/fort2020-fig5-$at.png" --force
    landscape plot "plane-$at.h5" --out "plane-$at.html" --force # to turn in a browser
done
