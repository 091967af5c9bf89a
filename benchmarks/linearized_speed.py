"""A step of linearised training against an ordinary one of the same network and batch: simple-cnn and resnet20.

python benchmarks/linearized_speed.py [--batch 128] [--rounds 5]

Both sides run in the toolkit's own trainer (fused SGD with momentum, channels-last), turn by turn. Beside the wall time
stands the processor time of the process, which other processes disturb less. Last come the two ways that torch.func
offers: its jvp with autograd on the direction, and its nested jvp.
"""

import argparse
import itertools
import os
import statistics
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that wait must not count as work

import torch
import torch.nn.functional as F
from torch.func import functional_call, jvp

from landscape_cli.compute.device import place, placement
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.tangent.linearized import LinearizedNetwork
from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.compute.training.trainer import train
from landscape_cli.networks.registry import NetworkSpec, build

STEPS = 3
LIMITS = {"order 1": 1.8, "order 2": 3.3}


def fresh(name):
    torch.manual_seed(0)
    return build(NetworkSpec(name), (3, 32, 32), 10)


class ByTorchFunc(torch.nn.Module):
    """The same polynomial as torch.func gives it: one jvp, or one in another."""

    def __init__(self, network, order):
        super().__init__()
        self.skeleton = (network.eval().requires_grad_(False),)
        self.order = order
        self.names = [name for name, _ in network.named_parameters()]
        self.weights = torch.nn.ParameterList(p.detach().clone() for p in network.parameters())

    def train(self, mode=True):
        return super().train(False)

    def forward(self, x):
        base = dict(self.skeleton[0].named_parameters())
        way = {name: w - base[name] for name, w in zip(self.names, self.weights, strict=True)}
        f = lambda p: functional_call(self.skeleton[0], p, (x,))  # noqa: E731
        if self.order == 1:
            value, first = jvp(f, (base,), (way,))
            return value + first
        (value, first), (_, twice) = jvp(lambda p: jvp(f, (p,), (way,)), (base,), (way,))
        return value + first + 0.5 * twice


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    where = placement("cpu")
    torch.manual_seed(0)
    raw = torch.randint(0, 256, (asked.batch * (STEPS + 1), 3, 32, 32), dtype=torch.uint8)
    samples = Samples(raw, torch.randint(0, 10, (len(raw),)), where, mean=[0.5] * 3, std=[0.25] * 3)
    protocol = Protocol(lr=1e-4, batch_size=asked.batch, epochs=100)

    def steps(network):
        """Wall and processor seconds of each step but the first."""
        clock = [(time.perf_counter(), time.process_time())]
        list(
            train(
                network,
                samples,
                protocol,
                Seeds(),
                end=STEPS + 1,
                wanted=lambda step: False,
                on_step=lambda step: clock.append((time.perf_counter(), time.process_time())),
            )
        )
        return [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(clock[1:])]

    for name in ("simple-cnn", "resnet20"):
        networks = {"ordinary": place(fresh(name), where)}
        for order in (1, 2):
            networks[f"order {order}"] = place(LinearizedNetwork(fresh(name), order=order), where)
        for order in (1, 2):
            networks[f"torch.func, order {order}"] = place(ByTorchFunc(fresh(name), order), where)
            place(networks[f"torch.func, order {order}"].skeleton[0], where)
        times = {side: [] for side in networks}
        for _ in range(asked.rounds):
            for side, network in networks.items():
                times[side] += steps(network)
        best = {
            side: [statistics.median(column) for column in zip(*pairs, strict=True)] for side, pairs in times.items()
        }
        print(f"{name}, batch {asked.batch}, {torch.get_num_threads()} threads, median of {asked.rounds * STEPS} steps")
        for side, (wall, processor) in best.items():
            ratios = [wall / best["ordinary"][0], processor / best["ordinary"][1]]
            limit = f" (limit {LIMITS[side]})" if side in LIMITS else ""
            print(
                f"  {side:20} {1e3 * wall:8.1f} ms, {1e3 * processor:8.1f} ms of processor: "
                f"{ratios[0]:.2f} x, {ratios[1]:.2f} x{limit}"
            )
    network = LinearizedNetwork(fresh("resnet20"))
    x = samples.normalized(samples.inputs[:16])
    with torch.no_grad():
        equal = torch.equal(network(x), fresh("resnet20").eval()(x))
    print(
        f"logits at the base equal the network's own bit for bit: {equal}; loss {F.cross_entropy(network(x), samples.labels[:16]):.4f}"
    )


if __name__ == "__main__":
    main()
