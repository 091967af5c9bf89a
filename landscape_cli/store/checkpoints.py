"""Checkpoints: safetensors files, read by their header where that is enough.

The header of a safetensors file is a length (8 bytes, little endian) and a JSON object that names each tensor's
type, shape and place; everything but the numbers can be had from it without torch.
"""

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape_cli.errors import CheckpointError
from landscape_cli.store.atomic import replacing

if TYPE_CHECKING:
    from torch import Tensor

METADATA_KEY = "landscape"
MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors reader itself

ITEM_SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
FLOATING = frozenset({"F8_E5M2", "F8_E4M3", "F16", "BF16", "F32", "F64"})


@dataclass(frozen=True)
class TensorInfo:
    """What a header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """The header of one safetensors file.

    Args:
        path: The file.
        tensors: Its tensors by name, in name order.
        metadata: Its free text metadata.
        data_start: The byte at which tensor data begins.
    """

    path: Path
    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    data_start: int

    @cached_property
    def landscape(self) -> dict[str, Any]:
        """This toolkit's own metadata (step, epoch, content hash); empty for other people's files."""
        try:
            value = json.loads(self.metadata.get(METADATA_KEY, "{}"))
        except json.JSONDecodeError:
            return {}
        return value if isinstance(value, dict) else {}


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file; no tensor is read.

    Raises:
        CheckpointError: If the file is missing, truncated, or no safetensors file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            if len(prefix) < 8:
                raise _damaged(path, "it is shorter than a header")
            (length,) = struct.unpack("<Q", prefix)
            if length > MAX_HEADER:
                raise _damaged(path, "it does not begin with a safetensors header")
            if length + 8 > size:
                raise _damaged(path, "it is cut off inside its header")
            raw = file.read(length)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    try:
        entries = json.loads(raw)
        metadata = entries.pop("__metadata__", {})
        tensors = {
            name: TensorInfo(str(e["dtype"]), tuple(int(s) for s in e["shape"]), *map(int, e["data_offsets"]))
            for name, e in sorted(entries.items())
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, "its header is no safetensors header") from error
    end = 0
    for name, info in sorted(tensors.items(), key=lambda item: item[1].start):
        expected = info.size * ITEM_SIZES.get(info.dtype, 0)
        if info.start != end or (info.dtype in ITEM_SIZES and info.stop - info.start != expected):
            raise _damaged(path, f"the place of tensor '{name}' does not fit its shape")
        end = info.stop
    if 8 + length + end != size:
        kind = "cut off" if size < 8 + length + end else "longer than its header says"
        raise _damaged(path, f"it is {kind} ({size:,} bytes, {8 + length + end:,} expected)")
    return Header(path, tensors, metadata, 8 + length)


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{path} is damaged: {why}", "copy it again, or take another checkpoint")


def _digest(items: Iterable[tuple[str, str, tuple[int, ...], bytes | memoryview]]) -> str:
    digest = hashlib.sha256()
    for name, dtype, shape, data in items:
        digest.update(f"{name}\0{dtype}\0{','.join(map(str, shape))}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def content_hash(files: Iterable[Path]) -> str:
    """SHA-256 over the tensors (names, types, shapes, bytes) of a checkpoint, whatever its metadata or shards.

    Two checkpoints hash alike exactly when they hold the same tensors. Cost: one read of the files.

    Raises:
        CheckpointError: If a file is missing or damaged.
    """
    headers = [read_header(file) for file in files]
    places = sorted((name, info, header) for header in headers for name, info in header.tensors.items())

    def items() -> Iterable[tuple[str, str, tuple[int, ...], bytes]]:
        for name, info, header in places:
            with header.path.open("rb") as file:
                file.seek(header.data_start + info.start)
                yield name, info.dtype, info.shape, file.read(info.stop - info.start)

    return _digest(items())


def tensors_hash(tensors: Mapping[str, "Tensor"]) -> str:
    """The :func:`content_hash` that a file with these tensors would have. Cost: one pass over the bytes."""
    import torch

    names = {
        torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.int32: "I32",
        torch.int64: "I64", torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32",
        torch.float64: "F64",
    }  # fmt: skip

    def items() -> Iterable[tuple[str, str, tuple[int, ...], memoryview]]:
        for name, tensor in sorted(tensors.items()):
            plain = tensor.detach().cpu().contiguous().reshape(-1)
            data = plain.view(torch.uint8).numpy().data if plain.numel() else memoryview(b"")
            yield name, names.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape), data

    return _digest(items())


def read_tensors(files: Iterable[Path]) -> dict[str, "Tensor"]:
    """Read all tensors of a checkpoint, one file or several shards, onto the CPU.

    Raises:
        CheckpointError: If a file is missing or damaged, or two shards hold the same tensor.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = {}
    for file in files:
        read_header(file)
        try:
            part = load_file(file)
        except (SafetensorError, OSError) as error:
            raise _damaged(file, str(error)) from error
        if twice := sorted(tensors.keys() & part.keys()):
            raise CheckpointError(f"{file}: tensor '{twice[0]}' is in two shards")
        tensors.update(part)
    return tensors


