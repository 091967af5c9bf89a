"""A training step against a hand-written loop over tensors in memory: resnet20, batch 128; and what checkpoints cost.

python benchmarks/train_speed.py
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from landscape_cli.compute.device import place, placement
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.compute.training.trainer import train
from landscape_cli.networks.registry import NetworkSpec, build
from landscape_cli.store.checkpoints import write_tensors
from landscape_cli.store.resume import write_state

IMAGES, BATCH, STEPS, REPEATS = 1280, 128, 10, 5


def resnet20():
    torch.manual_seed(0)
    return build(NetworkSpec("resnet20"), (3, 32, 32), 10)


def main():
    torch.manual_seed(0)
    raw = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 10, (IMAGES,))
    where = placement("cpu")
    samples = Samples(raw, labels, where, mean=[0.5] * 3, std=[0.25] * 3)
    protocol = Protocol(lr=0.1, weight_decay=1e-4, batch_size=BATCH, epochs=100)

    def ours():
        times = []
        clock = [time.perf_counter()]

        def tick(step):
            now = time.perf_counter()
            times.append(now - clock[0])
            clock[0] = now

        network = place(resnet20(), where)
        list(train(network, samples, protocol, Seeds(), end=STEPS, wanted=lambda step: False, on_step=tick))
        return times[1:]

    def plain(channels_last):
        floats = (raw.float() / 255 - 0.5) / 0.25
        network = resnet20()
        if channels_last:
            network, floats = (thing.to(memory_format=torch.channels_last) for thing in (network, floats))
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
        times = []
        order = torch.randperm(IMAGES)
        for step in range(STEPS):
            begun = time.perf_counter()
            index = order[step * BATCH : (step + 1) * BATCH]
            loss = F.cross_entropy(network(floats[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            times.append(time.perf_counter() - begun)
        return times[1:]

    jobs = {"landscape": ours, "plain loop": lambda: plain(False), "plain loop, channels-last": lambda: plain(True)}
    times = {name: [] for name in jobs}
    for _ in range(REPEATS):
        for name, job in jobs.items():
            times[name] += job()
    middle = {name: statistics.median(values) for name, values in times.items()}
    for name, value in middle.items():
        print(
            f"{name:28} {1e3 * value:7.1f} ms a step (best {1e3 * min(times[name]):.1f}), {BATCH / value:6.0f} images/s"
        )
    for name in list(jobs)[1:]:
        print(f"landscape takes {middle['landscape'] / middle[name]:.2f} x the time of: {name}")

    network = place(resnet20(), where)
    states = list(train(network, samples, protocol, Seeds(), end=2, wanted=lambda step: True))
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        for number in range(20):
            write_tensors(Path(folder) / f"{number}.safetensors", network.state_dict(), {"step": number})
            write_state(Path(folder) / f"{number}-state.safetensors", step=number, optimizer=states[-1].optimizer)
        cost = (time.perf_counter() - begun) / 20
    epoch = 390 * middle["landscape"]
    print(
        f"a checkpoint with its optimiser state: {1e3 * cost:.1f} ms; an epoch of CIFAR-10 (390 steps): {epoch:.0f} s; "
        f"one an epoch costs {100 * cost / epoch:.3f} %"
    )


if __name__ == "__main__":
    main()
