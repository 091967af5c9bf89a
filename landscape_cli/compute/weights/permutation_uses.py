"""How the weights of a network are used by its hidden units, and the groups that follow from it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64, UInt64
from torch import Tensor

from landscape_cli.compute.weights.permutation_labels import Atoms, Marks, Ties, mix
from landscape_cli.compute.weights.permutations import Axis, Block, Group, PermutationGraph, Reading

Names = Mapping[int, tuple[Tensor, tuple[str, ...], bool]]


@dataclass(eq=False)
class _Side:
    """Atoms along an axis, and how the entry at each place is used."""

    atoms: Int64[np.ndarray, " place"]
    roles: UInt64[np.ndarray, " place"]


@dataclass(eq=False)
class _Use:
    """A block of a tensor, with the atoms along its first two axes; without atoms a place does not move."""

    tensor: str
    index: Int64[np.ndarray, "first second rest"]
    sides: tuple[_Side, _Side]


@dataclass(eq=False)
class Uses:
    """Collects uses during a trace.

    Args:
        tensors: The network's tensors by identity: tensor, names, whether it trains.

    Attributes:
        ties: The atoms.
    """

    tensors: Names
    ties: Ties = field(default_factory=Ties)

    def __post_init__(self) -> None:
        self._uses: dict[tuple[str, tuple[int, ...], bytes], _Use] = {}
        self._sets: list[_Side] = []
        self._readings: list[tuple[int, int, _Side]] = []

    def weight(
        self,
        tensor: str,
        index: Int64[np.ndarray, "first second rest"],
        *,
        first: tuple[Atoms, Marks] | None,
        second: tuple[Atoms, Marks] | None,
    ) -> Int64[np.ndarray, " place"]:
        """A block of weights makes units (first axis) from others (second axis).

        A block that is used again ties the units of both uses.

        Returns:
            The atoms of its first axis.
        """
        sides = tuple(
            _Side(np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.uint64))
            if side is None
            else _Side(np.asarray(side[0]).reshape(-1), np.asarray(side[1]).reshape(-1))
            for side, size in zip((first, second), index.shape[:2], strict=True)
        )
        known = self._uses.setdefault(_key(tensor, index), _Use(tensor, index, (sides[0], sides[1])))
        for old, new in zip(known.sides, sides, strict=True):
            if old is not new:
                old.atoms = self._same(old.atoms, new.atoms)
                old.roles = mix(old.roles, new.roles)
        return known.sides[0].atoms

    def _same(self, old: Atoms, new: Atoms) -> Atoms:
        """The atoms of one axis that is used twice: what may not move in one use may not move in the other."""
        for one, other in ((old, new), (new, old)):
            self.ties.fix(other[self.ties.roots(one) <= 0])
        return self.ties.combine(old, new)

    def known(self, tensor: str, index: Int64[np.ndarray, "first second rest"]) -> Int64[np.ndarray, " place"] | None:
        """The atoms on the first axis of a block that was used before."""
        found = self._uses.get(_key(tensor, index))
        return None if found is None else found.sides[0].atoms

    def together(self, atoms: Atoms, marks: Marks) -> None:
        """Entries that enter one symmetric operation (a norm, a sum): units within may be exchanged, not others."""
        self._sets.append(_Side(atoms.reshape(-1), marks.reshape(-1)))

    def reading(self, number: int, axis: int, atoms: Atoms, roles: Marks) -> None:
        """A layer reads units along an axis of its input."""
        self._readings.append((number, axis, _Side(atoms.reshape(-1), roles.reshape(-1))))

    def graph(self, outputs: Atoms) -> PermutationGraph:
        """The groups of units that are used alike, and the blocks they are on; units among the outputs stay."""
        fixed = self.ties.fixed
        self.ties.fix(outputs)
        uses = list(self._uses.values())
        sides = [side for use in uses for side in use.sides] + self._sets
        signature: dict[int, list[tuple[int, int]]] = {}
        for number, side in enumerate(sides):
            roots = self.ties.roots(side.atoms)
            for place in np.flatnonzero(roots > 0).tolist():
                signature.setdefault(int(roots[place]), []).append((number, int(side.roles[place])))
        alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for atom, used in signature.items():
            alike.setdefault(tuple(sorted(used)), []).append(atom)
        members = sorted(atoms for atoms in alike.values() if len(atoms) > 1)
        group = {atom: number for number, atoms in enumerate(members) for atom in atoms}
        groups: list[Group] = []
        for atoms in members:
            name = self.ties.name(atoms[0])
            same = sum(other.name.partition("#")[0] == name for other in groups)
            groups.append(Group(f"{name}#{same + 1}" if same else name, len(atoms)))
        known = {names[0]: (tensor.numel(), names, trained) for tensor, names, trained in self.tensors.values()}
        blocks = []
        for use in uses:
            size, names, trained = known[use.tensor]
            whole = np.array_equal(use.index.reshape(-1), np.arange(size))
            one, two = (self._axis(side, group) for side in use.sides)
            shape = (one.size, two.size, use.index.shape[2])
            block = Block(names, shape, None if whole else use.index, (one, two), trained)
            if block.groups():
                blocks.append(block)
        readings = [Reading(number, axis, self._axis(side, group)) for number, axis, side in self._readings]
        seen = tuple(reading for reading in readings if reading.units.places)
        return PermutationGraph(tuple(groups), tuple(blocks), seen, fixed + len(signature) - len(group))

    def _axis(self, side: _Side, group: Mapping[int, int]) -> Axis:
        """The places of each group's units on an axis, in the order of their roles."""
        own: dict[int, dict[int, list[tuple[int, int]]]] = {}
        for place, root in enumerate(self.ties.roots(side.atoms).tolist()):
            if root in group:
                own.setdefault(group[root], {}).setdefault(root, []).append((int(side.roles[place]), place))
        return Axis(
            len(side.atoms),
            {
                number: np.array([[place for _, place in sorted(units[atom])] for atom in sorted(units)])
                for number, units in sorted(own.items())
            },
        )


def _key(tensor: str, index: Int64[np.ndarray, "first second rest"]) -> tuple[str, tuple[int, ...], bytes]:
    return tensor, index.shape, hashlib.blake2b(index.tobytes()).digest()
