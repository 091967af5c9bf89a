"""A look at a network before its kernel is measured: can it have one, and which layers may take the fast path."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from landscape_cli.compute.tangent.choices import KernelMethod
from landscape_cli.compute.tangent.jacobians import agrees
from landscape_cli.compute.tangent.layers import PRODUCTS, SCALES, Layer, describe, is_known
from landscape_cli.compute.tangent.products import Workspace
from landscape_cli.compute.tangent.recording import Call, arrived_or_zero, recording
from landscape_cli.errors import NetworkError

NAMED: tuple[type[nn.Module], ...] = (
    *PRODUCTS,
    *SCALES,
    nn.modules.conv._ConvNd,
    nn.MultiheadAttention,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.Bilinear,
    nn.PReLU,
    nn.RNNBase,
)


@dataclass(frozen=True)
class Survey:
    """What is known of a network.

    Args:
        classes: Its outputs.
        layers: Those of the fast path, in the order in which they first run.
        general: Names of the other trainable parameters, by the name they have in results.
        saved: Bytes that a sample's forward pass keeps for its backward passes.
        order: All result names, in the order of the network's parameters.
    """

    classes: int
    layers: tuple[Layer, ...]
    general: Mapping[str, tuple[str, ...]]
    saved: int
    order: tuple[str, ...]


def result_names(network: nn.Module) -> dict[str, str]:
    """The name in results of every trainable parameter: its module's, or its own where a module just holds it.

    A parameter of one of torch's layers goes by the layer (``stage1.0.conv1``); one held by another module, such as a
    class token, by itself (``cls_token``). A network that is itself such a layer goes by its type.
    """
    found = {}
    modules = dict(network.named_modules())
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            holder, _, _ = name.rpartition(".")
            module = modules[holder]
            found[name] = (holder or type(module).__name__.lower()) if isinstance(module, NAMED) else name
    return found


def survey(network: nn.Module, inputs: Float[Tensor, "sample ..."], method: KernelMethod) -> Survey:
    """Run a network on two or three samples and sort its parameters into fast and general ones.

    A layer is on the fast path if it is known (or derives from a known one), its first dimension is that of the
    samples, and, on the samples tried, the gradient that the fast path gives is autograd's: so a weight used a second
    time outside its layer, replaced by a hook or shared between layers is found, whatever the network does.

    Raises:
        NetworkError: If the network has no tangent kernel of the kind wanted; see the messages.
    """
    names = result_names(network)
    _check_parameters(network, names)
    trainable = {name: parameter for name, parameter in network.named_parameters() if name in names}
    one, two = inputs[:1], inputs[-1:] * 0.5  # halved, so that they differ even where the samples do not
    pair = torch.cat([one, two])
    known = {} if method == "general" else _candidates(network, trainable)
    with recording(known) as calls:
        logits = forward(network, pair)
    logits = _checked(logits, len(pair))
    if not bool(logits.isfinite().all()):
        _name_infinite(network, inputs)
    again, more, saved = _run(network, torch.cat([two, one, two]), known)
    if not _follows(logits, again):
        raise NetworkError(
            "the network's output for one sample depends on the others of its batch, or on chance",
            "a tangent kernel needs outputs sample by sample; a batch norm without running statistics, or dropout that "
            "stays on in evaluation mode, cannot have one",
        )
    candidates = _fast_candidates(known, trainable, names, calls, more)
    layers = _verified(network, pair, known, candidates, trainable, calls, logits)
    fast = {f"{_path(known, layer)}{part}" for layer in layers for part in layer.parameters}
    general: dict[str, tuple[str, ...]] = {}
    for name in trainable:
        if name not in fast:
            general[names[name]] = (*general.get(names[name], ()), name)
    order = tuple(dict.fromkeys(names.values()))
    return Survey(logits.shape[1], tuple(layers), general, saved // 3, order)


def _path(known: Mapping[nn.Module, str], layer: Layer) -> str:
    path = known[layer.module]
    return f"{path}." if path else ""


def _check_parameters(network: nn.Module, names: Mapping[str, str]) -> None:
    if not names:
        raise NetworkError(
            "the network has no trainable parameters, so no tangent kernel",
            "parameters with requires_grad=False are constants of the kernel",
        )
    for name, parameter in network.named_parameters():
        if parameter.dtype not in (torch.float32, torch.float64):
            raise NetworkError(
                f"parameter '{name}' is {str(parameter.dtype).removeprefix('torch.')}: tangent kernels need a network "
                "in float32 or float64",
                "load it in float32; bf16 is a choice for the products only",
            )


def _candidates(network: nn.Module, trainable: Mapping[str, Tensor]) -> dict[nn.Module, str]:
    """Known modules with a trainable parameter that no other module holds, by their paths."""
    holders: dict[int, int] = {}
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            holders[id(parameter)] = holders.get(id(parameter), 0) + 1
    wanted = {id(parameter) for parameter in trainable.values()}
    return {
        module: path
        for path, module in network.named_modules()
        if is_known(module) and any(id(p) in wanted and holders[id(p)] == 1 for p in module.parameters(recurse=False))
    }


def _run(
    network: nn.Module, inputs: Tensor, known: Mapping[nn.Module, str]
) -> tuple[Tensor, dict[str, list[Call]], int]:
    """Logits, calls, and the bytes saved for the backward pass (which torch then no longer checks for changes)."""
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with recording(known) as calls, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = _checked(forward(network, inputs), len(inputs))
    kept = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    return logits, calls, sum(size for pointer, size in seen.items() if pointer not in kept)


def forward(network: nn.Module, inputs: Tensor) -> object:
    """The network's output, errors of its own layers said with the layer's name.

    Raises:
        NetworkError: If the forward pass fails.
    """
    inside: list[str] = []
    paths = {module: path for path, module in network.named_modules()}

    def enter(module: nn.Module, args: object) -> None:
        inside.append(paths.get(module, ""))

    def leave(module: nn.Module, args: object, output: object) -> None:
        inside.pop()

    handles = [m.register_forward_pre_hook(enter) for m in paths] + [m.register_forward_hook(leave) for m in paths]
    try:
        return network(inputs)
    except Exception as error:
        where = f"layer '{inside[-1]}'" if inside and inside[-1] else "the network"
        raise NetworkError(
            f"{where} fails on inputs of shape {tuple(inputs.shape)}: {_first_line(error)}",
            "check that the inputs are those the network was trained on",
        ) from error
    finally:
        for handle in handles:
            handle.remove()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def in_place_layers(network: nn.Module, inputs: Tensor) -> list[str]:
    """The names of the innermost modules that change their input."""
    found: list[str] = []
    before: dict[nn.Module, int] = {}
    paths = {module: path for path, module in network.named_modules() if not any(module.children())}

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        if args and isinstance(args[0], Tensor):
            before[module] = args[0]._version

    def leave(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        changed = args and isinstance(args[0], Tensor) and args[0]._version != before.get(module)
        if changed and paths[module] not in found:
            found.append(paths[module])

    handles = [m.register_forward_pre_hook(enter) for m in paths] + [m.register_forward_hook(leave) for m in paths]
    try:
        network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _name_infinite(network: nn.Module, inputs: Tensor) -> None:
    """Say which samples' logits are no numbers.

    Raises:
        NetworkError: If there are any.
    """
    with torch.no_grad():
        parts = (inputs[start : start + 64] for start in range(0, len(inputs), 64))
        good = torch.cat([network(part).isfinite().all(1) for part in parts])
    bad = (~good).nonzero().flatten().tolist()
    if bad:
        raise NetworkError(f"the network's logits are not finite: {samples_named(bad)}", "look at the checkpoint")


def samples_named(numbers: Sequence[int]) -> str:
    """``samples 3, 7``, shortened.

    >>> samples_named([3])
    'sample 3'
    >>> samples_named(range(8))
    'samples 0, 1, 2, 3, 4 and 3 more'
    """
    shown = ", ".join(str(number) for number in numbers[:5])
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"sample{'s' if len(numbers) > 1 else ''} {shown}{more}"


def _checked(logits: object, samples: int) -> Tensor:
    """The network's output, if it is a matrix of logits with a gradient.

    Raises:
        NetworkError: If it is not.
    """
    if not isinstance(logits, Tensor):
        raise NetworkError(
            f"the network returns {type(logits).__name__}, not a tensor of logits", "wrap it so that it returns logits"
        )
    if logits.ndim != 2 or len(logits) != samples:
        raise NetworkError(
            f"the network's output has shape {tuple(logits.shape)} for {samples} samples: a tangent kernel needs "
            "(sample, class)",
            "wrap it so that it returns one row of logits a sample",
        )
    if not logits.is_floating_point():
        raise NetworkError(
            f"the network's outputs are {str(logits.dtype).removeprefix('torch.')}, which have no gradient",
            "let it return logits, not classes",
        )
    if logits.dtype not in (torch.float32, torch.float64):
        raise NetworkError(
            f"the network's outputs are {str(logits.dtype).removeprefix('torch.')}: tangent kernels need float32",
            "load it in float32; bf16 is a choice for the products only",
        )
    if not logits.requires_grad:
        raise NetworkError(
            "the network's outputs do not depend on its trainable parameters in a differentiable way",
            "look for .detach(), torch.no_grad() or an argmax in its forward",
        )
    return logits


def _follows(one: Tensor, two: Tensor) -> bool:
    """Whether rows for samples (a, b) reappear as (b, a, b), up to rounding."""
    if one.ndim == 0 or two.ndim != one.ndim or two.shape[1:] != one.shape[1:] or len(two) * 2 != len(one) * 3:
        return False
    first, second = one.detach().reshape(2, len(one) // 2, *one.shape[1:])
    tolerance = 1e-3 if one.dtype == torch.float32 else 1e-8
    expected = torch.stack([second, first, second])
    scale = expected.nan_to_num(0, 0, 0).abs().max().item()
    got = two.detach().reshape(3, len(two) // 3, *two.shape[1:])
    return torch.allclose(got, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


def _fast_candidates(
    known: Mapping[nn.Module, str],
    trainable: Mapping[str, Tensor],
    names: Mapping[str, str],
    calls: Mapping[str, Sequence[Call]],
    more: Mapping[str, Sequence[Call]],
) -> list[Layer]:
    """Known layers whose inputs go sample by sample, in the order in which they run."""
    candidates: list[Layer] = []
    for module, path in known.items():
        own, others = calls[path], more[path]
        if not own or len(own) != len(others) or any(call.edge is None for call in own):
            continue
        if not all(_follows(a.inputs, b.inputs) for a, b in zip(own, others, strict=True)):
            continue
        full = {part: f"{path}.{part}" if path else part for part, _ in module.named_parameters(recurse=False)}
        parts = tuple(part for part, name in full.items() if name in trainable and part in ("weight", "bias"))
        if not parts:
            continue
        try:
            candidates.append(describe(names[full[parts[0]]], module, parts, own, 2))
        except (ValueError, RuntimeError, IndexError):
            continue
    return sorted(candidates, key=lambda layer: calls[known[layer.module]][0].order)


def _verified(
    network: nn.Module,
    pair: Tensor,
    known: Mapping[nn.Module, str],
    candidates: Sequence[Layer],
    trainable: Mapping[str, Tensor],
    calls: Mapping[str, Sequence[Call]],
    logits: Tensor,
) -> list[Layer]:
    """The candidates whose fast gradient is autograd's, parameter by parameter."""
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(logits.shape, generator=generator).to(logits)
    own = [call for layer in candidates for call in calls[known[layer.module]]]
    edges = [call.edge for call in own if call.edge is not None]
    targets = [trainable[_path(known, layer) + part] for layer in candidates for part in layer.parameters]
    targets += [] if targets else list(trainable.values())  # so that the backward pass is tried in any case
    wanted: list[Any] = [*edges, *targets]  # edges and tensors mix, which torch allows and its stubs do not
    try:
        found = torch.autograd.grad(logits, wanted, direction, allow_unused=True)
    except RuntimeError as error:
        places = in_place_layers(network, pair)
        named = f"; layers that work in place: {', '.join(places[:4])}" if places else ""
        raise NetworkError(
            f"the network's backward pass fails: {str(error).splitlines()[0][:120]}{named}",
            "an in-place layer overwrites what the gradient needs: build it with inplace=False",
        ) from error
    flows = [arrived_or_zero(flow, call) for flow, call in zip(found, own, strict=False)]
    truths = list(found[len(edges) :])
    work = Workspace(logits.device)
    layers = []
    for layer in candidates:
        mine = [flows.pop(0) for _ in range(layer.calls)]
        right = []
        for part in layer.parameters:
            truth = truths.pop(0)
            with contextlib.suppress(RuntimeError):  # shapes that do not fit: a derived class does something else
                if agrees(layer, part, calls[known[layer.module]], mine, truth, work):
                    right.append(part)
        if right:
            layers.append(dataclasses.replace(layer, parameters=tuple(right)))
    return layers
