"""How predictions lie in their HDF5 file, and where the bytes of a model are.

``log_probs (model, sample, class)`` is chunked, fixed in size and, unless compressed, allocated at once without fill
values, so that HDF5 keeps no index of its chunks: they follow each other in the file. A chunk holds either whole
models or a block of samples of one, therefore each model is one piece of the file, ``base + model · stride``, and can
be written and read without touching any of HDF5's own structures. The file is sparse until models are written.

``finished (model)`` tells which models are there. ``model``, ``sample`` and ``class`` are the dimension scales (names,
sample ids, class numbers), ``labels`` and ``sample_ids`` go with the samples, the group ``models`` holds a table with
one row a model, and ``rounding (model, quantity)``, with float16, what the rounding did.
"""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import DataError, StorageError
from landscape_cli.store.hdf5 import open_hdf5, read_bytes
from landscape_cli.store.tables import Table, dataset_name

if TYPE_CHECKING:
    import h5py

KIND = "predictions"
SCHEMA = 1
CHUNK = 1 << 19  # bytes: small enough to read a block of samples of many models, large enough for compression
HALF_LOWEST = -65504.0  # the lowest float16: what lies below is clipped to it
MEASURED = ("loss", "error")  # columns of the table that are known only once a model is written
ROUNDING = ("log_prob", "probability", "clipped")  # the columns of the dataset "rounding"
HALF_NOTE = (
    "float16: log-probabilities are rounded to 11 bits (relative error up to 2^-11, so a probability is off by at "
    "most 1.8e-4) and clipped at -65504; 'rounding' holds what was measured for each model"
)

DType = Literal["float16", "float32", "float64"]
Compression = Literal["none", "lzf", "gzip"]


@dataclass(frozen=True)
class Placement:
    """Where the models of an uncompressed file are.

    Args:
        base: The byte at which the first begins.
        stride: Bytes from one to the next.
    """

    base: int
    stride: int

    def offset(self, model: int) -> int:
        """The byte at which a model begins; its samples and classes follow, row-major."""
        return self.base + model * self.stride


