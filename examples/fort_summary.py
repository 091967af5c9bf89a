"""The numbers of examples/fort_study.sh, from the files it leaves.

python examples/fort_summary.py FOLDER
"""

import json
import statistics
import sys
from pathlib import Path


def records(file, kind):
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def spread(values):
    error = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}{error}"


def settled(moved, bound):
    """The first epoch from which on nothing is above the bound; None if the last is."""
    above = [epoch for epoch, value in moved.items() if value >= bound]
    return min((epoch for epoch in moved if epoch > max(above, default=-1)), default=None)


def main(folder):
    parent = json.loads((folder / "runs" / "parent" / "run.json").read_text())
    data, last = parent["data"], parent["result"]
    print(
        f"{parent['config']['network']['name']} on {data['name']}, {data['train_samples']} training images, "
        f"{last['epoch']:g} epochs: test error {last['test_error']:.4f}, train error {last['train_error']:.4f}"
    )
    if last["test_error"] > 1 - 1.5 / data["classes"]:
        print("The parent has learned nothing: no barrier and no velocity below means anything. Lower --lr?")
    moved = {row["epoch"]: row["velocity"] for row in records(folder / "velocity.jsonl", "kernel-velocity")}
    barriers = {}
    for row in records(folder / "barriers.jsonl", "barrier"):
        barriers.setdefault(row["spawn_epoch"], []).append(row)
    print("\nspawned at epoch   error barrier (pairs)      error of the children   kernel velocity then (1/epoch)")
    for epoch, rows in sorted(barriers.items()):
        wall = f"{spread([row['error_sup'] for row in rows])} ({len(rows)})"
        errors = spread([row[f"error_{side}"] for row in rows for side in "ab"])
        speed = f"{moved[epoch]:.4f}" if epoch in moved else ""
        print(f"{epoch:16.4g}   {wall:24}   {errors:21}   {speed}")
    top = max(moved, key=moved.get)
    print(f"\nkernel velocity: largest {moved[top]:.3g} at epoch {top:.4g}", end="")
    for part in (10, 100, 1000):
        below = settled(moved, moved[top] / part)
        print(f"; below 1/{part} of it from epoch {below:.4g} on" if below is not None else "", end="")
    print()
    print("\ntangent space of epoch   linearised   network itself, low rate   nonlinear advantage")
    for row in records(folder / "linearized.jsonl", "linearization"):
        print(
            f"{row['spawn_epoch']:22.4g}   {row['test_error']:10.4f}   {row['low_lr_test_error']:24.4f}   "
            f"{row['advantage']:19.4f}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
