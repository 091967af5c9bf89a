"""Which device, which precision, which memory layout; and networks put there."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast, get_args

import torch
from torch import nn

from landscape_cli.compute.choices import Precision
from landscape_cli.errors import DeviceError

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "float64": torch.float64,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

NORMALISATION = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Placement:
    """Where and how networks and data live.

    Args:
        device: The device.
        precision: ``float32``; ``float64``; ``tf32`` (float32 with tensor-core products, CUDA only); ``bf16`` or
            ``fp16``: products in half precision, normalisation layers and reductions in float32.
    """

    device: torch.device
    precision: Precision = "float32"

    @property
    def dtype(self) -> torch.dtype:
        """The type of activations."""
        return DTYPES[self.precision]

    @property
    def name(self) -> str:
        """The device as text, as it goes into records."""
        return str(self.device)

    def describe(self) -> str:
        """The hardware behind the device, for ``run.json``."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        if self.device.type == "cpu":
            return torch.backends.cpu.get_cpu_capability()
        return self.device.type


def placement(device: str = "auto", precision: str = "float32") -> Placement:
    """Choose a device and precision.

    Args:
        device: ``auto`` (a CUDA or Apple device where there is one, else the CPU), ``cpu``, ``cuda``, ``cuda:1``,
            ``mps``.
        precision: See :class:`Placement`.

    Raises:
        DeviceError: If the device asked for is not there, or cannot do the precision.
    """
    if precision not in get_args(Precision):
        raise DeviceError(f"there is no precision '{precision}'", "it is " + ", ".join(get_args(Precision)))
    chosen = _automatic() if device == "auto" else _named(device)
    if precision == "tf32" and chosen.type != "cuda":
        raise DeviceError(f"tf32 needs a CUDA device, not {chosen}", "use --precision bf16 or float32")
    if precision == "float64" and chosen.type == "mps":
        raise DeviceError("an Apple GPU has no float64", "use --device cpu")
    return Placement(chosen, cast(Precision, precision))


def _automatic() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _named(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"there is no device '{name}'", "it is auto, cpu, cuda, cuda:1 or mps") from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            there = f"there are {count} CUDA devices here" if count else "there is no CUDA device here"
            raise DeviceError(f"--device {name}: {there}", "use --device cpu or --device auto")
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("--device mps: there is no Apple GPU here", "use --device cpu or --device auto")
    if device.type not in ("cpu", "mps"):
        raise DeviceError(f"device '{name}' is not supported", "it is auto, cpu, cuda, cuda:1 or mps")
    return device


def set_threads(threads: int | None) -> None:
    """Use so many CPU threads; None leaves the number as it is."""
    if threads is not None:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def threads_given_back() -> Iterator[None]:
    """As many CPU threads afterwards as before."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def place(network: nn.Module, where: Placement) -> nn.Module:
    """Move a network to a device in the layout that is fastest there, and cast it for measuring.

    Convolution weights become channels-last (twice as fast on a CPU as torch's default layout, measured). In half
    precision, normalisation layers keep float32 parameters and statistics: torch mixes the two exactly there.
    """
    network.to(where.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if where.dtype != torch.float32:
        half = where.dtype in (torch.bfloat16, torch.float16)
        for module in network.modules():
            if not (half and isinstance(module, NORMALISATION)):
                _cast_own(module, where.dtype)
    return network


def _cast_own(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast the floating parameters and buffers that a module holds itself, not those of its children."""
    for parameter in module.parameters(recurse=False):
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
    for name, buffer in module.named_buffers(recurse=False):
        if buffer.is_floating_point():
            setattr(module, name, buffer.to(dtype))


@contextlib.contextmanager
def math_mode(where: Placement, *, deterministic: bool = True) -> Iterator[None]:
    """Deterministic kernels, unless the fastest ones are wanted; tensor-core products only where ``tf32`` is asked for.

    A CUDA device is the current one meanwhile: events, streams and recordings that name none are of it.

    Without ``deterministic``, cuDNN tries its kernels on the first batches and keeps the fastest, which may sum in
    another order each time.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark)
    matmul.allow_tf32 = cudnn.allow_tf32 = where.precision == "tf32"
    cudnn.deterministic, cudnn.benchmark = deterministic, not deterministic
    current = torch.cuda.device(where.device) if where.device.type == "cuda" else contextlib.nullcontext()
    try:
        with current:
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before
