"""A training protocol: everything that, with the data and the seeds, decides what a run becomes. Knows no torch."""

import math
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from landscape_cli.errors import UsageError
from landscape_cli.times import Time, parse_time

OptimizerName = Literal["sgd", "nesterov", "adam", "adamw"]
ScheduleName = Literal["constant", "step", "cosine", "linear"]

_INIT = re.compile(r"default|corners(?::(\d+))?")
_AUGMENT = re.compile(r"(crop)(?::(\d+))?|(flip)")


@dataclass(frozen=True)
class Protocol:
    """How to train.

    Args:
        optimizer: ``sgd`` (with momentum), ``nesterov``, ``adam`` (L2 decay in the gradient) or ``adamw`` (decoupled).
        lr: Peak learning rate.
        momentum: Of SGD, or β₁ of Adam.
        beta2: β₂ of Adam.
        weight_decay: Coefficient.
        decay_norm_bias: Whether weight decay also acts on normalisation parameters and biases.
        schedule: ``constant``; ``step``: times ``factor`` at each milestone; ``cosine`` to zero; ``linear`` to zero;
            all per step.
        milestones: Epochs of the steps.
        factor: Of each step.
        warmup: Epochs of linear warm-up from zero.
        epochs: Length; the schedule refers to it.
        batch_size: Samples a step.
        keep_last_batch: Train on an epoch's incomplete last batch too.
        label_smoothing: Share of the target spread over all classes.
        augment: ``none``, or ``crop`` (``crop:PADDING``, 4 by default) and ``flip`` joined by ``+``.
        prime_bn: Batches that set the batch-norm statistics before step 0.
    """

    optimizer: OptimizerName = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    decay_norm_bias: bool = True
    schedule: ScheduleName = "constant"
    milestones: tuple[float, ...] = ()
    factor: float = 0.1
    warmup: float = 0.0
    epochs: float = 20.0
    batch_size: int = 128
    keep_last_batch: bool = False
    label_smoothing: float = 0.0
    augment: str = "none"
    prime_bn: int = 0

    def __post_init__(self) -> None:
        problems = {
            f"there is no optimizer '{self.optimizer}'": self.optimizer not in get_args(OptimizerName),
            f"there is no schedule '{self.schedule}'": self.schedule not in get_args(ScheduleName),
            f"a learning rate of {self.lr} does not train": not 0 < self.lr < math.inf,
            f"momentum is between 0 and 1, not {self.momentum}": not 0 <= self.momentum < 1,
            f"beta2 is between 0 and 1, not {self.beta2}": not 0 <= self.beta2 < 1,
            f"weight decay is a number not below zero, which {self.weight_decay} is not": not (
                0 <= self.weight_decay < math.inf
            ),
            f"{self.epochs} epochs are no length": not 0 < self.epochs < math.inf,
            f"warm-up is between 0 and the length, not {self.warmup}": not 0 <= self.warmup <= self.epochs,
            f"a batch of {self.batch_size} samples is empty": self.batch_size < 1,
            f"label smoothing is between 0 and 1, not {self.label_smoothing}": not 0 <= self.label_smoothing < 1,
            f"priming takes a number of batches, not {self.prime_bn}": self.prime_bn < 0,
            "the step schedule needs milestones": self.schedule == "step" and not self.milestones,
            f"milestones are epochs of the run, not {self.milestones}": not all(
                0 <= epoch < math.inf for epoch in self.milestones
            ),
            f"a factor of {self.factor} leaves no learning rate": not 0 <= self.factor < math.inf,
            "only the step schedule has milestones": self.schedule != "step" and bool(self.milestones),
            "Nesterov's method needs momentum above zero": self.optimizer == "nesterov" and self.momentum == 0,
        }
        for problem, holds in problems.items():
            if holds:
                raise UsageError(problem, "see 'landscape train --help'")
        parse_augment(self.augment)

    def to_json(self) -> dict[str, Any]:
        """The form it has in ``run.json``."""
        return {**asdict(self), "milestones": list(self.milestones)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Protocol":
        """Read it back; entries of a newer version that are unknown here are refused.

        Raises:
            UsageError: If an entry is unknown.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(document.keys() - known):
            raise UsageError(f"the recorded protocol has an entry '{unknown[0]}' that this version does not know")
        return cls(**{**document, "milestones": tuple(document.get("milestones", ()))})

    def steps_per_epoch(self, samples: int) -> int:
        """Optimiser steps in an epoch over ``samples`` samples.

        Raises:
            UsageError: If a batch is larger than the data.
        """
        steps = -(-samples // self.batch_size) if self.keep_last_batch else samples // self.batch_size
        if steps < 1:
            raise UsageError(
                f"a batch of {self.batch_size} samples is larger than the training set of {samples}",
                f"use --batch-size {samples} or less",
            )
        return steps


@dataclass(frozen=True)
class Seeds:
    """Seeds of the four random streams of a run; equal seeds of different streams are still different streams.

    Args:
        init: Initial weights.
        order: Data order.
        augment: Crops and flips.
        dropout: Dropout and every other draw inside the network.
    """

    init: int = 0
    order: int = 0
    augment: int = 0
    dropout: int = 0


@dataclass(frozen=True)
class Augmentation:
    """Random shifts by up to ``padding`` pixels over black, and horizontal flips with probability ½."""

    padding: int = 0
    flip: bool = False


def parse_augment(text: str) -> Augmentation:
    """Read ``none``, ``flip``, ``crop``, ``crop:2+flip``.

    Raises:
        UsageError: If a part is unknown.

    >>> parse_augment("crop+flip")
    Augmentation(padding=4, flip=True)
    """
    padding, flip = 0, False
    for part in text.split("+"):
        if part == "none" and text == "none":
            continue
        match = _AUGMENT.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"there is no augmentation '{part}'", "it is none, crop, flip, crop+flip or crop:2+flip")
        if match[1]:
            padding = int(match[2] or 4)
        else:
            flip = True
    return Augmentation(padding, flip)


def parse_init(text: str) -> tuple[bool, int | None]:
    """Read how initial weights are drawn: ``default``, ``corners``, ``corners:SEED``.

    Returns:
        Whether at a corner, and its own seed; None for that of the initial weights.

    Raises:
        UsageError: If it is none of them.

    >>> parse_init("corners:3")
    (True, 3)
    """
    match = _INIT.fullmatch(text)
    if match is None:
        raise UsageError(f"there are no initial weights '{text}'", "they are default, corners or corners:SEED")
    return text != "default", int(match[1]) if match[1] else None


def parse_until(text: str) -> tuple[bool, Time]:
    """Read where a child ends: ``end``, ``20ep`` (of the parent's time), or ``+10ep`` (after its spawning).

    Returns:
        Whether the time counts from the spawn point, and the time.

    >>> parse_until("+10ep")[0]
    True
    """
    relative = text.startswith("+")
    return relative, parse_time(text.removeprefix("+"))