@dataclass(frozen=True, eq=False)
class Stored:
    """All of a predictions file but the predictions.

    Args:
        path: The file.
        description: What the attribute ``description`` says: split, data, fingerprint, classes, dtype, precision,
            sampling.
        labels: The label of each sample.
        sample_ids: The position of each sample in its split.
        table: One row a model, finished or not.
        finished: Which models are.
        dtype: The type of the stored log-probabilities.
        placement: Where models are; None if the chunks are compressed or lie otherwise.
        compression: ``none``, ``lzf`` or ``gzip``.
        rounding: What rounding to float16 did to each model: see :data:`ROUNDING`.
        offsets: Bytes at which ``finished``, ``rounding`` and the measured columns begin.
        inode: Which file on disk this was read from.
    """

    path: Path
    description: dict[str, Any]
    labels: NDArray[np.int64]
    sample_ids: NDArray[np.int64]
    table: Table
    finished: NDArray[np.bool_]
    dtype: "np.dtype[Any]"
    placement: Placement | None
    compression: str
    rounding: NDArray[np.float64] | None
    offsets: dict[str, int]
    inode: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Models (unfinished ones too), samples, classes."""
        return len(self.finished), len(self.labels), int(self.description["classes"])


def load(path: Path) -> Stored:
    """Read everything but the predictions.

    Raises:
        DataError: See :func:`landscape_cli.store.hdf5.open_hdf5`; or if a part is missing or damaged.
    """
    path = Path(path)
    with open_hdf5(path, KIND, SCHEMA) as file:
        status = path.stat()
        try:
            data, group = file["log_probs"], file["models"]
            description = json.loads(file.attrs["description"])
            table = Table.read(group)
            offsets = {name: group[name].id.get_offset() for name in MEASURED}
            offsets["finished"] = file["finished"].id.get_offset()
            rounding = None
            if "rounding" in file:
                rounding = np.asarray(file["rounding"][()], dtype=np.float64)
                offsets["rounding"] = file["rounding"].id.get_offset()
            stored = Stored(
                path=path,
                description=description,
                labels=np.asarray(file["labels"][()], dtype=np.int64),
                sample_ids=np.asarray(file["sample_ids"][()], dtype=np.int64),
                table=table,
                finished=np.asarray(file["finished"][()], dtype=bool),
                dtype=data.dtype,
                placement=placement(data),
                compression=data.compression or "none",
                rounding=rounding,
                offsets=offsets,
                inode=(status.st_dev, status.st_ino),
            )
            if data.shape != stored.shape or len(table) != len(stored.finished) or "key" not in table:
                raise DataError(f"{path} is damaged: its parts are of different sizes")
        except (KeyError, ValueError, OSError, RuntimeError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged: {error}") from error
    return stored


def chunk_shape(models: int, samples: int, classes: int, item: int) -> tuple[int, int, int]:
    """Chunks of about :data:`CHUNK` bytes: several whole models, or a block of samples of one.

    >>> chunk_shape(1000, 1000, 10, 4), chunk_shape(1000, 50_000, 10, 4)
    ((13, 1000, 10), (1, 12500, 10))
    """
    row = samples * classes * item
    if row <= CHUNK:
        return max(1, min(models, CHUNK // row)), samples, classes
    return 1, -(-samples // -(-row // CHUNK)), classes


def placement(data: "h5py.Dataset") -> Placement | None:
    """Where the models of a dataset are, if each is one piece of the file at equal distances; else None.

    A file that another tool packed anew may lie otherwise: the first, the last and some chunks between are looked at.
    """
    chunks = data.chunks
    if chunks is None or data.compression is not None or data.shuffle or data.fletcher32 or data.scaleoffset:
        return None
    item, (models, samples, classes) = data.dtype.itemsize, data.shape
    size = math.prod(chunks) * item
    if chunks[2] != classes or (chunks[0] > 1 and chunks[1] != samples) or not models:
        return None
    rows, blocks = -(-models // chunks[0]), -(-samples // chunks[1])
    if data.id.get_num_chunks() != rows * blocks:
        return None
    base: int | None = None
    for number in sorted({0, 1, rows * blocks // 3, rows * blocks // 2, rows * blocks - 1}):
        if number >= rows * blocks:
            continue
        row, block = divmod(number, blocks)
        found = data.id.get_chunk_info_by_coord((row * chunks[0], block * chunks[1], 0)).byte_offset
        base = found if base is None else base
        if found is None or base is None or found != base + number * size:
            return None
    assert base is not None
    return Placement(base, blocks * size // chunks[0])


def lay_out(
    file: "h5py.File",
    *,
    description: dict[str, Any],
    labels: NDArray[np.int64],
    sample_ids: NDArray[np.int64],
    table: Table,
    finished: NDArray[np.bool_],
    rounding: NDArray[np.float64] | None = None,
    compression: Compression = "none",
) -> "h5py.Dataset":
    """Give a new file its structure, with room for all models of ``table`` and none of their predictions.

    Uncompressed, the file then has the size of the predictions, and takes a few kilobytes of the disk until they are
    written. Cost: O(models + samples).

    Returns:
        The dataset of the predictions.
    """
    import h5py

    models, samples, classes = len(table), len(labels), int(description["classes"])
    dtype = np.dtype(description["dtype"]).newbyteorder("<")
    file.attrs["kind"] = KIND
    file.attrs["schema"] = SCHEMA
    file.attrs["description"] = json.dumps(description, sort_keys=True)
    names = table.columns.get("name", table.column("key"))
    scales = {
        "model": _create(file, "model", names, h5py.string_dtype()),
        "sample": _create(file, "sample", sample_ids, "<i8"),
        "class": _create(file, "class", np.arange(classes), "<i8"),
    }
    for name, scale in scales.items():
        scale.make_scale(name)
    for name, values in (("labels", labels), ("sample_ids", sample_ids)):
        _create(file, name, values, "<i8").dims[0].attach_scale(scales["sample"])
    _create(file, "finished", finished, "u1").dims[0].attach_scale(scales["model"])
    if description["dtype"] == "float16":
        empty = np.full((models, len(ROUNDING)), np.nan) if rounding is None else rounding
        quantity = _create(file, "quantity", np.asarray(ROUNDING, dtype=object), h5py.string_dtype())
        quantity.make_scale("quantity")
        rounded = _create(file, "rounding", empty, "<f8")
        rounded.attrs["content"] = HALF_NOTE
        rounded.dims[0].attach_scale(scales["model"])
        rounded.dims[1].attach_scale(quantity)
    group = file.create_group("models", track_times=False)
    table.write(group)
    for name in table.columns:
        group[dataset_name(name)].dims[0].attach_scale(scales["model"])
    # Last, so that all that is changed in place later lies before it, on disk already when room runs out.
    data = _create_data(file, (models, samples, classes), dtype, compression)
    data.attrs["content"] = "natural logarithm of the probability of each class"
    for axis, scale in enumerate(scales.values()):
        data.dims[axis].attach_scale(scale)
    return data


def _create(file: "h5py.File", name: str, values: NDArray[Any], dtype: Any) -> "h5py.Dataset":
    return file.create_dataset(name, data=values, dtype=dtype, track_times=False)


def _create_data(file: "h5py.File", shape: tuple[int, ...], dtype: Any, compression: Compression) -> "h5py.Dataset":
    import h5py

    chunks = chunk_shape(shape[0], shape[1], shape[2], dtype.itemsize)
    if compression != "none":
        return file.create_dataset(
            "log_probs", shape, dtype, chunks=chunks, compression=compression, shuffle=True, track_times=False
        )
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_chunk(chunks)
    how.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    how.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    how.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(file.id, b"log_probs", h5py.h5t.py_create(dtype), space, how))


class StoredRows:
    """The predictions of a file while they are read: plain reads, or HDF5's own where chunks are compressed.

    Raises:
        StorageError: If the file was replaced since it was loaded.
        DataError: If it is gone or cut off.
    """

    def __init__(self, stored: Stored) -> None:
        self.stored = stored

    def __enter__(self) -> "StoredRows":
        path = self.stored.path
        try:
            status = path.stat()
            if (status.st_dev, status.st_ino) != self.stored.inode:
                raise StorageError(f"{path} was replaced while it was read", "give the same command again")
            if self.stored.placement is None:
                self.file = open_hdf5(path, KIND, SCHEMA)
            else:
                self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from error
        return self

    def __exit__(self, *reason: object) -> None:
        if self.stored.placement is None:
            self.file.close()
        else:
            os.close(self.descriptor)

    def read(self, row: int, first: int, into: NDArray[Any]) -> None:
        """Read a block of samples of one model, from the ``first`` on, in the type that is stored."""
        stored = self.stored
        if stored.placement is None:
            try:
                self.file["log_probs"].read_direct(into, np.s_[row, first : first + len(into)])
            except OSError as error:
                raise DataError(f"{stored.path} is damaged: {error}") from error
            return
        offset = stored.placement.offset(row) + first * stored.shape[2] * stored.dtype.itemsize
        read_bytes(self.descriptor, into, offset, stored.path)


def rounding_summary(rounding: NDArray[np.float64]) -> dict[str, float]:
    """The largest rounding errors over models, and the count of clipped entries."""
    log_prob, probability, clipped = (rounding[:, ROUNDING.index(name)] for name in ROUNDING)
    return {
        "log_prob": float(log_prob.max(initial=0.0)),
        "probability": float(probability.max(initial=0.0)),
        "clipped": int(clipped.sum()),
    }
