"""Trajectory distances against a plain restatement of the authors' algorithm: 20 runs of 60 checkpoints, 100 points.

python benchmarks/trajectories_speed.py [--samples 1000] [--classes 10] [--repeats 5] [--threads 2]

Theirs (Mao et al. 2023): for each run, value after value, a linear walk to the first checkpoint beyond it and a
geodesic step in numpy; then, value after value, a batched product of square roots, logarithms of all of it, 50 chunks of
samples. Both start from predictions in memory and their progress; compilation is apart. Theirs takes the last
checkpoint to have progress 1, so the two are compared where every run has a value of its own.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from landscape_cli.compute.predictions.trajectories import distance_sums, reindex, uniform_grid

RUNS, CHECKPOINTS, POINTS, CHUNKS = 20, 60, 100, 50


def sweep(samples, classes):
    """Log-probabilities in float32 of runs that go from near ignorance to the labels, each on its own way."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, classes, samples)
    far = np.linspace(0, 1, CHECKPOINTS)[:, None, None]
    logs = []
    for _ in range(RUNS):
        way = 2 * draw.normal(size=(samples, classes))
        logits = 8 * far * np.eye(classes)[labels] + np.sin(np.pi * far) * way
        logits += 0.1 * draw.normal(size=logits.shape)
        logs.append(torch.log_softmax(torch.from_numpy(logits), -1).float())
    index = np.stack([np.sort(draw.uniform(0.0, 0.99, CHECKPOINTS)) for _ in range(RUNS)])
    index[:, 0] = 0.001
    return torch.cat(logs), index


def step(part, first, last):
    """A point of the geodesic between two sets of unit vectors."""
    cosine = np.clip((first * last).sum(-1), 0, 1)
    angle = np.arccos(cosine)
    apart = angle >= 1e-8
    out = first.copy()
    turn = angle[apart][:, None]
    out[apart] = (np.sin((1 - part) * turn) * first[apart] + np.sin(part * turn) * last[apart]) / np.sin(turn)
    return out


def reindexed(probabilities, index):
    """One run's models at 1/100, 2/100, …, 1, as published: the last checkpoint stands for progress 1."""
    found, here = [], 0
    for value in np.arange(1, POINTS + 1) / POINTS:
        while here < CHECKPOINTS - 1 and index[here] <= value:
            here += 1
        before = max(0, here - 1)
        end = 1.0 if here == CHECKPOINTS - 1 else index[here]
        part = np.clip((value - index[before]) / (end - index[before]), 0, 1)
        found.append(step(part, np.sqrt(probabilities[before]), np.sqrt(probabilities[here])) ** 2)
    return found


def theirs(probabilities, index):
    """All runs' models at every value, then distances value by value; returns the matrix and both times."""
    begun = time.perf_counter()
    runs = [reindexed(probabilities[u], index[u]) for u in range(RUNS)]
    between = time.perf_counter()
    samples = probabilities.shape[2]
    total = np.zeros((POINTS, RUNS, RUNS))
    for t in range(POINTS):
        models = torch.from_numpy(np.stack([run[t] for run in runs])).float().transpose(0, 1)
        for chunk in torch.arange(samples).chunk(CHUNKS):
            part = models[chunk]
            apart = -torch.log(torch.bmm(part.sqrt(), part.sqrt().transpose(1, 2)))
            apart[apart == torch.inf] = 100
            apart[apart < 0] = 0
            assert apart.isnan().sum() == 0
            total[t] += apart.sum(0).numpy()
    return total / samples, between - begun, time.perf_counter() - between


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    logs, index = sweep(asked.samples, asked.classes)
    probabilities = logs.exp().numpy().reshape(RUNS, CHECKPOINTS, asked.samples, asked.classes)
    members = [np.arange(u * CHECKPOINTS, (u + 1) * CHECKPOINTS) for u in range(RUNS)]

    def ours():
        return distance_sums(logs, reindex(index.reshape(-1), members, uniform_grid(POINTS)))

    begun = time.perf_counter()
    ours()
    print(f"first call, with compilation or loading of compiled code: {time.perf_counter() - begun:.2f} s")
    own, walks, sums, cpu = [], [], [], []
    for _ in range(asked.repeats):  # interleaved, so that a busy moment hits both alike
        begun, used = time.perf_counter(), time.process_time()
        ours()
        own.append(time.perf_counter() - begun)
        middle = time.process_time()
        by_time, walk, between = theirs(probabilities, index)
        cpu.append((middle - used, time.process_time() - middle))
        walks.append(walk)
        sums.append(between)
    print(
        f"{RUNS} runs x {POINTS} points x {asked.samples} samples x {asked.classes} classes, {torch.get_num_threads()} threads"
    )
    for name, values in (("ours, all", own), ("theirs, reindexing", walks), ("theirs, distances", sums)):
        print(f"{name:20} best {1000 * min(values):8.1f} ms   median {1000 * statistics.median(values):8.1f} ms")
    for name, pick in (("best", min), ("median", statistics.median)):
        both = pick(a + b for a, b in zip(walks, sums, strict=True))
        print(f"ratio, {name}: {both / pick(own):.0f} x; against their distances alone {pick(sums) / pick(own):.0f} x")

    mine, published = (min(times) for times in zip(*cpu, strict=True))
    print(
        f"processor time: ours {1000 * mine:.1f} ms, theirs {1000 * published:.1f} ms, ratio {published / mine:.0f} x"
    )

    # Where every run has a value between two checkpoints of its own, the two sum up the same.
    where = reindex(index.reshape(-1), members, uniform_grid(POINTS))
    reached = np.array([index[u][-2] for u in range(RUNS)])
    stop = int(np.flatnonzero(uniform_grid(POINTS) <= reached.min())[-1]) + 1
    part = reindex(np.minimum(index, 2.0).reshape(-1), members, uniform_grid(POINTS)).part(0, stop)
    inside = distance_sums(logs, part)
    weights = np.ones(stop)
    weights[0] = 0.5 if where.first.max() == 0 else 1.0
    expected = (by_time[:stop] * weights[:, None, None]).sum(0) * asked.samples
    off = ~np.eye(RUNS, dtype=bool)
    print(
        f"largest relative difference where both apply: {np.abs(inside - expected)[off].max() / expected[off].max():.1e}"
    )


if __name__ == "__main__":
    main()
