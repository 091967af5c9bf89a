"""Synthetic data labelled by a teacher, with inputs of a sloppy or an even spectrum (Mao et al. 2023, appendix).

Inputs ``x ~ N(0, diag(λ)/d)`` in d = 200 dimensions with ``λ_i = b·exp(−c·i)``, ``b = 50c``; the label is the argmax
of a teacher network tanh 200-50-5 without biases, its weights ``N(0, 1)`` (the paper does not say how they were
drawn). ``c = 0.5`` is sloppy: a few directions carry everything; ``c = 0.001`` is nearly isotropic.
"""

from typing import Literal

import numpy as np

from landscape_cli.datasets.dataset import DataSet, make
from landscape_cli.errors import UsageError

DECAY = {"sloppy": 0.5, "isotropic": 0.001}


def load(
    argument: str | None,
    *,
    train: int = 5000,
    test: int = 1000,
    dimension: int = 200,
    hidden: int = 50,
    classes: int = 5,
    seed: int = 0,
    activation: Literal["tanh", "relu"] = "tanh",
) -> DataSet:
    """Draw the data set; the same options give the same data everywhere.

    Args:
        argument: ``sloppy`` or ``isotropic``.
        train: Training samples.
        test: Test samples.
        dimension: Input dimension d.
        hidden: Hidden width of the teacher.
        classes: Classes, the teacher's outputs.
        seed: Of the teacher and the inputs.
        activation: Of the teacher's hidden layer.

    Raises:
        UsageError: If the argument is unknown or a size is below one.
    """
    if argument not in DECAY:
        raise UsageError(
            f"there is no synthetic data set '{argument}'", "it is synthetic:sloppy or synthetic:isotropic"
        )
    if min(train, test, dimension, hidden) < 1 or classes < 2:
        raise UsageError("a synthetic data set needs sizes of at least one, and two classes")
    decay = DECAY[argument]
    eigenvalues = 50 * decay * np.exp(-decay * np.arange(dimension))
    random = np.random.Generator(np.random.PCG64([seed, 3]))
    inputs = random.standard_normal((train + test, dimension)) * np.sqrt(eigenvalues / dimension)
    first = random.standard_normal((dimension, hidden))
    second = random.standard_normal((hidden, classes))
    values = inputs @ first
    active = np.tanh(values) if activation == "tanh" else np.maximum(values, 0)
    labels = np.argmax(active @ second, axis=1)
    inputs = inputs.astype(np.float32)
    return make(
        f"synthetic:{argument}",
        (inputs[:train], labels[:train]),
        (inputs[train:], labels[train:]),
        classes=classes,
    )
