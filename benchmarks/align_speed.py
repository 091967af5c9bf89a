"""Aligning two networks by their weights, beside rebasin's permutation coordinate descent: seconds, and what is found.

pip install rebasin torchview graphviz
python benchmarks/align_speed.py [--networks resnet20,simple-cnn] [--rounds 5] [--checkpoints A.safetensors B.safetensors]

Both sides get the same two networks in memory and find out themselves what may be permuted; ours tries it on the network
too. Weights are random, with running statistics and norms of no symmetry; --checkpoints takes trained ones. Beside the
seconds stand the processor time, the distance that is left, whether the function is the same, and whether a shuffled
copy comes back.
"""

import argparse
import copy
import os
import statistics
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that wait must not count as work

import numpy as np
import torch

from landscape_cli.compute.weights.matching import match_weights
from landscape_cli.compute.weights.permutation_tracing import trace_permutations
from landscape_cli.networks.registry import NetworkSpec, build

INPUTS = (3, 32, 32)


def random_network(name, seed):
    torch.manual_seed(seed)
    network = build(NetworkSpec(name), INPUTS, 10).eval()
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if "norm" in key and tensor.is_floating_point():
                tensor.mul_(torch.rand_like(tensor) + 0.5).add_(0.1 * torch.rand_like(tensor))
    return network


def distance(one, other):
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return sum(((p - q).double() ** 2).sum().item() for p, q in pairs) ** 0.5


def ours(restarts):
    def align(a, b, x):
        graph = trace_permutations(a, x)
        found = match_weights(graph, a.state_dict(), b.state_dict(), restarts=restarts)
        b.load_state_dict(graph.apply(b.state_dict(), found.permutations))

    return align


def peer(a, b, x):
    from rebasin import PermutationCoordinateDescent

    PermutationCoordinateDescent(a, b, x).rebasin()


def timed(align, a, b, x, rounds):
    seconds, worked = [], []
    for turn in range(rounds + 1):
        moved = copy.deepcopy(b)
        target = copy.deepcopy(a)
        begun, working = time.perf_counter(), time.process_time()
        align(target, moved, x)
        if turn:  # the first warms up
            seconds.append(time.perf_counter() - begun)
            worked.append(time.process_time() - working)
    with torch.no_grad():
        changed = (moved(x) - b(x)).abs().max().item() / b(x).abs().max().item()
    return statistics.median(seconds), statistics.median(worked), distance(a, moved), changed


def comes_back(align, a, x):
    graph = trace_permutations(a, x)
    shuffled = copy.deepcopy(a)
    shuffled.load_state_dict(graph.apply(a.state_dict(), graph.shuffled(np.random.default_rng(1))))
    align(copy.deepcopy(a), shuffled, x)
    return distance(a, shuffled)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="resnet20,resnet20-nobn,simple-cnn,wrn-16-4")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--checkpoints", nargs=2, help="of one network; then --networks names it")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    sides = {"landscape, 1 start": ours(1), "landscape, 3 starts": ours(3)}
    try:
        import rebasin  # noqa: F401

        sides["rebasin"] = peer
    except ImportError:
        print("rebasin is not installed: landscape alone")
    x = torch.randn(2, *INPUTS, generator=torch.Generator().manual_seed(0))
    print(f"{torch.get_num_threads()} threads, median of {arguments.rounds}")
    for name in arguments.networks.split(","):
        a, b = random_network(name, 0), random_network(name, 1)
        if arguments.checkpoints:
            from safetensors.torch import load_file

            for network, file in zip((a, b), arguments.checkpoints, strict=True):
                network.load_state_dict(load_file(file))
        print(f"{name}: distance {distance(a, b):.4f}")
        for side, align in sides.items():
            seconds, worked, left, changed = timed(align, a, b, x, arguments.rounds)
            back = comes_back(align, a, x)
            print(
                f"  {side:20} {seconds:7.3f} s ({worked:.3f} of work)   distance left {left:.4f}   "
                f"logits change by {changed:.1e}   "
                f"a shuffled copy comes back to distance {back:.2e}"
            )


if __name__ == "__main__":
    main()