def write_tensors(path: Path, tensors: Mapping[str, "Tensor"], metadata: Mapping[str, Any]) -> str:
    """Write tensors and this toolkit's metadata as one safetensors file, atomically.

    Tensors are stored dense and row-major (a channels-last layout is a matter of the device, not of the file), and
    a tensor that two names share is stored under both.

    Returns:
        The content hash of the tensors, which also goes into the metadata.

    Raises:
        StorageError: If the disk is full or the place cannot be written; an old file stays whole.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    seen: set[int] = set()
    dense = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        if plain.untyped_storage().data_ptr() in seen or plain.untyped_storage().nbytes() != plain.nbytes:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        dense[name] = plain
    digest = tensors_hash(dense)
    text = json.dumps({**metadata, "hash": digest}, sort_keys=True)
    with replacing(path) as temporary:
        try:
            save_file(dense, temporary, metadata={METADATA_KEY: text})
        except SafetensorError as error:
            raise OSError(_errno(error), str(error)) from error
    return digest


def _errno(error: Exception) -> int:
    """The system's error number inside the safetensors library's message (``… (os error 28)``)."""
    words = str(error).rpartition("os error ")[2].rstrip(")} \"'")
    return int(words) if words.isdigit() else 5


def first_non_finite(tensors: Mapping[str, "Tensor"]) -> str | None:
    """The name of the first floating tensor that holds a NaN or an infinity, or None. Cost: one pass."""
    import torch

    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return name
    return None


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint on disk, ours or somebody else's.

    Args:
        path: What the user would call it.
        files: The safetensors files that hold it (several for a sharded one).
        step: The optimiser step, if its name or metadata tells.
        epoch: The epoch, if known.
        run: The run directory it belongs to, if any.
        called: How the user named it, if otherwise than by its path.
    """

    path: Path
    files: tuple[Path, ...]
    step: int | None = None
    epoch: float | None = None
    run: Path | None = None
    called: str | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """How this checkpoint is written in a record: as the user named it, or its path."""
        return self.called or str(self.path)

    def headers(self) -> list[Header]:
        """The headers of its files."""
        return [read_header(file) for file in self.files]

    def hash(self) -> str:
        """Its content hash: from the metadata where we wrote it, else computed."""
        stored = self.headers()[0].landscape.get("hash") if len(self.files) == 1 else None
        return stored if isinstance(stored, str) else content_hash(self.files)

    def tensors(self, *, finite: bool = True) -> dict[str, "Tensor"]:
        """Read its tensors onto the CPU.

        Args:
            finite: Refuse a checkpoint with a NaN or an infinity among its weights.

        Raises:
            CheckpointError: If it is damaged, or not finite.
        """
        tensors = read_tensors(self.files)
        if finite and (name := first_non_finite(tensors)) is not None:
            raise CheckpointError(
                f"{self.path}: tensor '{name}' holds NaN or infinite values",
                "the run diverged before this checkpoint; take an earlier one",
            )
        return tensors
