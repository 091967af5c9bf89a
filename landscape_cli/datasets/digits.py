"""The handwritten digits that come inside scikit-learn: 1,797 real 8×8 images, no download.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998.
"""

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landscape_cli.datasets.dataset import DataSet, make
from landscape_cli.errors import UsageError

EVERY = 5  # each fifth image of a class is a test image: 1,442 to train, 355 to test


def load(argument: str | None) -> DataSet:
    """The digits, split without chance: of each class every fifth image in file order is for testing.

    Raises:
        UsageError: If an argument is given.
    """
    if argument:
        raise UsageError(f"data set 'digits' takes no argument, not '{argument}'")
    images, labels = _read()
    test = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        test[np.flatnonzero(labels == digit)[EVERY - 1 :: EVERY]] = True
    return make(
        "digits",
        (images[~test], labels[~test]),
        (images[test], labels[test]),
        class_names=[str(d) for d in range(10)],
    )


def _read() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images on the scale 0–1, and labels."""
    spec = importlib.util.find_spec("sklearn")
    places = spec.submodule_search_locations if spec else None
    table = Path(places[0]) / "datasets" / "data" / "digits.csv.gz" if places else None
    if table is not None and table.is_file():
        # To import scikit-learn for one small table costs every command a second or two.
        values = np.loadtxt(table, delimiter=",", dtype=np.float32)
    else:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        values = np.column_stack([bunch.data, bunch.target]).astype(np.float32)
    return values[:, :64].reshape(-1, 8, 8) / np.float32(16), values[:, 64].astype(np.int64)
