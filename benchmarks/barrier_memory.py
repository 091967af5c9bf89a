"""Peak memory of a barrier against its number of points and pairs: it must not grow.

python benchmarks/barrier_memory.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = """
import resource, sys, torch
from landscape_cli.cli.app import run
status = run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
sys.exit(status)
"""


def peak(*arguments):
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=True)
    return int(done.stderr.split()[-1])


def main():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        runs = [str(root / f"run{i}") for i in range(6)]
        for seed, run in enumerate(runs):
            peak(
                "train",
                "--data",
                "synthetic:sloppy",
                "--network",
                "mlp",
                "-N",
                "widths=2000,2000,2000",
                "--epochs",
                "0.1",
                "--checkpoints",
                "last",
                "--seed",
                str(seed),
                "--out",
                run,
                "--resume-states",
                "none",
            )
        measure = ["--split", "test", "--refine", "0", "--force"]
        print("mlp of 8.4 million weights (32 MiB); peak resident MiB of a whole process")
        print("  2 checkpoints,   3 points:", peak("barrier", *runs[:2], "--points", "3", *measure))
        print("  2 checkpoints, 101 points:", peak("barrier", *runs[:2], "--points", "101", *measure))
        print("  6 checkpoints,  15 pairs:", peak("barrier", *runs, "--pairs", "all", "--points", "3", *measure))


if __name__ == "__main__":
    main()
