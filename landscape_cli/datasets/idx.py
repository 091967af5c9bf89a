"""MNIST and its relatives from idx files, packed with gzip or not.

The format: two zero bytes, a type byte (8: unsigned byte), the number of dimensions, each size as a big-endian
32-bit number, then the data.
"""

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.datasets.dataset import DataSet, make
from landscape_cli.errors import DataError

FASHION_CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def load_mnist(argument: str) -> DataSet:
    """MNIST from a folder with its four idx files.

    Args:
        argument: That folder, or the one that holds ``raw``, ``MNIST/raw`` or ``FashionMNIST/raw``.

    Raises:
        DataError: If a file is missing or damaged.
    """
    return _load(Path(argument), "mnist", tuple(str(d) for d in range(10)))


def load_fashion_mnist(argument: str) -> DataSet:
    """Fashion-MNIST; see :func:`load_mnist`. Source: Xiao, Rasul and Vollgraf 2017."""
    return _load(Path(argument), "fashion-mnist", FASHION_CLASSES)


def _load(root: Path, name: str, class_names: tuple[str, ...]) -> DataSet:
    def part(prefix: str) -> tuple[NDArray[Any], NDArray[Any]]:
        images = read_idx(_find(root, f"{prefix}-images-idx3-ubyte", name))
        labels = read_idx(_find(root, f"{prefix}-labels-idx1-ubyte", name))
        if images.ndim != 3 or labels.ndim != 1:
            raise DataError(f"{name}: the files in {root} hold arrays of other dimensions", "unpack them again")
        return images, labels

    return make(name, part("train"), part("t10k"), class_names=class_names)


def _find(root: Path, stem: str, name: str) -> Path:
    for folder in (root, root / "raw", root / "MNIST" / "raw", root / "FashionMNIST" / "raw"):
        for variant in (
            stem,
            stem + ".gz",
            stem.replace("-idx", ".idx"),
            stem.replace("-idx", ".idx") + ".gz",
        ):
            if (folder / variant).is_file():
                return folder / variant
    state = "does not exist" if not root.exists() else f"holds no {stem} (.gz or not)"
    raise DataError(f"{name}: {root} {state}", "give the folder with the four idx files")


def read_idx(file: Path) -> NDArray[np.uint8]:
    """Read one idx file of unsigned bytes.

    Raises:
        DataError: If it is no idx file, or is cut off.
    """
    try:
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} is damaged: {error}", "copy it again") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise DataError(f"{file} is no idx file of bytes", "copy it again")
    dimensions = raw[3]
    start = 4 + 4 * dimensions
    if len(raw) < start:
        raise DataError(f"{file} is cut off inside its header", "copy it again")
    shape = struct.unpack(f">{dimensions}I", raw[4:start])
    if len(raw) - start != int(np.prod(shape, dtype=np.int64)):
        raise DataError(f"{file} is cut off: its header promises {shape}", "copy it again")
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)
