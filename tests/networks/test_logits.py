"""Each network's logits against a plain re-statement of it, in evaluation and in training."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from landscape_cli.networks.registry import NetworkSpec, build
from tests.oracle import plain_networks as plain

SHAPE = (3, 16, 12)
Plain = Callable[..., Tensor]
CASES: list[tuple[str, dict[str, object], Plain]] = [
    ("mlp", {"widths": (9, 7, 5)}, partial(plain.mlp, layers=3)),
    ("fc-mao2023", {"width": 1 / 64}, partial(plain.mlp, layers=4, norm=True)),
    ("simple-cnn", {"width": 0.2}, plain.simple_cnn),
    ("resnet20", {"width": 0.3}, plain.resnet20),
    ("resnet20-nobn", {"width": 0.3}, partial(plain.resnet20, norm=False)),
    ("wrn-16-4", {"width": 0.1}, partial(plain.wide_resnet, blocks=2)),
    ("wrn-10-4-8", {"width": 0.3}, partial(plain.wide_resnet_mao, blocks=1)),
    ("wrn-16-4-64", {"width": 0.05}, partial(plain.wide_resnet_mao, blocks=2)),
    ("allcnn", {"width": 0.06}, plain.all_cnn),
    ("convmixer", {"width": 0.03}, partial(plain.conv_mixer, depth=8, kernel=5, patch=2)),
    (
        "convmixer",
        {"dim": 6, "depth": 2, "kernel": 3, "patch": 4},
        partial(plain.conv_mixer, depth=2, kernel=3, patch=4),
    ),
    ("vit", {"width": 1 / 32}, partial(plain.vision_transformer, depth=6, heads=8, head=2, patch=4)),
    (
        "vit",
        {"dim": 10, "depth": 2, "heads": 3, "head": 5, "mlp": 7, "patch": 2},
        partial(plain.vision_transformer, depth=2, heads=3, head=5, patch=2),
    ),
]


def lived(name: str, options: dict[str, object]) -> nn.Module:
    """A network with weights and statistics of no symmetry, in float64."""
    torch.manual_seed(5)
    network = build(NetworkSpec(name, options), SHAPE, 4).double()
    with torch.no_grad():
        for entry, tensor in network.state_dict().items():
            if entry.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif tensor.is_floating_point():
                tensor += 0.2 * torch.randn_like(tensor)
    return network


@pytest.mark.parametrize(("name", "options", "restated"), CASES, ids=lambda v: v if isinstance(v, str) else None)
@pytest.mark.parametrize("batch", [False, True], ids=["evaluation", "training"])
def test_logits_are_those_of_the_plain_network(
    name: str, options: dict[str, object], restated: Plain, batch: bool
) -> None:
    network = lived(name, options).train(batch)
    x = torch.randn(5, *SHAPE, dtype=torch.float64)
    state = {entry: tensor.clone() for entry, tensor in network.state_dict().items()}
    expected = restated(state, x, batch=batch)
    found = network(x).detach()
    assert found.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(network(x.contiguous(memory_format=torch.channels_last)).detach(), found)
