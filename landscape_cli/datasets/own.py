"""What a user's own function may return as a data set."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.datasets.dataset import DataSet, make
from landscape_cli.errors import DataError

FORMS = "return (x_train, y_train, x_test, y_test), a dictionary with those keys, or (train, test) data sets"


def adopt(value: Any, name: str) -> DataSet:
    """Turn what a user's function returned into a :class:`DataSet`.

    Accepted are a DataSet; four arrays or tensors; a mapping with ``x_train, y_train, x_test, y_test`` (and
    optionally ``class_names``); or two map-style data sets of ``(input, label)`` pairs, as torchvision has them.

    Raises:
        DataError: If it is none of these.
    """
    if isinstance(value, DataSet):
        return value
    class_names = None
    if isinstance(value, Mapping):
        class_names = value.get("class_names")
        try:
            value = tuple(value[key] for key in ("x_train", "y_train", "x_test", "y_test"))
        except KeyError as error:
            raise DataError(f"{name} returned a dictionary without {error}", FORMS) from None
    if isinstance(value, tuple) and len(value) == 4:
        x_train, y_train, x_test, y_test = (_array(part) for part in value)
        return make(name, (x_train, y_train), (x_test, y_test), class_names=class_names)
    if isinstance(value, tuple) and len(value) == 2 and all(hasattr(part, "__getitem__") for part in value):
        train, test = (_pairs(part, name) for part in value)
        return make(name, train, test, class_names=getattr(value[0], "classes", class_names))
    raise DataError(f"{name} returned {type(value).__name__}, which is no data set", FORMS)


def _array(value: Any) -> NDArray[Any]:
    """A numpy array of an array, a tensor on any device, or a list."""
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _pairs(part: Any, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        samples = [part[i] for i in range(len(part))]
        return np.stack([_array(x) for x, _ in samples]), np.array([int(y) for _, y in samples])
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: its items are no (input, label) pairs: {error}", FORMS) from error
