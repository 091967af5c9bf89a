"""What can be done to a training part before any training: a balanced subset, labels without meaning, label noise."""

import re

import numpy as np

from landscape_cli.datasets.dataset import Split
from landscape_cli.errors import DataError, UsageError

TRUE_LABELS = "true"

_LABELS = re.compile(r"(random|permuted):(\d+)")


def take_balanced(part: Split, size: int, classes: int, seed: int) -> Split:
    """A random subset with classes in their original proportions (largest remainders), in the original order.

    Raises:
        DataError: If ``size`` is not between 1 and the size of the part.
    """
    return part.take(balanced_index(part.labels, size, classes, seed))


def balanced_index(labels: np.ndarray, size: int, classes: int, seed: int) -> np.ndarray:
    """The indices of :func:`take_balanced`, ascending.

    Raises:
        DataError: If ``size`` is not between 1 and the number of labels.
    """
    if not 1 <= size <= len(labels):
        raise DataError(f"a subset of {size} samples was asked for, but there are {len(labels)}")
    counts = np.bincount(labels, minlength=classes)
    share = counts * size / len(labels)
    take = np.floor(share).astype(int)
    # Stable order, so that equal remainders go to the lower class on every platform.
    missing = np.argsort(-(share - take), kind="stable")[: size - take.sum()]
    take[missing] += 1
    random = np.random.Generator(np.random.PCG64([seed, 1]))
    chosen = [random.permutation(np.flatnonzero(labels == c))[: take[c]] for c in range(classes)]
    return np.sort(np.concatenate(chosen))


def flip_labels(part: Split, share: float, classes: int, seed: int) -> Split:
    """Replace the labels of a random ``round(share · n)`` samples by a uniformly drawn other class.

    Source: symmetric label noise as in Nakkiran et al. 2020 (deep double descent), with an exact count.

    Raises:
        DataError: If ``share`` is not between 0 and 1, or there is one class only.
    """
    if not 0 <= share <= 1:
        raise DataError(f"label noise is a share between 0 and 1, not {share}")
    if classes < 2:
        raise DataError("label noise needs at least two classes")
    random = np.random.Generator(np.random.PCG64([seed, 2]))
    chosen = random.permutation(len(part))[: round(share * len(part))]
    labels = part.labels.copy()
    labels[chosen] = (labels[chosen] + random.integers(1, classes, size=len(chosen))) % classes
    return Split(part.inputs, labels)


def parse_labels(text: str) -> tuple[str, int]:
    """Read ``true``, ``random:SEED`` or ``permuted:SEED``: which labels, and the seed of their draw.

    Raises:
        UsageError: If it is none of them.

    >>> parse_labels("random:3")
    ('random', 3)
    """
    if text == TRUE_LABELS:
        return TRUE_LABELS, 0
    match = _LABELS.fullmatch(text)
    if match is None:
        raise UsageError(f"there are no labels '{text}'", "they are true, random:SEED or permuted:SEED")
    return match[1], int(match[2])


def replace_labels(part: Split, labels: str, classes: int) -> Split:
    """The same inputs with labels that say nothing of them.

    ``random:SEED`` draws each label uniformly from all classes, the true one among them, independently of the others
    and of the input (Mao et al. 2023, "Random-label first stage"); ``permuted:SEED`` shuffles the labels among the
    samples, which keeps the number of samples of each class.

    Args:
        part: The training part.
        labels: See :func:`parse_labels`; ``true`` changes nothing.
        classes: Classes to draw from.

    Raises:
        UsageError: If ``labels`` is no such text.
    """
    kind, seed = parse_labels(labels)
    if kind == TRUE_LABELS:
        return part
    random = np.random.Generator(np.random.PCG64([seed, 4]))
    if kind == "permuted":
        return Split(part.inputs, random.permutation(part.labels))
    return Split(part.inputs, random.integers(classes, size=len(part)))
