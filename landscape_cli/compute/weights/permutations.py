"""Permutations of hidden units: which units may change places, and a network with its units in another order.

A *group* is a set of hidden units that may be exchanged with one another; permuting a group moves rows of the weights
that make its units, entries of the biases and normalisations that act on them, and columns of the weights that read
them. A network's groups are found by :mod:`landscape_cli.compute.weights.permutation_tracing`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

State = Mapping[str, Tensor]
Permutation = Int64[np.ndarray, " _"]


@dataclass(frozen=True)
class Group:
    """Hidden units that may be exchanged.

    Args:
        name: The first layer that makes them.
        units: How many.
    """

    name: str
    units: int


@dataclass(frozen=True, eq=False)
class Axis:
    """One side of a block of weights.

    Args:
        size: Its length.
        places: For each group with units on it, their places ``(unit, slot)``: a unit has several where a layer after
            a flattening reads it once a pixel. Places of no group stay where they are.
    """

    size: int
    places: Mapping[int, Int64[np.ndarray, "unit slot"]]

    def order(self, permutations: Sequence[Permutation]) -> Int64[np.ndarray, " place"]:
        """From which place each place takes its weights."""
        order = np.arange(self.size)
        for group, places in self.places.items():
            order[places] = places[permutations[group]]
        return order


@dataclass(frozen=True, eq=False)
class Block:
    """A tensor of a network, or a part of it, as a block ``(first, second, rest)``.

    Args:
        names: Its names in the state (several where modules share it).
        shape: ``(first, second, rest)``.
        index: The block's places in the flattened tensor; None where it is the whole tensor in its order.
        axes: The units on the first and on the second axis.
        trained: Whether it is a parameter; else a buffer, as batch norm's running statistics are.
    """

    names: tuple[str, ...]
    shape: tuple[int, int, int]
    index: Int64[np.ndarray, "first second rest"] | None
    axes: tuple[Axis, Axis]
    trained: bool

    def read(self, state: State) -> Tensor:
        """The block's weights ``(first, second, rest)``."""
        flat = state[self.names[0]].detach().reshape(-1)
        return (flat if self.index is None else flat[torch.from_numpy(self.index)]).reshape(self.shape)

    def groups(self) -> set[int]:
        """The groups with units on it."""
        return {group for axis in self.axes for group in axis.places}


@dataclass(frozen=True, eq=False)
class Reading:
    """A layer's input, in which units are seen; what activation matching compares.

    Args:
        number: Which product of an activation with weights it is, in the order of a forward pass, from 0.
        axis: The axis of the input that the layer sums over.
        units: The units along it.
    """

    number: int
    axis: int
    units: Axis


@dataclass(frozen=True, eq=False)
class PermutationGraph:
    """All that may be permuted in a network without changing its function.

    Args:
        groups: The groups.
        blocks: Every tensor that a permutation touches.
        readings: The inputs of layers, in order.
        fixed: Hidden units that may not move: alone in their group, or tied to inputs or outputs.
    """

    groups: tuple[Group, ...]
    blocks: tuple[Block, ...]
    readings: tuple[Reading, ...]
    fixed: int

    @property
    def units(self) -> int:
        """Units in all groups."""
        return sum(group.units for group in self.groups)

    def identity(self) -> list[Permutation]:
        """The permutations that move nothing."""
        return [np.arange(group.units) for group in self.groups]

    def shuffled(self, draw: np.random.Generator) -> list[Permutation]:
        """Permutations drawn uniformly."""
        return [draw.permutation(group.units) for group in self.groups]

    def apply(self, state: State, permutations: Sequence[Permutation]) -> dict[str, Tensor]:
        """A network's tensors with its units in another order: the same function.

        Cost: one pass over the tensors that are touched; others are passed on as they are.

        Args:
            state: The network's tensors.
            permutations: For each group, ``p`` such that its unit i becomes what was unit ``p[i]``.
        """
        result = dict(state)
        for block in self.blocks:
            source = block.read(state)
            first, second = (torch.from_numpy(axis.order(permutations)) for axis in block.axes)
            moved = source[first][:, second]
            for name in block.names:
                if block.index is None:
                    result[name] = moved.reshape(state[name].shape).clone()
                else:
                    flat = result[name].reshape(-1).clone()
                    flat[torch.from_numpy(block.index).reshape(-1)] = moved.reshape(-1)
                    result[name] = flat.reshape(state[name].shape)
        return result


def moved_units(permutations: Sequence[Permutation]) -> int:
    """How many units change places."""
    return sum(int((p != np.arange(len(p))).sum()) for p in permutations)


def inverse(permutations: Sequence[Permutation]) -> list[Permutation]:
    """The permutations that undo others.

    >>> inverse([np.array([2, 0, 1])])[0].tolist()
    [1, 2, 0]
    """
    return [np.argsort(p) for p in permutations]
