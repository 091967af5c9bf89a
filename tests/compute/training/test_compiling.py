"""Networks compiled by torch: another rounding, the same training."""

import shutil

import pytest
import torch
from torch import nn

from landscape_cli.compute.device import placement
from landscape_cli.compute.training import compiling
from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.compute.training.trainer import Trainer
from landscape_cli.errors import DeviceError
from tests.compute.test_samples_and_evaluation import make

PROTOCOL = Protocol(lr=0.05, batch_size=5)
CPU = placement("cpu")


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Tanh(), nn.Linear(8, 4))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch, of its own modules
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="there is no C++ compiler")
def test_a_compiled_network_trains_as_the_network_does() -> None:
    """And, stopped and continued, to the same bits."""
    samples = make(40, CPU)
    plain = Trainer(small(), samples, PROTOCOL, Seeds())
    ours = Trainer(small(), samples, PROTOCOL, Seeds(), compile="inductor")
    assert ours.way == "inductor"
    for _ in range(6):
        plain.advance()
        ours.advance()
        assert float(ours.state().batch_loss) == pytest.approx(plain.state().batch_loss, rel=1e-5)  # type: ignore[arg-type]
    first = Trainer(small(), samples, PROTOCOL, Seeds(), compile="inductor")
    for _ in range(3):
        first.advance()
    kept = {name: tensor.clone() for name, tensor in first.state().optimizer.items()}
    second = Trainer(first.network, samples, PROTOCOL, Seeds(), start=3, optimizer=kept, compile="inductor")
    for _ in range(3):
        second.advance()
    assert all(map(torch.equal, ours.network.state_dict().values(), second.network.state_dict().values()))


def test_without_a_compiler_the_network_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(inputs: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("Failed to find C++ compiler.\nPlease specify one.")

    monkeypatch.setattr(compiling.torch, "compile", lambda network: fails)
    trainer = Trainer(small(), make(10, CPU), PROTOCOL, Seeds(), compile="inductor")
    with pytest.raises(DeviceError, match=r"cannot be compiled: Failed to find C\+\+ compiler.\n"):
        trainer.advance()
