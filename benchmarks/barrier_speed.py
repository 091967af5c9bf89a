"""Barriers over 10 pairs of 5 networks, and over one, against loss-landscapes and a bare loop, in one run.

simple-cnn, 2,000 CIFAR-sized images, 11 points (10 pairs) or 25 (one):
pip install loss-landscapes==3.0.6 && python benchmarks/barrier_speed.py [IMAGES]
"""

import itertools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import loss_landscapes
import loss_landscapes.metrics
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from landscape_cli.compute.device import place, placement
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.weights.barrier import measure_on, search
from landscape_cli.compute.weights.interpolation import LinearPath
from landscape_cli.datasets import DataSpec
from landscape_cli.jobs.barriers import Barriers, BarrierSettings
from landscape_cli.jobs.bench import Bench, Sampling
from landscape_cli.jobs.pairs import Subject
from landscape_cli.networks.registry import NetworkSpec, build
from landscape_cli.store.locate import locate

POINTS, REPEATS = 25, 3
NETWORKS, PAIR_POINTS = 5, 11
IMAGES = int(sys.argv[1]) if len(sys.argv) > 1 else 2000


def timed(function):
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def network(name, seed):
    torch.manual_seed(seed)
    return build(NetworkSpec(name), (3, 32, 32), 10).eval()


class PerBatchLoss(loss_landscapes.metrics.Metric):
    """The peer's loss metric, batch by batch (its own takes all images in one forward pass)."""

    def __init__(self, inputs, labels, batch):
        super().__init__()
        self.inputs, self.labels, self.batch = inputs, labels, batch

    def __call__(self, wrapper):
        total = 0.0
        with torch.no_grad():
            for i in range(0, len(self.inputs), self.batch):
                part = slice(i, i + self.batch)
                total += F.cross_entropy(wrapper.forward(self.inputs[part]), self.labels[part], reduction="sum").item()
        return total / len(self.inputs)


