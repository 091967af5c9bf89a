"""Which hidden unit each number of an activation belongs to; what permutation tracing reasons with.

Every entry of an activation carries an *atom* (the unit it belongs to) and a *mark*. Two entries of units that have
the same mark were computed alike, so that exchanging the units exchanges these entries. Marks are hashes of 64 bits.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt64

CONSTANT = -1  # atom of an entry that is the same whatever the weights and inputs are
INPUT = 0  # atom of entries that belong to no unit: inputs of the network, and what may not be permuted

Atoms = Int64[np.ndarray, "..."]
Marks = UInt64[np.ndarray, "..."]


@dataclass(frozen=True, eq=False)
class Labels:
    """Atoms and marks of an activation, in its shape."""

    atoms: Atoms
    marks: Marks


@dataclass(frozen=True, eq=False)
class Parameter:
    """A tensor of the network's state, or what moving its entries about made of it: places in the flat tensor."""

    name: str
    index: Int64[np.ndarray, "..."]


class Unknown:
    """The labels of an output that cannot be followed further.

    Args:
        what: The operation that made it.
    """

    def __init__(self, what: str) -> None:
        self.what = what


def key(*parts: object) -> Marks:
    """A mark from anything with a text."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return np.asarray(np.frombuffer(digest, dtype=np.uint64)[0])


def mix(*parts: Marks) -> Marks:
    """One mark from several, in their order; shapes broadcast. SplitMix64's finaliser after each."""
    with np.errstate(over="ignore"):
        z = np.asarray(np.uint64(0x9E3779B97F4A7C15))
        for part in parts:
            z = (z * np.uint64(0xD1342543DE82EF95)) ^ part
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
        return np.asarray(z)


def places(shape: Sequence[int], axes: Sequence[int]) -> Marks:
    """A mark for each place of a shape that depends only on its position along ``axes``."""
    index = np.zeros((1,) * len(shape), dtype=np.uint64)
    for axis in axes:
        along = np.arange(shape[axis], dtype=np.uint64).reshape([-1 if a == axis else 1 for a in range(len(shape))])
        index = index * np.uint64(shape[axis]) + along
    return mix(np.broadcast_to(index, shape))


def total(marks: Marks, axes: Sequence[int]) -> Marks:
    """The sum of marks over axes, which are kept with length one: it does not depend on their order."""
    with np.errstate(over="ignore"):
        return np.asarray(marks.sum(axis=tuple(axes), keepdims=True, dtype=np.uint64))


class Ties:
    """The atoms of a network: which of them are one unit, and which may not move."""

    def __init__(self) -> None:
        self._root = np.zeros(1, dtype=np.int64)  # of each atom; kept flat, so that looking up is one gather
        self._fixed = np.ones(1, dtype=bool)
        self._names = [""]

    def fresh(self, count: int, name: str) -> Int64[np.ndarray, " unit"]:
        """New atoms, made by the layer of a name."""
        first = len(self._root)
        new = np.arange(first, first + count)
        self._root = np.concatenate([self._root, new])
        self._fixed = np.concatenate([self._fixed, np.zeros(count, dtype=bool)])
        self._names += [name] * count
        return new

    def __len__(self) -> int:
        return len(self._root)

    @property
    def fixed(self) -> int:
        """How many units may not move."""
        return len(np.unique(self._root[self._fixed[self._root]])) - 1

    def name(self, atom: int) -> str:
        """The layer that made an atom."""
        return self._names[atom]

    def roots(self, atoms: Atoms) -> Atoms:
        """One representative for all atoms of a unit: INPUT for what may not move, CONSTANT for constants."""
        known = np.where(self._fixed[self._root], INPUT, self._root)
        return np.asarray(np.where(atoms < 0, CONSTANT, known[atoms]))

    def marks(self, labels: Labels) -> Marks:
        """The marks of an activation; entries of units that may not move are told apart by their unit."""
        stuck = (labels.atoms > 0) & self._fixed[self._root[labels.atoms]]
        if not stuck.any():
            return labels.marks
        return np.asarray(np.where(stuck, mix(labels.marks, labels.atoms.astype(np.uint64)), labels.marks))

    def fix(self, atoms: Atoms) -> None:
        """Atoms, and all that are one unit with them, stay where they are."""
        self._fixed[self._root[atoms[atoms > 0]]] = True

    def join(self, one: int, other: int) -> None:
        """Two atoms are one unit."""
        a, b = sorted((int(self._root[one]), int(self._root[other])))
        if a != b:
            self._fixed[a] |= self._fixed[b]
            self._root[self._root == b] = a

    def combine(self, first: Atoms, second: Atoms) -> Atoms:
        """The atoms of what is computed entry by entry from two activations of one shape.

        Units that meet one to one are one unit from now on. Where a unit meets several, it may not move; nor may
        either where several meet several.

        Cost: a sort of the entries, of one position along each axis over which the atoms do not change.
        """
        p, q = self.roots(first), self.roots(second)
        one, other = p, q
        for axis in range(p.ndim):
            head = tuple(slice(0, 1) if a == axis else slice(None) for a in range(p.ndim))
            if bool((one == one[head]).all()) and bool((other == other[head]).all()):
                one, other = one[head], other[head]
        both = (one > 0) & (other > 0)
        pairs = np.unique(np.stack([one[both], other[both]], axis=1), axis=0)
        partners = np.bincount(pairs[:, 0], minlength=len(self)), np.bincount(pairs[:, 1], minlength=len(self))
        for a, b in pairs.tolist():
            if a == b:
                continue
            seen, sees = int(partners[1][b]), int(partners[0][a])
            if seen == 1 and sees == 1:
                self.join(a, b)
            else:
                alone = [b] if sees == 1 else [a] if seen == 1 else [a, b]
                self.fix(np.array(alone))
        p, q = self.roots(first), self.roots(second)
        return np.where(p > 0, first, np.where(q > 0, second, np.where(p >= 0, first, second)))

    def uniform(self, atoms: Atoms, axes: Sequence[int]) -> Atoms | None:
        """The one atom along ``axes``, which are kept with length one; None where there are several.

        Constants (zeros of a padding, say) go with any atom.
        """
        roots = self.roots(atoms)
        highest = roots.max(axis=tuple(axes), keepdims=True)
        if bool(((roots != highest) & (roots >= 0)).any()):
            return None
        # Entries that may not move are one root, and yet not one unit: their marks tell them apart.
        return np.asarray(atoms.max(axis=tuple(axes), keepdims=True))
