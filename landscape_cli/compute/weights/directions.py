"""Directions to look along in weight space: random, the gradient's, filter-normalised, a trajectory's own."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from landscape_cli.compute.evaluation import loss_sum
from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.compute.streams import stream
from landscape_cli.errors import CheckpointError, NetworkError

State = Mapping[str, Tensor]
Directions = dict[str, Tensor]

BLOCK = 1 << 30  # bytes of checkpoints held at a time by a principal component analysis


def trained_names(network: nn.Module) -> list[str]:
    """The parameters that train, each once: what spans weight space."""
    return [name for name, parameter in network.named_parameters() if parameter.requires_grad]


def tied(network: nn.Module, direction: Directions) -> Directions:
    """A direction under all names of tied parameters, as a state has them."""
    first: dict[Tensor, str] = {}
    found: Directions = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        own = first.setdefault(parameter, name)
        if own in direction:
            found[name] = direction[own]
    return found


def random_direction(state: State, names: Sequence[str], seed: int, number: int) -> Directions:
    """Independent standard normal numbers for the tensors ``names``, in float64.

    Args:
        state: Gives the shapes.
        names: Which tensors.
        seed: Of the stream.
        number: Which direction of that seed: 0, 1, …
    """
    generator = stream("plane-direction", seed, number)
    return {name: torch.randn(state[name].shape, generator=generator, dtype=torch.float64) for name in names}


def filter_normalized(direction: State, state: State) -> Directions:
    """A direction in which every filter has the norm of the network's own (Li et al. 2018, section 4).

    ``d_ij ← d_ij ‖w_ij‖ / ‖d_ij‖`` for filter j of layer i: the weights that make one output channel, or one output of
    a fully connected layer. Biases and the weights of normalisation layers (one-dimensional tensors) do not move, as in
    the authors' figures: what they scale can be scaled back by the next layer. Where a filter of the direction is zero
    it stays so.

    Args:
        direction: d by name.
        state: w by name.
    """
    found: Directions = {}
    for name, d in direction.items():
        step = d.to(torch.float64)
        if step.ndim < 2:
            found[name] = torch.zeros_like(step)
            continue
        filters = step.flatten(1)
        norms = filters.norm(dim=1, keepdim=True)
        sizes = state[name].to(torch.float64).flatten(1).norm(dim=1, keepdim=True)
        scaled = filters * torch.where(norms > 0, sizes / norms, 0.0)
        found[name] = scaled.view_as(step)
    return found


def gradient_direction(network: nn.Module, samples: Samples, *, batch: int = BATCH) -> Directions:
    """The gradient of the mean loss with respect to what trains, in float64, on the CPU; in evaluation mode.

    Cost: a forward and a backward pass over the samples.

    Raises:
        NetworkError: If it is zero or no number.
    """
    mode = network.training
    network.eval()
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    found = {name: torch.zeros(p.shape, dtype=torch.float64) for name, p in trained.items()}
    try:
        with torch.enable_grad():
            for x, y in samples.batches(batch):
                # Batches that another pass prepared under inference mode are no tensors to differentiate with.
                loss = loss_sum(network(x.clone()), y)
                grads = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
                for name, grad in zip(trained, grads, strict=True):
                    if grad is not None:
                        found[name] += grad.detach().cpu().double()
    finally:
        network.train(mode)
    size = math.sqrt(sum(float(g.square().sum()) for g in found.values()))
    if not math.isfinite(size) or not size:
        told = "zero" if not size else "no number"
        raise NetworkError(f"the gradient of the loss is {told}: it is no direction", "use --directions random")
    return {name: g / len(samples) for name, g in found.items()}


@dataclass(frozen=True, eq=False)
class Principal:
    """The leading principal components of a trajectory (Li et al. 2018, section 7).

    Args:
        directions: Two orthonormal directions by tensor name, in float64; the checkpoint that lies farthest along
            each has a positive coordinate.
        explained: The share of the variance along each component, of all of them: ``σ_k² / Σ σ²``.
        scores: Coordinates of the checkpoints, their mean at 0.
    """

    directions: tuple[Directions, Directions]
    explained: tuple[float, ...]
    scores: Float64[Tensor, "checkpoint two"]


def principal_directions(load: Sequence[Callable[[], State]], names: Sequence[str], *, block: int = BLOCK) -> Principal:
    """The two leading right singular vectors of the centred matrix of T checkpoints × P weights.

    They come from the T×T matrix of inner products of ``w_t − w_T`` in float64, and are made from the checkpoints in
    another pass: nothing of size P×P, and no more than ``block`` bytes of checkpoints at a time.

    Args:
        load: Reads each checkpoint onto the CPU, the last one last.
        names: The tensors that count as weights.
        block: Bytes of checkpoints held at a time; those of a pass are read again for every block.

    Cost: ``T²P`` operations; ``1 + T/2b`` readings of each checkpoint, where a block holds b.

    Raises:
        CheckpointError: If there are fewer than three, or they do not span two dimensions.
    """
    count = len(load)
    if count < 3:
        raise CheckpointError(
            f"a trajectory of {count} checkpoints has no two principal components", "record more: --checkpoints"
        )
    last = load[-1]()
    each = sum(last[name].numel() for name in names) * 8
    rows = max(1, min(count, block // max(1, 2 * each)))
    gram = torch.zeros(count, count, dtype=torch.float64)
    blocks = [range(start, min(count, start + rows)) for start in range(0, count, rows)]
    for number, mine in enumerate(blocks):
        held = _steps(load, mine, last, names)
        gram[mine.start : mine.stop, mine.start : mine.stop] = held @ held.T
        for others in blocks[number + 1 :]:
            product = held @ _steps(load, others, last, names).T
            gram[mine.start : mine.stop, others.start : others.stop] = product
            gram[others.start : others.stop, mine.start : mine.stop] = product.T
    centred = gram - gram.mean(0, keepdim=True)
    centred = centred - centred.mean(1, keepdim=True)
    values, vectors = torch.linalg.eigh((centred + centred.T) / 2)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    if not values[1] > 1e-10 * values[0]:
        raise CheckpointError("the trajectory does not span two dimensions: its checkpoints lie on a line")
    top = vectors[:, :2]
    top = top * torch.sign(top.gather(0, top.abs().argmax(0, keepdim=True)))
    sizes = values[:2].sqrt()
    directions: list[Directions] = [{}, {}]
    weights = (top / sizes).T
    for mine in blocks:
        part = weights[:, mine.start : mine.stop] @ _steps(load, mine, last, names)
        place = 0
        for name in names:
            shape = last[name].shape
            for k in range(2):
                piece = part[k, place : place + shape.numel()].view(shape)
                directions[k][name] = directions[k][name] + piece if name in directions[k] else piece.clone()
            place += shape.numel()
    shares = values / values.sum()
    return Principal((directions[0], directions[1]), tuple(shares.tolist()), top * sizes)


def _steps(
    load: Sequence[Callable[[], State]], which: range, last: State, names: Sequence[str]
) -> Float64[Tensor, "chosen weight"]:
    """``w_t − w_T`` of some checkpoints, as rows."""
    made = []
    for number in which:
        state = load[number]()
        made.append(torch.cat([(state[n].double() - last[n].double()).flatten() for n in names]))
    return torch.stack(made)
