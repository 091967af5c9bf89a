"""Peak memory of `landscape distances` against its --memory: it must stay within the budget and 10 %.

python benchmarks/distances_memory.py            all sizes, some minutes
python benchmarks/distances_memory.py --quick    the smallest ones

What the program itself takes (interpreter, torch, numba, HDF5 and the compiled kernels) is the peak of a process that
makes the same kind of matrix of 16 models on 16 samples; the budget is for what a process needs beyond that.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from landscape_cli.store.prediction_growth import PredictionSet
from landscape_cli.store.prediction_writer import create_predictions
from landscape_cli.store.tables import Table

CHILD = """
import resource, sys
from landscape_cli.cli.app import run
status = run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)
sys.exit(status)
"""

# models, samples, classes, budgets in MB, kind of distance, further options
QUICK = [
    (1_000, 1_000, 10, (100, 2000), "bhattacharyya", []),
    (2_000, 500, 10, (100, 300), "skl", []),
    (1_000, 200, 100, (100, 300), "bhattacharyya", ["--truth", "--ignorance", "--geodesic", "20"]),
]
ALL = [
    *QUICK,
    (4_000, 1_000, 10, (100, 300, 1000), "bhattacharyya", []),
    (4_000, 500, 10, (100, 1000), "geodesic", []),
    (4_000, 500, 10, (100, 1000), "euclidean", []),
    (1_000, 300, 1_000, (100, 300, 1000), "bhattacharyya", []),
    (1_000, 300, 1_000, (100, 1000), "bhattacharyya", ["--project-classes", "16"]),
    (20_000, 50, 10, (300, 2000), "bhattacharyya", []),
]


def make(path, models, samples, classes):
    rng = np.random.default_rng(0)
    rows = Table.from_rows([{"key": f"k{i}", "name": f"m{i}"} for i in range(models)])
    what = PredictionSet("test", "made", "made", classes, np.arange(samples) % classes, np.arange(samples))

    def log_probs():
        for _ in range(models):
            logits = 3 * rng.normal(size=(samples, classes))
            logits -= logits.max(1, keepdims=True)
            yield logits - np.log(np.exp(logits).sum(1, keepdims=True))

    create_predictions(path, what, rows, log_probs())


def peak(file, out, *options):
    command = [sys.executable, "-c", CHILD, "distances", str(file), "--out", str(out), "--device", "cpu", "--force"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stderr.split()[-1]), json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    sizes = QUICK if parser.parse_args().quick else ALL
    worst = 0.0
    print("models  samples classes distance        budget   program  peak beyond it  share  tile   read×  seconds")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for models, samples, classes, budgets, kind, options in sizes:
            make(root / "tiny.h5", 16, 16, classes)
            make(root / "p.h5", models, samples, classes)
            kinds = ["--distance", kind, *options]
            peak(root / "tiny.h5", root / "tiny-d.h5", *kinds)  # machine code of the kernels is kept from here on
            program, _ = peak(root / "tiny.h5", root / "tiny-d.h5", *kinds)
            for budget in budgets:
                memory = ["--memory", f"{budget}MB"]
                _, plan = peak(root / "p.h5", root / "d.h5", *kinds, *memory, "--dry-run")
                most, record = peak(root / "p.h5", root / "d.h5", *kinds, *memory)
                beyond = most - program
                worst = max(worst, beyond / (budget * 1e6))
                print(
                    f"{models:6} {samples:8} {classes:7} {kind:14} {budget:5} MB {program / 1e6:6.0f} MB "
                    f"{beyond / 1e6:12.0f} MB {beyond / (budget * 1e6):6.2f} {plan['tile']:6} "
                    f"{plan['bytes_read'] / (models * samples * classes * 4):6.1f} {record['seconds']:8.1f}",
                    flush=True,
                )
            (root / "p.h5").unlink()
            (root / "tiny.h5").unlink()
    print(f"most of a budget used: {worst:.2f}; the target is at most 1.10")


if __name__ == "__main__":
    main()
