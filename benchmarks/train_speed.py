"""Training steps against a plain PyTorch loop with a DataLoader, and what checkpoints cost.

resnet20 on images of CIFAR's size, batch 128, crop and flip, tensors in memory. The plain loop is what people write:
a Dataset that crops and flips one image, a DataLoader, SGD as torch makes it. Ours runs the same order of images
without augmentation first, to show that the losses are the same.

python benchmarks/train_speed.py [--device cuda] [--precision bf16]
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

from landscape_cli.compute.device import math_mode, place, placement
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.streams import stream
from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.compute.training.trainer import Trainer
from landscape_cli.datasets import DataSpec
from landscape_cli.jobs.training import TrainJob, run_training
from landscape_cli.networks.registry import NetworkSpec, build
from landscape_cli.store.metrics import read_metrics

BATCH, WARM = 128, 5
MEAN, STD = [0.5] * 3, [0.25] * 3


class Images(Dataset):
    """Images in memory, normalised; one at a time, cropped and flipped."""

    def __init__(self, raw, labels, augment):
        self.images, self.labels, self.augment = (raw.float() / 255 - 0.5) / 0.25, labels, augment

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, number):
        image = self.images[number]
        if self.augment:
            down, right, flip = [*torch.randint(9, (2,)).tolist(), bool(torch.rand(()) < 0.5)]
            # Black is the least value, not zero, once the image is normalised.
            image = F.pad(image, (4, 4, 4, 4), value=-2.0)[:, down : down + 32, right : right + 32]
            image = image.flip(2) if flip else image
        return image, self.labels[number]


def resnet20():
    torch.manual_seed(0)
    return build(NetworkSpec("resnet20"), (3, 32, 32), 10)


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def plain(data, device, *, channels_last, workers, steps, sampler=None):
    """Losses, and seconds a step."""
    layout = {"memory_format": torch.channels_last} if channels_last else {}
    network = resnet20().to(device, **layout).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    loader = DataLoader(
        data, BATCH, shuffle=sampler is None, sampler=sampler, drop_last=True, num_workers=workers,
        pin_memory=device.type == "cuda", persistent_workers=workers > 0,
    )  # fmt: skip
    losses, taken = [], 0
    while taken < steps + WARM:
        for x, y in loader:
            if taken == WARM:
                wait(device)
                begun = time.perf_counter()
            x, y = x.to(device, non_blocking=True, **layout), y.to(device, non_blocking=True)
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            taken += 1
            if taken == steps + WARM:
                break
    wait(device)
    seconds = (time.perf_counter() - begun) / steps
    return [float(loss) for loss in losses], seconds


def ours(samples, protocol, *, steps, precision="float32", compile="auto"):
    """The same, by a Trainer."""
    where = samples.where
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    trainer = Trainer(
        place(resnet20(), where), samples, protocol, Seeds(), autocast=kinds.get(precision), compile=compile
    )
    losses = []
    with math_mode(where):
        for taken in range(steps + WARM):
            if taken == WARM:
                wait(where.device)
                begun = time.perf_counter()
            trainer.advance()
            losses.append(trainer._step.loss.clone())
        wait(where.device)
    return [float(loss) for loss in losses], (time.perf_counter() - begun) / steps, trainer.way


def checkpoints():
    """What recording at Mao et al.'s points costs: runs of simple-cnn on digits, with them and with the last alone."""
    job = TrainJob(
        out=Path(),
        network=NetworkSpec("simple-cnn"),
        data=DataSpec("digits"),
        protocol=Protocol(lr=0.05, momentum=0.9, schedule="cosine", epochs=60, batch_size=64),
        device="cpu",
    )
    seconds = {"last": [], "mao2023": []}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(3):
            for record, found in seconds.items():
                out = Path(folder) / f"{record}{repeat}"
                run_training(replace(job, out=out / "warm", record="last", protocol=Protocol(epochs=1)))
                begun = time.perf_counter()
                run_training(replace(job, out=out / "run", record=record))
                found.append(time.perf_counter() - begun)
        points = len(read_metrics(Path(folder) / "mao20230" / "run"))
    least = {record: min(found) for record, found in seconds.items()}
    cost = (least["mao2023"] - least["last"]) / (points - 1)
    print(
        f"simple-cnn on digits, 60 epochs: {least['last']:.1f} s with one checkpoint, {least['mao2023']:.1f} s with "
        f"{points}: {1e3 * cost:.0f} ms each, evaluation of 1,797 images included"
    )
    epochs = 200 * least["last"] / 60
    print(f"over 200 epochs, 67 points cost {100 * 67 * cost / epochs:.1f} % of training (target < 5 %)")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=5120)
    parser.add_argument("--skip-checkpoints", action="store_true")
    options = parser.parse_args()
    where = placement(options.device)
    torch.manual_seed(0)
    raw = torch.randint(0, 256, (options.images, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 10, (options.images,))
    samples = Samples(raw, labels, where, mean=MEAN, std=STD)
    protocol = Protocol(lr=0.1, weight_decay=1e-4, batch_size=BATCH, epochs=100)
    augmented = replace(protocol, augment="crop+flip")

    order = torch.randperm(options.images, generator=stream("order", 0, 0)).tolist()
    still = Images(raw, labels, augment=False)
    steps = min(10, options.images // BATCH - WARM)
    theirs, _ = plain(still, where.device, channels_last=True, workers=0, steps=steps, sampler=order)
    own, *_ = ours(samples, protocol, steps=steps)
    apart = [abs(a - b) / b for a, b in zip(own, theirs, strict=True)]
    print(
        "the same images in the same order: losses differ by "
        + ", ".join(f"{value:.0e}" for value in apart)
        + " of themselves (rounding, which training at this rate makes larger step by step)"
    )

    moving = Images(raw, labels, augment=True)
    times, ways = {}, {}

    def timed(name, job):
        with contextlib.suppress(NotImplementedError):
            _, seconds, *way = job()
            times.setdefault(name, []).append(seconds)
            ways[name] = way[0] if way else ""

    for _ in range(options.repeats):
        timed("landscape", lambda: ours(samples, augmented, steps=options.steps))
        timed("landscape, bf16", lambda: ours(samples, augmented, steps=options.steps, precision="bf16"))
        if where.device.type == "cuda":
            timed("landscape, no graph", lambda: ours(samples, augmented, steps=options.steps, compile="none"))
            timed("landscape, fp16", lambda: ours(samples, augmented, steps=options.steps, precision="fp16"))
        for workers in (0, 2):
            for last in (True, False):
                name = f"plain loop, {'channels-last' if last else 'default layout'}, {workers} workers"
                timed(
                    name,
                    lambda workers=workers, last=last: plain(
                        moving, where.device, channels_last=last, workers=workers, steps=options.steps
                    ),
                )
    middle = {name: statistics.median(found) for name, found in times.items()}
    for name, seconds in middle.items():
        best = min(times[name])
        print(
            f"{name:44} {1e3 * seconds:7.2f} ms a step (best {1e3 * best:.2f}), {BATCH / seconds:8.0f} images/s, "
            f"{seconds / middle['landscape']:.2f} x landscape {ways[name]}"
        )
    if not options.skip_checkpoints:
        checkpoints()


if __name__ == "__main__":
    main()
