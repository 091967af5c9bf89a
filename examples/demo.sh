#!/usr/bin/env bash
# The demonstration, as 'make demo' runs it, and the first picture of the README: 3 parents, 30 children, the barriers
# between siblings, and the report of all.
#
#   bash examples/demo.sh [FOLDER]
set -euo pipefail
mkdir -p "${1:-examples-runs}/pictures" && cd "${1:-examples-runs}"

landscape demo --out demo > /dev/null
landscape plot demo/report/barriers.jsonl demo/report/paths.jsonl --out pictures/demo.png --force
