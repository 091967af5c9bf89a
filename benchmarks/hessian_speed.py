"""λ_max of the Hessian to 1e-3 relative, beside curvlinops + eigsh, PyHessian and hessian-eigenthings, in one run.

simple-cnn, briefly trained, 2,000 images of CIFAR's size (digits enlarged, shifted and tinted; --data for others). Every
side is asked for a tolerance of 1e-3 and then judged alike: error against λ_max at 1e-6, and the true residual
‖Hv − λv‖/λ of what it returned, from one product more that is not counted. Sides take turns; ratios are of medians.

    python benchmarks/hessian_speed.py                                      # half an hour; --repeats 1: ten minutes
    pip install --target peers --no-deps pyhessian hessian-eigenthings      # then: PYTHONPATH=peers
    python benchmarks/hessian_speed.py --images 200 --repeats 1             # a trial
"""

import argparse
import importlib.util
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F

from landscape_cli.compute.device import place, placement
from landscape_cli.compute.weights.curvature_operators import HessianOperator
from landscape_cli.compute.weights.lanczos import eigenpairs
from landscape_cli.datasets.registry import DataSpec, load
from landscape_cli.networks.registry import NetworkSpec, build

BATCH = 100
TOLERANCE = 1e-3


def images_of(source, count):
    """Normalised images ``(count, 3, 32, 32)`` and labels."""
    random = torch.Generator().manual_seed(0)
    data = load(DataSpec(source)).train
    index = torch.randint(len(data.labels), (count,), generator=random)
    y = torch.from_numpy(data.labels)[index].long()
    x = torch.from_numpy(data.inputs)[index].float()
    if x.shape[1:] != (3, 32, 32):
        x = F.interpolate(x, (28, 28), mode="bilinear", align_corners=False)
        moves = torch.randint(5, (count, 2), generator=random).tolist()
        x = torch.stack([F.pad(one, (j, 4 - j, i, 4 - i)) for one, (i, j) in zip(x, moves, strict=True)])
        x = x.expand(-1, 3, -1, -1) * (0.5 + torch.rand(count, 3, 1, 1, generator=random))
    x = (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True)
    return x.contiguous(memory_format=torch.channels_last), y


def trained(x, y, steps, where):
    torch.manual_seed(0)
    network = place(build(NetworkSpec("simple-cnn"), (3, 32, 32), 10), where)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    for step in range(steps):
        part = torch.arange(step * BATCH, (step + 1) * BATCH) % len(y)
        optimizer.zero_grad()
        F.cross_entropy(network(x[part]), y[part]).backward()
        optimizer.step()
    return network.eval()


def landscape_side(network, batches, memory):
    def call():
        operator = HessianOperator(network, batches, memory=memory)
        found = eigenpairs(operator, tolerance=TOLERANCE)
        return float(found.values[0]), found.vectors[0], found.products

    return call


def curvlinops_side(network, batches):
    import numpy as np
    from curvlinops import HessianLinearOperator
    from scipy.sparse.linalg import LinearOperator, eigsh

    def call():
        matrix = HessianLinearOperator(
            network, torch.nn.CrossEntropyLoss(), list(network.parameters()), batches, check_deterministic=False
        )
        products = [0]

        def product(v):
            products[0] += 1
            return (matrix @ torch.from_numpy(np.asarray(v, dtype=np.float32).ravel())).detach().numpy()

        rows = matrix.shape[0]
        start = np.random.default_rng(0).standard_normal(rows).astype(np.float32)
        values, vectors = eigsh(
            LinearOperator((rows, rows), product, dtype=np.float32), k=1, which="LA", tol=TOLERANCE, v0=start
        )
        return float(values[0]), torch.from_numpy(vectors[:, 0].copy()), products[0]

    return call