def many_pairs():
    """10 pairs of 5 networks, as the command measures them: from files, with each checkpoint read and evaluated once."""
    folder = Path(tempfile.mkdtemp())
    os.environ["LANDSCAPE_CACHE"] = str(folder / "cache")
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (IMAGES, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(IMAGES) % 10
    np.savez(folder / "data.npz", x_train=images[:100], y_train=labels[:100], x_test=images, y_test=labels)
    networks = [network("simple-cnn", seed) for seed in range(NETWORKS)]
    for seed, one in enumerate(networks):
        save_file(dict(one.state_dict()), folder / f"{seed}.safetensors")
    pairs = list(itertools.combinations(range(NETWORKS), 2))
    data = DataSpec(f"npz:{folder / 'data.npz'}")

    def ours(precision):
        where = placement("cpu", precision)
        bench = Bench(Sampling(("test",)), where, network=NetworkSpec("simple-cnn"), data=data)
        subjects = [Subject(locate(str(folder / f"{seed}.safetensors"))) for seed in range(NETWORKS)]
        bench.setup(subjects[:2])
        barriers = Barriers(bench, BarrierSettings(points=PAIR_POINTS, refine=0, fresh=True))
        begun = time.perf_counter()
        found = [barriers.line(subjects[i], subjects[j]) for i, j in pairs]
        return time.perf_counter() - begun, found, barriers.ends.read

    setup = Bench(Sampling(("test",)), placement("cpu"), network=NetworkSpec("simple-cnn"), data=data).setup(
        [Subject(locate(str(folder / f"{seed}.safetensors"))) for seed in (0, 1)]
    )
    samples = setup.splits["test"]
    floats, targets = samples.normalized(samples.inputs), samples.labels

    def peer():
        metric = PerBatchLoss(floats, targets, 100)
        begun = time.perf_counter()
        losses = [
            loss_landscapes.linear_interpolation(
                networks[i], networks[j], metric, steps=PAIR_POINTS, deepcopy_model=True
            )
            for i, j in pairs
        ]
        return time.perf_counter() - begun, losses

    times = {"landscape float32": [], "landscape bf16": [], "loss-landscapes, batches of 100": []}
    for _ in range(2):
        seconds, exact, read = ours("float32")
        times["landscape float32"].append(seconds)
        seconds, rounded, _ = ours("bf16")
        times["landscape bf16"].append(seconds)
        seconds, theirs = peer()
        times["loss-landscapes, batches of 100"].append(seconds)
    print(f"{len(pairs)} pairs of {NETWORKS} networks, {PAIR_POINTS} points, {IMAGES} images; {read} checkpoints read")
    for name, values in times.items():
        print(f"{name:34} best {min(values):6.2f} s   median {statistics.median(values):6.2f} s")
    best = {name: min(values) for name, values in times.items()}
    peer_best = best["loss-landscapes, batches of 100"]
    print(
        f"against loss-landscapes: {peer_best / best['landscape float32']:.2f} x, "
        f"bf16 {peer_best / best['landscape bf16']:.2f} x"
    )
    # The peer measures after each step, so that its last point is the pair's second network, α = 0.
    apart = max(
        abs(found.points[0].results["test"].loss - losses[-1]) / losses[-1]
        for found, losses in zip(exact, theirs, strict=True)
    )
    bf16 = max(
        abs(p.results["test"].loss - q.results["test"].loss) / p.results["test"].loss
        for one, two in zip(exact, rounded, strict=True)
        for p, q in zip(one.points, two.points, strict=True)
    )
    print(
        f"largest relative difference of a loss: from the peer at the second network {apart:.1e}; bf16 from float32 {bf16:.1e}\n"
    )


def main():
    many_pairs()
    torch.manual_seed(0)
    raw = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 10, (IMAGES,))
    floats = (raw.float() / 255 - 0.5) / 0.25
    first, second = network("simple-cnn", 1), network("simple-cnn", 2)
    states = first.state_dict(), second.state_dict()

    def ours(precision):
        where = placement("cpu", precision)
        samples = Samples(raw, labels, where, mean=[0.5] * 3, std=[0.25] * 3)
        path = LinearPath(place(network("simple-cnn", 3), where), *states)
        return list(search(measure_on(path, {"test": samples}), points=POINTS, refine=0))

    def bare(batch=100):
        """The same forwards and nothing else: interpolate, evaluate, channels-last."""
        walker = network("simple-cnn", 3).to(memory_format=torch.channels_last)
        laid = floats.contiguous(memory_format=torch.channels_last)
        parameters = dict(walker.named_parameters())
        with torch.inference_mode():
            for k in range(POINTS):
                for name, parameter in parameters.items():
                    parameter.copy_(torch.lerp(states[1][name], states[0][name], k / (POINTS - 1)))
                total, wrong = 0.0, 0
                for i in range(0, IMAGES, batch):
                    logits = walker(laid[i : i + batch])
                    total += F.cross_entropy(logits, labels[i : i + batch], reduction="sum").item()
                    wrong += (logits.argmax(1) != labels[i : i + batch]).sum().item()

    def peer(batch):
        metric = PerBatchLoss(floats, labels, batch)
        loss_landscapes.linear_interpolation(first, second, metric, steps=POINTS, deepcopy_model=True)

    jobs = {
        "landscape float32": lambda: ours("float32"),
        "landscape bf16": lambda: ours("bf16"),
        "bare loop, channels-last": bare,
        "loss-landscapes, batches of 100": lambda: peer(100),
        "loss-landscapes, one batch": lambda: peer(IMAGES),
    }
    times = {name: [] for name in jobs}
    for _ in range(REPEATS):  # interleaved, so that a busy moment hits all alike
        for name, job in jobs.items():
            times[name].append(timed(job))
    best = {name: min(values) for name, values in times.items()}
    for name, values in times.items():
        print(f"{name:34} best {min(values):6.2f} s   median {statistics.median(values):6.2f} s")
    print(
        f"against loss-landscapes, batches of 100: {best['loss-landscapes, batches of 100'] / best['landscape float32']:.2f} x"
        f" (bf16 {best['loss-landscapes, batches of 100'] / best['landscape bf16']:.2f} x)"
    )
    print(f"against loss-landscapes, one batch: {best['loss-landscapes, one batch'] / best['landscape float32']:.2f} x")
    print(f"over the bare loop: {best['landscape float32'] / best['bare loop, channels-last']:.2f} x its time")
    exact, rounded = ours("float32"), ours("bf16")
    worst = max(
        abs(a.results["test"].loss - b.results["test"].loss) / a.results["test"].loss
        for a, b in zip(exact, rounded, strict=True)
    )
    print(f"bf16: largest relative error of the loss on the path {worst:.1e}")
    batch_norm()


def batch_norm():
    """Recomputing batch norm of resnet20 against evaluating as many images."""
    from landscape_cli.compute.batchnorm import recompute_statistics
    from landscape_cli.compute.evaluation import evaluate

    where = placement("cpu")
    samples = Samples(
        torch.randint(0, 256, (1000, 3, 32, 32), dtype=torch.uint8),
        torch.randint(0, 10, (1000,)),
        where,
        mean=[0.5] * 3,
        std=[0.25] * 3,
    )
    resnet = place(network("resnet20", 0), where)
    pairs = [
        (timed(lambda: recompute_statistics(resnet, samples)), timed(lambda: evaluate(resnet, samples)))
        for _ in range(4)
    ]
    recompute, evaluation = (min(values) for values in zip(*pairs, strict=True))
    print(
        f"resnet20, 1,000 images: recomputing batch norm {recompute:.2f} s, evaluating {evaluation:.2f} s, ratio {recompute / evaluation:.2f}"
    )


if __name__ == "__main__":
    main()
