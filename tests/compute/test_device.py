import contextlib
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from landscape_cli.compute.device import Placement, math_mode, place, placement
from landscape_cli.errors import DeviceError


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("tpu", "float32", "no device 'tpu'"),
        ("meta", "float32", "not supported"),
        ("cpu", "int8", "no precision 'int8'"),
        ("cpu", "tf32", "needs a CUDA device"),
    ],
)
def test_what_is_not_to_be_had_is_named(device: str, precision: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        placement(device, precision)


def test_cuda_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("cuda", "cuda:1"):
        with pytest.raises(DeviceError, match="there is no CUDA device here"):
            placement(name)
    assert placement("auto").device.type in ("cpu", "mps")


def test_half_precision_spares_normalisation() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    place(network, Placement(torch.device("cpu"), "bf16"))
    kinds = {name: tensor.dtype for name, tensor in network.state_dict().items()}
    assert kinds["0.weight"] == kinds["3.bias"] == torch.bfloat16
    assert kinds["1.weight"] == kinds["1.running_var"] == torch.float32
    assert kinds["1.num_batches_tracked"] == torch.int64
    assert network(torch.randn(5, 3, 3, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_everything_is_float64_where_asked() -> None:
    network = place(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), Placement(torch.device("cpu"), "float64"))
    assert {t.dtype for t in network.state_dict().values()} == {torch.float64, torch.int64}
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_a_cuda_device_is_the_current_one_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    current = []

    @contextlib.contextmanager
    def device(where: torch.device) -> Iterator[None]:
        current.append(where)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", device)
    with math_mode(Placement(torch.device("cuda", 1))):
        assert current == [torch.device("cuda", 1)]
    assert current == []


def test_math_mode_is_given_back() -> None:
    before = torch.backends.cudnn.deterministic
    with math_mode(placement("cpu")):
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.deterministic == before