def pyhessian_side(network, batches, *, whole):
    import pyhessian
    from pyhessian import hessian

    def call():
        products = [0]
        counted = {"data": "hessian_vector_product", "dataloader": "dataloader_hv_product"}[
            "data" if whole else "dataloader"
        ]
        owner = pyhessian.hessian if whole else hessian
        module = importlib.import_module("pyhessian.hessian")
        before = getattr(module if whole else owner, counted)

        def counting(*arguments, **named):
            products[0] += 1
            return before(*arguments, **named)

        setattr(module if whole else owner, counted, counting)
        try:
            if whole:
                x, y = (torch.cat(side) for side in zip(*batches, strict=True))
                one = hessian(network, torch.nn.CrossEntropyLoss(), data=(x, y), cuda=False)
            else:
                one = hessian(network, torch.nn.CrossEntropyLoss(), dataloader=batches, cuda=False)
            torch.manual_seed(0)
            values, vectors = one.eigenvalues(maxIter=100, tol=TOLERANCE, top_n=1)
        finally:
            setattr(module if whole else owner, counted, before)
            network.zero_grad()
        return values[0], torch.cat([v.reshape(-1) for v in vectors[0]]), products[0]

    return call


def eigenthings_side(network, batches):
    import hessian_eigenthings as peer

    def call():
        products = [0]
        matrix = peer.HessianOperator(network, batches, lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]))
        before = matrix.matvec

        def counting(v):
            products[0] += 1
            return before(v)

        matrix.matvec = counting
        found = peer.lanczos(matrix, k=1, tol=TOLERANCE, which="LA", seed=0)
        return float(found.eigenvalues[0]), torch.as_tensor(found.eigenvectors).reshape(-1), products[0]

    return call


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="digits", help="or cifar10:DIR")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=60, help="of training before")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=float, default=4e9, help="bytes of kept graphs; 0 keeps none")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    x, y = images_of(options.data, options.images)
    network = trained(x, y, options.steps, placement("cpu", "float32"))
    batches = list(zip(torch.split(x, BATCH), torch.split(y, BATCH), strict=True))
    judge = HessianOperator(network, batches, memory=0)
    exact = float(eigenpairs(judge, tolerance=1e-6, products=60, seed=9).values[0])
    sides = {
        "landscape": landscape_side(network, batches, int(options.memory)),
        "landscape, no graph kept": landscape_side(network, batches, 0),
    }
    if importlib.util.find_spec("curvlinops"):
        sides["curvlinops + eigsh"] = curvlinops_side(network, batches)
    if importlib.util.find_spec("pyhessian"):
        sides["PyHessian, batches of 100"] = pyhessian_side(network, batches, whole=False)
        sides["PyHessian, one batch"] = pyhessian_side(network, batches, whole=True)
    if importlib.util.find_spec("hessian_eigenthings"):
        sides["hessian-eigenthings"] = eigenthings_side(network, batches)
    print(f"simple-cnn, {len(y)} images, {judge.size:,} weights, {options.threads} threads; λ_max = {exact:.6f}")
    times = {name: [] for name in sides}
    told = {}
    for _ in range(options.repeats):
        for name, side in sides.items():
            begun = time.perf_counter()
            value, vector, products = side()
            times[name].append(time.perf_counter() - begun)
            print(f"    {name}: {times[name][-1]:.1f} s", file=sys.stderr, flush=True)
            if name not in told:
                unit = vector.float() / vector.float().norm()
                residual = float((judge.apply(unit) - value * unit).norm()) / abs(value)
                told[name] = (products, abs(value / exact - 1), residual)
    medians = {name: statistics.median(t) for name, t in times.items()}
    for name, seconds in medians.items():
        products, error, residual = told[name]
        inside = "inside" if residual <= TOLERANCE * 1.01 else "OUTSIDE"
        print(
            f"  {name:28s} {seconds:8.2f} s  {products:3d} products  λ off by {error:.1e}  residual {residual:.1e} "
            f"({inside})  {seconds / medians['landscape']:.2f} ×",
            flush=True,
        )
    print(f"  peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


if __name__ == "__main__":
    main()
