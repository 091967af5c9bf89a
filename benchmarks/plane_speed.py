"""A plane of 21×21 points against as many bare forward passes, and random directions against loss-landscapes.

simple-cnn, CIFAR-sized images (500, or the number given), in one run:
pip install loss-landscapes==3.0.6 && python benchmarks/plane_speed.py [IMAGES] [GRID]
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from landscape_cli.compute.device import place, placement
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.weights.plane import along_directions
from landscape_cli.compute.weights.plane_walk import PlaneWalk, corner_references, values
from landscape_cli.datasets import DataSpec
from landscape_cli.jobs.bench import Bench, Sampling
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.plane_settings import PlaneJob, PlaneSettings
from landscape_cli.jobs.planes import measure_plane
from landscape_cli.networks.registry import NetworkSpec, build
from landscape_cli.store.locate import locate

IMAGES = int(sys.argv[1]) if len(sys.argv) > 1 else 500
GRID = int(sys.argv[2]) if len(sys.argv) > 2 else 21
STEPS = 9  # of the peer's plane
REPEATS, BATCH = 3, 100


def timed(function):
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def network(seed):
    torch.manual_seed(seed)
    return build(NetworkSpec("simple-cnn"), (3, 32, 32), 10).eval()


def images():
    torch.manual_seed(0)
    return torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8), torch.arange(IMAGES) % 10


def against_forward_passes(folder):
    """The whole job of ``landscape plane`` (checkpoints read, points kept, file written) and nothing but passes."""
    raw, labels = images()
    np.savez(
        folder / "data.npz", x_train=raw[:20].numpy(), y_train=labels[:20].numpy(), x_test=raw.numpy(),
        y_test=labels.numpy(),
    )  # fmt: skip
    for seed in range(3):
        save_file(network(seed).state_dict(), folder / f"net-{seed}.safetensors")
    subjects = [Subject(locate(str(folder / f"net-{seed}.safetensors"))) for seed in range(3)]
    bench = Bench(
        Sampling(("test",), batch=BATCH), placement("cpu"), network=NetworkSpec("simple-cnn"),
        data=DataSpec(f"npz:{folder / 'data.npz'}"),
    )  # fmt: skip

    def ours(**changes):
        settings = PlaneSettings(grid=(GRID, GRID), fresh=True, **changes)
        measure_plane(PlaneJob(bench, subjects, [], settings, folder / "plane.h5"))

    walker = place(network(3), placement("cpu"))
    laid = bench.setup(subjects).splits["test"]

    def bare():
        with torch.inference_mode():
            for _ in range(GRID**2):
                for x, _y in laid.batches(BATCH):
                    walker(x)

    jobs = {
        "landscape plane": ours,
        "bare forward passes": bare,
        "with the linearised network": lambda: ours(linearize="A"),
    }
    times = {name: [] for name in jobs}
    for _ in range(REPEATS):  # interleaved, so that a busy moment hits all alike
        for name, job in jobs.items():
            times[name].append(timed(job))
    for name, found in times.items():
        print(f"{name:30} best {min(found):7.2f} s   median {statistics.median(found):7.2f} s")
    base = min(times["bare forward passes"])
    print(f"plane {GRID}×{GRID} over {GRID**2} bare passes: {min(times['landscape plane']) / base:.3f} x their time")
    print(f"the linearised network beside it: {min(times['with the linearised network']) / base:.3f} x")


def against_the_peer():
    """The peer's plane: where each entry of its matrix was measured, what it should be, and how long both take."""
    import loss_landscapes
    import loss_landscapes.metrics

    raw, labels = images()
    floats = (raw.float() / 255 - 0.5) / 0.25

    def loss_of(forward):
        with torch.no_grad():
            parts = [slice(i, i + BATCH) for i in range(0, IMAGES, BATCH)]
            return sum(F.cross_entropy(forward(floats[p]), labels[p], reduction="sum").item() for p in parts) / IMAGES

    places = []

    class Located(loss_landscapes.metrics.Metric):
        """The mean loss; notes where in weight space it was asked for."""

        def __call__(self, wrapper):
            places.append(torch.cat([p.detach().flatten().double() for p in wrapper.get_module_parameters()]))
            return loss_of(wrapper.forward)

    start = network(1)
    with torch.no_grad():  # it divides by the norm of every bias, and ours begin at zero
        for parameter in start.parameters():
            if parameter.ndim == 1:
                parameter.normal_(0, 0.05)
    matrix = loss_landscapes.random_plane(start, Located(), distance=1, steps=STEPS, deepcopy_model=True)
    # In the order of the calls: along the second direction, a step along the first, then back.
    second = places[1] - places[0]
    first = places[STEPS] - places[STEPS - 1] + second
    base = places[0] - second
    rows = [places[i * STEPS : (i + 1) * STEPS][:: 1 if i % 2 == 0 else -1] for i in range(STEPS)]
    axes = torch.stack([first, second], dim=1)
    where = torch.stack([torch.linalg.lstsq(axes, torch.stack(row, 1) - base[:, None]).solution.T for row in rows])
    print("loss-landscapes random_plane: steps along the second direction at which the entries of a row were measured")
    for i in range(2):
        print(f"  row {i}: {', '.join(f'{v:.2f}' for v in where[i, :, 1].tolist())}")
    shift = where[1::2, :, 1].mean() - where[::2, :, 1].mean()
    print(f"  odd rows against even rows: {float(shift):+.3f} steps")

    walker = network(1)
    parameters = list(walker.parameters())

    def plain(i, j):
        torch.nn.utils.vector_to_parameters((base + i * first + j * second).float(), parameters)
        return loss_of(walker)

    truth = np.asarray([[plain(i, j + 1) for j in range(STEPS)] for i in range(STEPS)])
    apart = np.abs(matrix - truth) / truth
    print(f"  from a plain evaluation at the coordinates of row 0: even rows {apart[::2].max():.1e}, odd rows "
          f"{apart[1::2].max():.1e} (largest relative difference of the loss)")  # fmt: skip

    names = [name for name, _ in walker.named_parameters()]
    split = [p.numel() for p in parameters]
    directions = [
        {n: d.view(p.shape) for n, d, p in zip(names, whole.split(split), parameters, strict=True)}
        for whole in (first, second)
    ]
    torch.nn.utils.vector_to_parameters(base.float(), parameters)
    origin = {name: value.clone() for name, value in walker.state_dict().items()}
    plane = along_directions(origin, *directions, names)
    samples = Samples(raw, labels, placement("cpu"), mean=[0.5] * 3, std=[0.25] * 3)
    walk = PlaneWalk(place(network(2), placement("cpu")), plane)
    reference = corner_references(walk, (0.0, 0.0), {"test": samples}, batch=BATCH)["test"]

    def ours():
        return np.asarray(
            [
                [values(walk.go(i, j + 1), samples, reference, batch=BATCH).loss for j in range(STEPS)]
                for i in range(STEPS)
            ]
        )

    print(f"  landscape, the same directions and coordinates: {np.abs(ours() - truth).max() / truth.max():.1e}")
    peer = lambda: loss_landscapes.random_plane(start, Located(), distance=1, steps=STEPS, deepcopy_model=True)  # noqa: E731
    both = [(timed(peer), timed(ours)) for _ in range(REPEATS)]
    theirs, mine = (min(found) for found in zip(*both, strict=True))
    print(f"  {STEPS}×{STEPS} points: loss-landscapes (batches of {BATCH}) {theirs:.2f} s, landscape {mine:.2f} s: "
          f"{theirs / mine:.2f} x")  # fmt: skip


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["LANDSCAPE_CACHE"] = str(Path(scratch) / "cache")
        against_forward_passes(Path(scratch))
    against_the_peer()
