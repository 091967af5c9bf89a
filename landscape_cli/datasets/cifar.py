"""CIFAR-10 and CIFAR-100 from their original files, the python batches or the binary ones.

The python batches are pickles. They are read by an unpickler that knows how to build an array and nothing else, so
that a doctored file cannot run code.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from landscape_cli.datasets.dataset import DataSet, make
from landscape_cli.errors import DataError

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class _Layout:
    """Where a variant keeps its files."""

    name: str
    folder: str
    binary_folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_keys: tuple[str, ...]
    label_bytes: int
    meta: tuple[str, str]
    meta_binary: str


CIFAR10 = _Layout(
    "cifar10", "cifar-10-batches-py", "cifar-10-batches-bin", tuple(f"data_batch_{i}" for i in range(1, 6)),
    ("test_batch",), ("labels",), 1, ("batches.meta", "label_names"), "batches.meta.txt",
)  # fmt: skip
CIFAR100 = _Layout(
    "cifar100", "cifar-100-python", "cifar-100-binary", ("train",), ("test",), ("fine_labels", "coarse_labels"), 2,
    ("meta", "fine_label_names"), "fine_label_names.txt",
)  # fmt: skip


def load_cifar10(argument: str) -> DataSet:
    """CIFAR-10 from a folder with ``data_batch_1 … 5`` and ``test_batch`` (with or without ``.bin``).

    Args:
        argument: That folder, or the one that holds ``cifar-10-batches-py`` or ``cifar-10-batches-bin``.

    Raises:
        DataError: If a file is missing or damaged.
    """
    return _load(Path(argument), CIFAR10, classes=10)


def load_cifar100(argument: str, *, labels: Literal["fine", "coarse"] = "fine") -> DataSet:
    """CIFAR-100 from a folder with ``train`` and ``test`` (with or without ``.bin``).

    Args:
        argument: That folder, or the one that holds ``cifar-100-python`` or ``cifar-100-binary``.
        labels: ``fine`` (100 classes) or ``coarse`` (20).

    Raises:
        DataError: If a file is missing or damaged.
    """
    return _load(Path(argument), CIFAR100, classes=100 if labels == "fine" else 20, coarse=labels == "coarse")


def _load(root: Path, layout: _Layout, *, classes: int, coarse: bool = False) -> DataSet:
    folder, suffix = _find(root, layout)
    key = layout.label_keys[1 if coarse else 0]
    column = 0 if coarse or layout.label_bytes == 1 else 1

    def read(names: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        files = [folder / (name + suffix) for name in names]
        parts = [_read_binary(f, layout, column) if suffix else _read_python(f, key) for f in files]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    names = None if coarse else _class_names(folder, layout, suffix)
    return make(layout.name, read(layout.train), read(layout.test), classes=classes, class_names=names)


def _find(root: Path, layout: _Layout) -> tuple[Path, str]:
    for folder in (root, root / layout.folder, root / layout.binary_folder):
        for suffix in ("", ".bin"):
            if (folder / (layout.train[0] + suffix)).is_file():
                return folder, suffix
    state = "does not exist" if not root.exists() else f"holds no {layout.train[0]} or {layout.train[0]}.bin"
    raise DataError(
        f"{layout.name}: {root} {state}",
        f"give the unpacked folder ({layout.folder} or {layout.binary_folder}) or the one that holds it",
    )


class _ArrayUnpickler(pickle.Unpickler):
    """Builds arrays, numbers, text and containers; every other global is refused."""

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
        }
    )  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        """Look an allowed global up.

        Raises:
            pickle.UnpicklingError: For every other one.
        """
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        if name == "_reconstruct":
            from numpy._core.multiarray import _reconstruct

            return _reconstruct
        return super().find_class(module, name)


def _unpickle(file: Path) -> dict[str, Any]:
    """The dictionary in a CIFAR python batch, its keys as text."""
    if not file.is_file():
        raise DataError(f"{file} is missing", "unpack the whole archive again")
    try:
        content = _ArrayUnpickler(io.BytesIO(file.read_bytes()), encoding="bytes").load()
        return {k.decode() if isinstance(k, bytes) else k: v for k, v in content.items()}
    except Exception as error:
        raise DataError(f"{file} is no CIFAR batch: {error}", "unpack the archive again") from error


def _read_python(file: Path, key: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    batch = _unpickle(file)
    data, labels = batch.get("data"), batch.get(key)
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != PIXELS or labels is None:
        raise DataError(f"{file} is no CIFAR batch: it has no images or no '{key}'", "unpack the archive again")
    return data.reshape(-1, 3, 32, 32), np.asarray(labels, dtype=np.int64)


def _read_binary(file: Path, layout: _Layout, column: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if not file.is_file():
        raise DataError(f"{file} is missing", "unpack the whole archive again")
    raw = np.fromfile(file, dtype=np.uint8)
    row = layout.label_bytes + PIXELS
    if len(raw) == 0 or len(raw) % row:
        raise DataError(f"{file} is cut off: {len(raw):,} bytes are no whole number of images", "unpack it again")
    rows = raw.reshape(-1, row)
    return rows[:, layout.label_bytes :].reshape(-1, 3, 32, 32), rows[:, column].astype(np.int64)


def _class_names(folder: Path, layout: _Layout, suffix: str) -> list[str] | None:
    """The names of the classes, if their file is there: results do not depend on it."""
    if suffix:
        file = folder / layout.meta_binary
        return file.read_text(encoding="utf-8").split() if file.is_file() else None
    file = folder / layout.meta[0]
    if not file.is_file():
        return None
    names = _unpickle(file).get(layout.meta[1], [])
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names] or None
