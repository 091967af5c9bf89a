import pytest
import torch
from torch import nn

from landscape_cli.compute.batchnorm import recompute_statistics
from landscape_cli.compute.device import Placement, place, placement
from landscape_cli.compute.evaluation import evaluate
from landscape_cli.compute.weights.barrier import barriers, measure_on, search
from landscape_cli.compute.weights.interpolation import LinearPath, running_statistics
from landscape_cli.errors import CheckpointError, NetworkError
from landscape_cli.networks.registry import NetworkSpec, build
from tests.compute.test_samples_and_evaluation import make

CPU = placement("cpu")
SHAPE = (3, 8, 8)


def network(name: str = "resnet20", seed: int = 0, where: Placement = CPU) -> nn.Module:
    torch.manual_seed(seed)
    made = build(NetworkSpec(name, {"width": 0.25}), SHAPE, 4)
    for module in made.modules():  # statistics as after some training
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.num_batches_tracked.fill_(seed + 5)
    return place(made, where)


def states(name: str = "resnet20") -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    return tuple({k: v.clone() for k, v in network(name, seed).state_dict().items()} for seed in (1, 2))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["simple-cnn", "resnet20", "mlp"])
def test_the_ends_are_the_ends_to_the_last_bit(name: str) -> None:
    first, second = states(name)
    path = LinearPath(network(name), first, second, batch_norm="lerp")
    for alpha, end in ((1.0, first), (0.0, second)):
        state = path.go(alpha).state_dict()
        assert all(torch.equal(state[k], end[k]) for k in end if end[k].is_floating_point())


def test_points_between_follow_the_definition() -> None:
    first, second = states("simple-cnn")
    path = LinearPath(network("simple-cnn"), first, second)
    for alpha in (0.1, 0.25, 0.5, 0.9):
        state = path.go(alpha).state_dict()
        for key in first:
            expected = alpha * first[key].double() + (1 - alpha) * second[key].double()
            assert torch.allclose(state[key].double(), expected, rtol=1e-6, atol=1e-7)


def test_batch_norm_modes() -> None:
    first, second = states()
    own = set(running_statistics(network()))
    floats = {k for k in own if first[k].is_floating_point()}
    lerp = LinearPath(network(), first, second, batch_norm="lerp").go(0.25).state_dict()
    keep = LinearPath(network(), first, second, batch_norm="keep").go(0.25).state_dict()
    for key in floats:
        assert torch.allclose(lerp[key], 0.25 * first[key] + 0.75 * second[key], rtol=1e-5, atol=1e-6)
        assert torch.equal(keep[key], first[key])
    for key in own - floats:  # counters are not interpolated
        assert torch.equal(lerp[key], first[key])
    samples = make(12, CPU)
    recomputed = LinearPath(network(), first, second, statistics=samples).go(0.25)
    by_hand = network()
    by_hand.load_state_dict({k: (first[k] if k in own else torch.lerp(second[k], first[k], 0.25)) for k in first})
    recompute_statistics(by_hand, samples)
    for key, value in recomputed.state_dict().items():
        assert torch.equal(value, by_hand.state_dict()[key])


def test_recomputing_needs_samples() -> None:
    with pytest.raises(NetworkError, match="needs samples of the training set"):
        LinearPath(network(), *states())


@pytest.mark.parametrize("batch_norm", ["recompute", "lerp", "keep"])
@pytest.mark.parametrize("name", ["simple-cnn", "resnet20", "mlp"])
def test_a_network_has_no_barrier_to_itself(name: str, batch_norm: str) -> None:
    """Exactly: in error and loss, in all three readings, at all points."""
    first, _ = states(name)
    samples = make(30, CPU)
    path = LinearPath(network(name), first, dict(first), batch_norm=batch_norm, statistics=samples)  # type: ignore[arg-type]
    points = list(search(measure_on(path, {"test": samples}), points=5, refine=2))
    for reading in barriers(points)["test"].values():
        assert (reading.sup, reading.mid, reading.chord) == (0.0, 0.0, 0.0)


def test_the_ends_of_a_path_have_the_ends_own_numbers() -> None:
    first, second = states("simple-cnn")
    samples = make(30, CPU)
    path = LinearPath(network("simple-cnn"), first, second)
    points = {p.alpha: p for p in search(measure_on(path, {"test": samples}), points=5, refine=0)}
    for alpha, state in ((1.0, first), (0.0, second)):
        end = network("simple-cnn")
        end.load_state_dict(state)
        assert points[alpha].results["test"] == evaluate(end, samples)


def test_the_given_networks_are_untouched() -> None:
    first, second = states()
    kept = [{k: v.clone() for k, v in state.items()} for state in (first, second)]
    path = LinearPath(network(), first, second, statistics=make(8, CPU))
    list(search(measure_on(path, {"test": make(8, CPU)}), points=5))
    for state, before in zip((first, second), kept, strict=True):
        assert all(torch.equal(state[k], before[k]) for k in before)


def test_turned_around_the_path_is_the_same() -> None:
    first, second = states("simple-cnn")
    samples = make(30, CPU)
    there, back = (
        {p.alpha: p.results["test"] for p in search(measure_on(LinearPath(network("simple-cnn"), *ends), {"test": samples}), points=9, refine=0)}
        for ends in ((first, second), (second, first))
    )  # fmt: skip
    for alpha, value in there.items():
        assert back[1 - alpha].loss == pytest.approx(value.loss, rel=1e-5)


def test_a_linear_network_interpolates_its_logits() -> None:
    """For a linear model f(x; w_α) = α f(x; w_1) + (1−α) f(x; w_2): its loss is convex, so the chord is at most 0."""
    where = Placement(torch.device("cpu"), "float64")
    samples = make(40, where)
    linear = [nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).double() for _ in range(3)]
    path = LinearPath(linear[0], linear[1].state_dict(), linear[2].state_dict())
    x = samples.normalized(samples.inputs)
    ends = [model(x) for model in linear[1:]]
    assert torch.allclose(path.go(0.3)(x), 0.3 * ends[0] + 0.7 * ends[1], rtol=1e-10)
    points = list(search(measure_on(path, {"test": samples}), points=11, refine=0))
    assert barriers(points)["test"]["loss"].chord <= 1e-12


@pytest.mark.parametrize("precision", ["bf16", "float64"])
def test_other_precisions_interpolate_in_at_least_float32(precision: str) -> None:
    first, second = states("simple-cnn")
    where = Placement(torch.device("cpu"), precision)  # type: ignore[arg-type]
    state = LinearPath(network("simple-cnn", where=where), first, second).go(0.3).state_dict()
    for key in first:
        kind = torch.float64 if precision == "float64" else torch.float32
        assert torch.equal(state[key], torch.lerp(second[key].to(kind), first[key].to(kind), 0.3).to(where.dtype))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "head.bias"}, r"tensor 'head\.bias' is missing"),
        (lambda s: s | {"more": torch.zeros(1)}, "tensor 'more' is not one of the network's"),
        (lambda s: s | {"head.bias": torch.zeros(9)}, r"'head\.bias' has shape \(9,\), the network needs \(4,\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message: str) -> None:
    first, second = states("simple-cnn")
    with pytest.raises(CheckpointError, match=message):
        LinearPath(network("simple-cnn"), first, change(second))
