"""Kernel distances between all checkpoints of a run: time against as many single kernels, and peak memory.

python benchmarks/kernel_matrix.py [--checkpoints 60] [--samples 500] [--kernel trace]

simple-cnn on 3 × 32 × 32 made-up images, a checkpoint each step. The command runs in a process of its own, whose
imports are not timed; single kernels are timed in it afterwards, on the same samples. Memory is the peak of that process,
imports included.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCH = 8


def measure(run_folder, samples, form):
    """In the child: the command, then single kernels; prints seconds and bytes."""
    import torch

    from landscape_cli.cli.app import run
    from landscape_cli.compute.device import place, placement
    from landscape_cli.compute.tangent.kernels import tangent_kernel
    from landscape_cli.networks.registry import NetworkSpec, build
    from landscape_cli.store.runs import Run

    network = place(build(NetworkSpec("simple-cnn"), (3, 32, 32), 10), placement("cpu", "float32"))
    inputs = torch.randn(samples, 3, 32, 32).contiguous(memory_format=torch.channels_last)

    def single():
        begun = time.perf_counter()
        tangent_kernel(network, inputs, form=form, memory=1_000_000_000)
        return time.perf_counter() - begun

    single()
    before = single()
    begun = time.perf_counter()
    asked = f"kernel-dist {run_folder} --at all --kernel {form} --samples {samples} --split test --quiet"
    status = run([*asked.split(), "--matrix", f"{run_folder}.h5"])
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    ones = [before, single()]
    one = sum(ones) / 2
    kernels = len(Run.open(Path(run_folder)).steps())
    print(
        f"simple-cnn, {form} kernel, n = {samples}: {kernels} checkpoints {seconds:.1f} s; one kernel "
        f"{ones[0]:.2f} s before, {ones[1]:.2f} s after; {seconds / (kernels * one):.2f} × as many single kernels; peak "
        f"{peak / 1e6:.0f} MB",
        file=sys.stderr,
    )
    sys.exit(status)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoints", type=int, default=60)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--kernel", default="trace", choices=["full", "trace", "pseudo"])
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        measure(asked.inside, asked.samples, asked.kernel)
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        count = BATCH * (asked.checkpoints - 1)  # one epoch of one step less, as step 0 has a checkpoint too
        many = max(count, asked.samples)
        images = rng.integers(0, 256, (many, 3, 32, 32)).astype(np.uint8)
        labels = np.arange(many) % 10
        made = Path(folder) / "made.npz"
        np.savez(made, x_train=images[:count], y_train=labels[:count], x_test=images, y_test=labels)
        environment = {**os.environ, "LANDSCAPE_CACHE": f"{folder}/cache"}
        train = [sys.executable, "-m", "landscape_cli", "train", "--data", f"npz:{made}", "--network", "simple-cnn"]
        train += ["--epochs", "1", "--batch-size", str(BATCH), "--lr", "0.01"]
        train += ["--checkpoints", "every:step:1", "--eval-train", "100", "--resume-states", "none", "--quiet"]
        subprocess.run([*train, "--out", f"{folder}/run"], check=True, env=environment, stdout=subprocess.DEVNULL)
        inside = [sys.executable, __file__, "--inside", f"{folder}/run"]
        inside += ["--samples", str(asked.samples), "--kernel", asked.kernel]
        subprocess.run(inside, check=True, env=environment, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
