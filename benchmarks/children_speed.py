"""Eight children at once on a CPU: one process a core with one thread each, one after another, and stacked.

The first two are training as ``landscape`` does it; ``stacked`` is a plain re-statement with ``torch.func``: gradients
of all children in one vmap over stacked weights, whose convolutions become grouped ones. Processes are started, have
torch and the data loaded and have taken a step before the clock starts; starting them is told apart (it is paid once for
all children, however long they train).

python benchmarks/children_speed.py
python benchmarks/children_speed.py --only digits --children 4 --steps 10 --repeats 1
python benchmarks/children_speed.py --data cifar10:DIR
"""

import argparse
import copy
import multiprocessing
import statistics
import time

import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, replace_all_batch_norm_modules_, stack_module_state, vmap

from landscape_cli.compute.device import place, placement
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.compute.training.trainer import Trainer
from landscape_cli.datasets import DataSpec, load
from landscape_cli.networks.registry import NetworkSpec, build
from landscape_cli.scale.executors import cores

IMAGES = 1280
JOBS = {"digits": ("simple-cnn", 64, 100), "cifar": ("resnet20", 128, 4)}  # network, batch, steps of each child

_held = {}  # in a worker: what it trains on


def material(job, data):
    """Raw images and labels, the parent's network, and the protocol."""
    torch.manual_seed(0)
    name, batch, _ = JOBS[job]
    if job == "digits" or data:
        split = load(DataSpec("digits" if job == "digits" else data, train_size=IMAGES)).train
        inputs, labels = torch.as_tensor(split.inputs.copy()), torch.as_tensor(split.labels.copy()).long()
    else:
        inputs, labels = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8), torch.randint(0, 10, (IMAGES,))
    network = build(NetworkSpec(name), tuple(inputs.shape[1:]), 10)
    return inputs, labels, network, Protocol(lr=0.05, weight_decay=1e-4, batch_size=batch, epochs=1000)


def prepare(job, data):
    inputs, labels, network, protocol = material(job, data)
    where = placement("cpu")
    shape = {"mean": [0.5] * inputs.shape[1], "std": [0.25] * inputs.shape[1]}
    samples = Samples(inputs, labels, where, **shape)
    return samples, place(network, where), protocol


def child(held, number, steps):
    """A child: the parent's weights, an order of its own; its last loss."""
    samples, network, protocol = held
    trainer = Trainer(copy.deepcopy(network), samples, protocol, Seeds(0, number, number, number))
    for _ in range(steps):
        trainer.advance()
    with torch.no_grad():
        return float(F.cross_entropy(trainer.network(samples.normalized(samples.inputs[:64])), samples.labels[:64]))


def begin(job, data, ready):
    torch.set_num_threads(1)
    _held["it"] = prepare(job, data)
    child(_held["it"], 0, 1)
    ready.release()


def work(number, steps):
    return child(_held["it"], number, steps)


def in_processes(job, data, children, steps, processes):
    context = multiprocessing.get_context("forkserver")
    ready = context.Semaphore(0)
    begun = time.perf_counter()
    with context.Pool(processes, initializer=begin, initargs=(job, data, ready)) as pool:
        for _ in range(processes):
            if not ready.acquire(timeout=120):
                raise SystemExit("the processes did not begin")
        started = time.perf_counter() - begun
        begun = time.perf_counter()
        losses = pool.starmap(work, [(number, steps) for number in range(children)], chunksize=1)
        return time.perf_counter() - begun, started, losses


def one_after_another(job, data, children, steps):
    held = prepare(job, data)
    child(held, 0, 1)
    begun = time.perf_counter()
    losses = [child(held, number, steps) for number in range(children)]
    return time.perf_counter() - begun, losses


def stacked(job, data, children, steps):
    """SGD with momentum on all children at once; and the largest difference to one of them trained alone."""
    inputs, labels, network, protocol = material(job, data)
    floats = (inputs.float() / (1 if inputs.is_floating_point() else 255) - 0.5) / 0.25
    network = replace_all_batch_norm_modules_(network)  # batch statistics alone: running ones cannot be stacked
    parameters, buffers = stack_module_state([copy.deepcopy(network) for _ in range(children)])
    weights = {name: value.detach() for name, value in parameters.items()}

    def loss(own, kept, x, y):
        return F.cross_entropy(functional_call(network, (own, kept), (x,)), y)

    gradients = vmap(grad(loss), randomness="different")
    orders = torch.stack([torch.randperm(len(labels)) for _ in range(children)])

    def train(step_gradients, state, kept, own_orders, count):
        momentum = {name: torch.zeros_like(value) for name, value in state.items()}
        for step in range(count):
            part = slice(step * protocol.batch_size % IMAGES, step * protocol.batch_size % IMAGES + protocol.batch_size)
            index = own_orders[..., part]
            found = step_gradients(state, kept, floats[index], labels[index])
            for name, value in state.items():
                slope = found[name].add_(value, alpha=protocol.weight_decay)
                value.sub_(momentum[name].mul_(protocol.momentum).add_(slope), alpha=protocol.lr)
        return state

    train(gradients, {name: value.clone() for name, value in weights.items()}, buffers, orders, 1)
    begun = time.perf_counter()
    found = train(gradients, {name: value.clone() for name, value in weights.items()}, buffers, orders, steps)
    seconds = time.perf_counter() - begun
    alone = {name: value[0].clone() for name, value in weights.items()}
    few = min(steps, 3)
    alone = train(grad(loss), alone, {name: value[0] for name, value in buffers.items()}, orders[0], few)
    if few < steps:
        found = train(gradients, {name: value.clone() for name, value in weights.items()}, buffers, orders, few)
    return seconds, max(float((found[name][0] - value).abs().max()) for name, value in alone.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--children", type=int, default=8)
    parser.add_argument("--steps", type=int, help="of each child; default 100 on digits, 4 of CIFAR's size")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processes", type=int, default=cores())
    parser.add_argument("--only", choices=list(JOBS))
    parser.add_argument("--data", help="in place of random bytes of CIFAR's size, as in cifar10:DIR")
    asked = parser.parse_args()
    for job, (name, batch, default) in JOBS.items():
        if asked.only not in (None, job):
            continue
        steps = asked.steps or default
        seconds = {"one after another": [], "processes": [], "stacked": []}
        for _ in range(asked.repeats):
            time_processes, start, apart = in_processes(job, asked.data, asked.children, steps, asked.processes)
            time_one, losses = one_after_another(job, asked.data, asked.children, steps)
            time_stacked, off = stacked(job, asked.data, asked.children, steps)
            for way, value in zip(seconds, (time_one, time_processes, time_stacked), strict=True):
                seconds[way].append(value)
        middle = {way: statistics.median(values) for way, values in seconds.items()}
        print(f"{asked.children} children of {name}, {job}, batch {batch}, {steps} steps each")
        for way, value in middle.items():
            told = f"{way:18} {value:7.2f} s (best {min(seconds[way]):.2f})"
            print(f"{told}, {asked.children * steps * batch / value:7.0f} images/s")
        threads = torch.get_num_threads()
        ratio, slower = (middle[way] / middle["processes"] for way in ("one after another", "stacked"))
        print(
            f"{asked.processes} processes of one thread take 1/{ratio:.2f} of one after another with {threads} threads"
        )
        print(f"(target 1/1.15), and 1/{slower:.2f} of stacked; starting them took {start:.1f} s, not counted")
        gap = max(abs(a - b) for a, b in zip(losses, apart, strict=True))
        print(f"losses differ by {gap:.1e} between the first two; weights by {off:.1e}, stacked or alone\n")


if __name__ == "__main__":
    main()
