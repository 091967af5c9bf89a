"""relu-dist against two bare forward passes, and the memory of patterns: resnet20, 10,000 CIFAR-sized images, one run.

python benchmarks/relu_speed.py [IMAGES]
"""

import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from landscape_cli.compute.device import place, placement
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.weights.relu_patterns import patterns
from landscape_cli.datasets import DataSpec
from landscape_cli.jobs.bench import Bench, Sampling
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.relu_distances import ReluPatterns
from landscape_cli.networks.registry import NetworkSpec, build
from landscape_cli.store.locate import locate

IMAGES = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
REPEATS, BATCH = 3, 100


def timed(function):
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def main():
    folder = Path(tempfile.mkdtemp())
    random = np.random.default_rng(0)
    arrays = {
        "x_test": random.integers(0, 256, (IMAGES, 3, 32, 32), dtype=np.uint8),
        "y_test": np.arange(IMAGES) % 10,
        "x_train": random.integers(0, 256, (100, 3, 32, 32), dtype=np.uint8),
        "y_train": np.arange(100) % 10,
    }
    np.savez(folder / "data.npz", **arrays)
    spec, where = NetworkSpec("resnet20"), placement("cpu")
    networks = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        networks.append(place(build(spec, (3, 32, 32), 10).eval(), where))
        save_file({k: v.contiguous() for k, v in networks[-1].state_dict().items()}, folder / f"{seed}.safetensors")
    pair = tuple(Subject(locate(str(folder / f"{seed}.safetensors"))) for seed in (0, 1))
    table = Bench(Sampling(("test",), batch=BATCH), where, network=spec, data=DataSpec(f"npz:{folder / 'data.npz'}"))
    samples: Samples = table.setup(pair).splits["test"]  # prepared before the clock starts, for both sides
    measure = ReluPatterns(table, "test")

    def bare():
        with torch.inference_mode():
            for network in networks:
                for x, _ in samples.batches(BATCH):
                    network(x)

    found = []
    times = {"two forward passes": [], "relu-dist": []}
    bare()
    for _ in range(REPEATS):  # interleaved, so that a busy moment hits both
        times["two forward passes"].append(timed(bare))
        times["relu-dist"].append(timed(lambda: found.extend(measure.pairs([pair]))))
    for name, values in times.items():
        print(f"{name:20} best {min(values):6.2f} s   median {statistics.median(values):6.2f} s")
    ratio = min(times["relu-dist"]) / min(times["two forward passes"])
    print(f"relu-dist takes {ratio:.2f} x two forward passes; distance {found[0]['distance']:.4f}")
    x, _ = next(iter(samples.batches(BATCH)))
    seen = patterns(networks[0], x)[1].values()
    held, entries = sum(one.bits.numel() for one in seen), sum(one.entries for one in seen)
    print(f"a batch of {BATCH}: {entries:,} entries in {held:,} bytes, {8 * held / entries:.4f} bits each")
    print(f"peak of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
