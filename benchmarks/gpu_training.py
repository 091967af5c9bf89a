"""A GPU filled with small networks: one resnet20 alone, many at once on streams, and what a study by Fort et al. takes.

Runs on a CPU too, at small sizes, where its ratios mean nothing. Three ways of training k children at once:
``streams``, what landscape does: a recorded step a child, replayed in turn, each on a stream of its own; ``processes``:
one a child; ``stacked``: one network of k times the channels (grouped convolutions by torch.func.vmap).

python benchmarks/gpu_training.py --device cuda --children 1,2,4,8,16,32
"""

import argparse
import contextlib
import multiprocessing
import statistics
import time

import torch
import torch.nn.functional as F

from landscape_cli.compute.device import math_mode, place, placement
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.compute.training.trainer import Trainer
from landscape_cli.networks.registry import NetworkSpec, build

BATCH, WARM = 128, 6
KINDS = {"float32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
EPOCHS, IMAGES, TIMES, CHILDREN = 160, 50_000, 10, 2  # of the study
PROTOCOL = Protocol(lr=0.1, weight_decay=1e-4, batch_size=BATCH, epochs=EPOCHS, augment="crop+flip")


def resnet20(seed):
    torch.manual_seed(seed)
    return build(NetworkSpec("resnet20"), (3, 32, 32), 10)


def data(where, images):
    torch.manual_seed(0)
    raw = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8)
    return Samples(raw, torch.randint(0, 10, (images,)), where, mean=[0.5] * 3, std=[0.25] * 3)


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def on_streams(samples, where, children, steps, precision):
    """Seconds for so many steps of every child, and how steps were made."""
    cuda = where.device.type == "cuda"
    streams = [torch.cuda.Stream() if cuda else None for _ in range(children)]
    contexts = [contextlib.nullcontext if s is None else lambda s=s: torch.cuda.stream(s) for s in streams]
    wait(where.device)
    trainers = []
    for child, context in enumerate(contexts):
        with context():
            network = place(resnet20(child), where)
            seeds = Seeds(child, child, child, child)
            trainers.append(Trainer(network, samples, PROTOCOL, seeds, autocast=KINDS[precision]))
    for step in range(WARM + steps):
        if step == WARM:
            wait(where.device)
            begun = time.perf_counter()
        for trainer, context in zip(trainers, contexts, strict=True):
            with context():
                trainer.advance()
    wait(where.device)
    return time.perf_counter() - begun, trainers[0].way


def _child(device, precision, images, child, steps, barrier, times):
    where = placement(device, "tf32" if precision == "tf32" else "float32")
    with math_mode(where):
        samples = data(where, images)
        network = place(resnet20(child), where)
        trainer = Trainer(network, samples, PROTOCOL, Seeds(child), autocast=KINDS[precision])
        for _ in range(WARM):
            trainer.advance()
        wait(where.device)
        barrier.wait()
        begun = time.perf_counter()
        for _ in range(steps):
            trainer.advance()
        wait(where.device)
        times.put(time.perf_counter() - begun)


def in_processes(device, images, children, steps, precision):
    context = multiprocessing.get_context("spawn")
    barrier, times = context.Barrier(children), context.Queue()
    workers = [
        context.Process(target=_child, args=(device, precision, images, child, steps, barrier, times))
        for child in range(children)
    ]
    for worker in workers:
        worker.start()
    found = [times.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join()
    return max(found)


def stacked(samples, where, children, steps):
    """One step of all children by stacked parameters: momentum and decay as SGD has them, batch norm by batch."""
    networks = [place(resnet20(child), where).train() for child in range(children)]
    for network in networks:
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.track_running_stats, module.running_mean, module.running_var = False, None, None
                module.num_batches_tracked = None
    parameters, _ = torch.func.stack_module_state(networks)
    parameters = {name: value.detach() for name, value in parameters.items()}
    momentum = {name: torch.zeros_like(value) for name, value in parameters.items()}

    def loss(weights, x, y):
        return F.cross_entropy(torch.func.functional_call(networks[0], weights, (x,)), y)

    gradient = torch.func.vmap(torch.func.grad(loss))
    size = len(samples)
    for step in range(WARM + steps):
        if step == WARM:
            wait(where.device)
            begun = time.perf_counter()
        index = torch.randint(size, (children, BATCH), device=where.device)
        x = samples.normalized(samples.inputs[index.flatten()]).unflatten(0, (children, BATCH))
        for name, part in gradient(parameters, x, samples.labels[index]).items():
            momentum[name].mul_(0.9).add_(part + 1e-4 * parameters[name])
            parameters[name] -= 0.1 * momentum[name]
    wait(where.device)
    return time.perf_counter() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--children", default="1,2,4,8,16,32")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="float32,tf32,bf16,fp16")
    parser.add_argument("--skip", default="", help="processes,stacked")
    options = parser.parse_args()
    counts = [int(part) for part in options.children.split(",")]
    print(torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU", "torch", torch.__version__)
    for precision in options.precision.split(","):
        where = placement(options.device, "tf32" if precision == "tf32" else "float32")
        samples = data(where, options.images)
        rates = {}
        for children in counts:
            with math_mode(where):
                runs = [on_streams(samples, where, children, options.steps, precision) for _ in range(options.repeats)]
            seconds = statistics.median(run[0] for run in runs)
            rates[children] = children * BATCH * options.steps / seconds
            line = f"{precision:8} {children:3} on streams ({runs[0][1]}): {rates[children]:10.0f} images/s in all"
            print(f"{line}, {rates[children] / rates[counts[0]]:.2f} x {counts[0]} alone", flush=True)
            if children > 1 and "processes" not in options.skip:
                seconds = in_processes(options.device, options.images, children, options.steps, precision)
                print(f"{'':8} {children:3} in processes: {children * BATCH * options.steps / seconds:10.0f} images/s")
            if children > 1 and "stacked" not in options.skip and KINDS[precision] is None:
                with math_mode(where):
                    seconds = stacked(samples, where, children, max(3, options.steps // 10))
                rate = children * BATCH * max(3, options.steps // 10) / seconds
                print(f"{'':8} {children:3} stacked, no augmentation: {rate:10.0f} images/s", flush=True)
        # A child spawned at a share of the way has the rest of it to go: half of the epochs on average over times
        # spread evenly; Fort et al. spawn mostly early, so all of them are counted here, which is the upper bound.
        best = max(rates, key=lambda children: rates[children])
        parent = EPOCHS * IMAGES / rates[counts[0]]
        study = parent + TIMES * CHILDREN * EPOCHS * IMAGES / rates[best]
        print(
            f"{precision}: a parent of {EPOCHS} epochs takes {parent / 60:.0f} min, {TIMES * CHILDREN} children at most "
            f"{(study - parent) / 60:.0f} min at the rate of {best} at once: {study / 3600:.2f} h, measuring apart"
        )


if __name__ == "__main__":
    main()
