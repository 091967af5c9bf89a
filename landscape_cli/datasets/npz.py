"""A data set in one numpy file."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.datasets.dataset import DataSet, make
from landscape_cli.errors import DataError

KEYS = {
    "train inputs": ("x_train", "train_x", "train_images", "X_train"),
    "train labels": ("y_train", "train_y", "train_labels"),
    "test inputs": ("x_test", "test_x", "test_images", "X_test"),
    "test labels": ("y_test", "test_y", "test_labels"),
}


def load(argument: str, *, classes: int | None = None) -> DataSet:
    """A data set from ``x_train, y_train, x_test, y_test`` in an ``.npz`` file (pickled objects are refused).

    Args:
        argument: The file.
        classes: The number of classes, if the labels do not show it.

    Raises:
        DataError: If the file or one of its arrays is missing or damaged.
    """
    path = Path(argument)
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = [_get(file, path, what, names) for what, names in KEYS.items()]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no readable .npz file: {error}") from error
    return make(f"npz:{path.name}", (arrays[0], arrays[1]), (arrays[2], arrays[3]), classes=classes)


def _get(file: Any, path: Path, what: str, names: tuple[str, ...]) -> NDArray[Any]:
    for name in names:
        if name in file:
            array: NDArray[Any] = file[name]
            return array
    raise DataError(f"{path} holds no {what} ('{names[0]}')", f"it holds {', '.join(file.files)}")
