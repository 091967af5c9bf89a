"""The toolkit on every network of Mao et al. 2023: training, kernels, permutations, patterns, Taylor, curvature."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp

from landscape_cli.compute.device import Placement
from landscape_cli.compute.tangent.kernels import tangent_kernel
from landscape_cli.compute.tangent.linearized import LinearizedNetwork
from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.compute.training.trainer import train
from landscape_cli.compute.weights.curvature_operators import HessianOperator
from landscape_cli.compute.weights.permutation_tracing import trace_permutations
from landscape_cli.compute.weights.relu_patterns import count, patterns
from landscape_cli.errors import NetworkError
from landscape_cli.networks.registry import NetworkSpec, build
from tests.compute.tangent.test_kernels import dense_kernel
from tests.compute.tangent.test_linearized import by_reverse, moved
from tests.compute.test_permutations import assert_same_function, units
from tests.compute.test_samples_and_evaluation import make
from tests.conftest import Cli
from tests.oracle.plain_training import plain_training

SPECS: dict[str, dict[str, object]] = {
    "fc-mao2023": {"width": 1 / 64},
    "allcnn": {"width": 1 / 24},
    "wrn-10-4-8": {"width": 0.25},
    "wrn-16-4-64": {"width": 1 / 32},
    "convmixer": {"width": 1 / 64, "depth": 2},
    "vit": {"width": 1 / 32, "depth": 2, "heads": 2},
}
EACH = pytest.mark.parametrize("name", SPECS)
EXACT = Placement(torch.device("cpu"), "float64")
SHAPE = (3, 8, 8)


def fresh(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build(NetworkSpec(name, SPECS[name]), SHAPE, 4).double()


def lived(name: str) -> nn.Module:
    """Weights and statistics of no symmetry, in evaluation mode."""
    network = fresh(name)
    with torch.no_grad():
        for entry, tensor in network.state_dict().items():
            if entry.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif tensor.is_floating_point():
                tensor += 0.2 * torch.randn_like(tensor)
    return network.eval()


def images(count: int = 3) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@EACH
def test_training_is_that_of_a_plain_loop(name: str) -> None:
    samples = make(24, EXACT)
    ours, theirs = fresh(name), fresh(name)
    protocol = Protocol(optimizer="nesterov", lr=0.05, weight_decay=1e-3, batch_size=8)
    states = train(ours, samples, protocol, Seeds(order=3), end=4, wanted=lambda step: True)
    losses = [state.batch_loss for state in states][1:]
    expected = plain_training(
        theirs, samples.normalized(samples.inputs), samples.labels, steps=4, batch=8, order_seed=3,
        rate=lambda step: 0.05, optimizer="nesterov", decay=1e-3,
    )  # fmt: skip
    assert losses == pytest.approx(expected, rel=1e-9)
    assert len(set(losses)) == 4


@EACH
def test_kernels_by_layer_add_up_to_the_dense_one(name: str) -> None:
    network, x = lived(name), images()
    found = tangent_kernel(network, x, by_layer=True, precision="float64")
    expected = dense_kernel(network, x, "full")
    torch.testing.assert_close(found.values, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
    holders = {
        path if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d | nn.LayerNorm) else entry
        for path, module in network.named_modules()
        for entry, _ in module.named_parameters(prefix=path, recurse=False)
    }
    assert set(found.layers) == holders


GROUPS: dict[str, dict[str, int]] = {
    "fc-mao2023": {"linear1": 16, "linear2": 8, "linear3": 4, "linear4": 2},
    "allcnn": {"conv1": 4, "conv2": 4, "conv3": 6, "conv4": 6},  # the last one makes the classes
    "wrn-10-4-8": {"conv": 2}
    | {f"stage{s}.0.{layer}": 2 ** (s + 2) for s in (1, 2, 3) for layer in ("shortcut", "conv1")},
    "wrn-16-4-64": {"conv": 2}
    | {f"stage{s}.{place}": 2 ** (s + 2) for s in (1, 2, 3) for place in ("0.shortcut", "0.conv1", "1.conv1")},
    "convmixer": {"patch": 4, "blocks.0.pointwise": 4, "blocks.1.pointwise": 4},  # a depthwise one moves with its input
}


@pytest.mark.parametrize("name", GROUPS)
def test_what_may_be_permuted(name: str) -> None:
    network = lived(name)
    graph = trace_permutations(network, images())
    assert units(graph) == GROUPS[name]
    assert graph.fixed == 0
    assert_same_function(network, graph, images())


def test_a_transformer_is_not_permuted() -> None:
    """The class token is refused first, and attention by itself too."""
    network = lived("vit")
    with pytest.raises(NetworkError, match=r"at the network \(VisionTransformer\), operation cat"):
        trace_permutations(network, images())
    blocks = network.get_submodule("blocks")
    with pytest.raises(NetworkError, match=r"at 0\.attention \(Attention\), operation \w+"):
        trace_permutations(blocks, torch.randn(2, 5, 16, dtype=torch.float64))


@EACH
def test_patterns_are_those_of_the_units(name: str) -> None:
    network, x = lived(name), images()
    seen: dict[str, Tensor] = {}
    for path, module in network.named_modules():
        if isinstance(module, nn.ReLU | nn.GELU):
            module.register_forward_pre_hook(lambda _, inputs, path=path: seen.update({path: inputs[0] > 0}))
    _, found = patterns(network, x)
    assert {path: (p.entries, count(p.bits)) for path, p in found.items()} == {
        path: (on.numel(), int(on.sum())) for path, on in seen.items()
    }
    assert found


@EACH
@pytest.mark.parametrize("order", [1, 2])
def test_taylor_polynomials(name: str, order: int) -> None:
    network, x = lived(name), images(2)
    at_base = LinearizedNetwork(copy.deepcopy(network), order=order)  # type: ignore[arg-type]
    assert torch.equal(at_base(x), network(x))
    found, way = moved(network, order)
    torch.testing.assert_close(found(x).detach(), by_reverse(network, x, way, order), rtol=1e-8, atol=1e-9)
    assert found.taylor_method == "jets"


@EACH
def test_products_with_the_hessian(name: str) -> None:
    """Against a forward derivative of the gradient, through ``torch.func``."""
    network, x, y = lived(name), images(4), torch.arange(4)
    weights = {entry: p.detach() for entry, p in network.named_parameters()}
    random = torch.Generator().manual_seed(2)
    way = {entry: torch.randn(p.shape, generator=random, dtype=torch.float64) for entry, p in weights.items()}

    def loss(theta: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(functional_call(network, theta, (x,)), y)

    _, expected = jvp(grad(loss), (weights,), (way,))
    operator = HessianOperator(network, [(x, y)])
    found = operator.apply(torch.cat([w.reshape(-1) for w in way.values()]))
    flat = torch.cat([expected[entry].reshape(-1) for entry in weights])
    torch.testing.assert_close(found, flat, rtol=1e-8, atol=1e-9 * float(flat.abs().max()))


@EACH
def test_commands(name: str, cli: Cli, tmp_path: Path) -> None:
    """From the command line: train, measure what lies between its checkpoints, align them or say why not."""
    run = tmp_path / "run"
    options = [part for key, value in SPECS[name].items() for part in ("-N", f"{key}={value}")]
    common = ["--device", "cpu", "--threads", "1"]
    (trained,) = cli(
        "train", "--data", "digits", "--train-size", "64", "--network", name, *options, "--epochs", "2",
        "--batch-size", "32", "--lr", "0.05", "--checkpoints", "0ep,last", "--out", run, *common,
    ).records  # fmt: skip
    assert trained["status"] == "finished"
    ends = [f"{run}@0ep", str(run)]
    (kernel,) = cli("kernel-dist", *ends, "--samples", "4", *common).records
    assert 0 < kernel["distance"] < 1
    (relu,) = cli("relu-dist", *ends, "--samples", "16", *common).records
    assert 0 < relu["distance"] < 1
    (barrier,) = cli(
        "barrier", *ends, "--points", "3", "--refine", "0", "--samples", "16", "--bn-samples", "16", "--split", "test",
        *common,
    ).records  # fmt: skip
    assert barrier["loss_sup"] >= 0
    aligned = cli("align", *ends, "-o", tmp_path / "aligned", *common)
    if name == "vit":
        assert aligned.status == 1
        assert "what may be permuted cannot be derived at the network (VisionTransformer)" in aligned.err
    else:
        assert aligned.status == 0
