"""Weight matching: the permutation of one network's units that brings its weights nearest to another's.

Ainsworth, Hayase and Srinivasa 2023 (Git Re-Basin), section 3.2: maximise ``⟨w_A, π(w_B)⟩`` over the permutations π of
all groups of hidden units, which is the same as minimising ``‖w_A − π(w_B)‖²``. Exactly it is NP-hard; with all groups
but one held, the best order of that one is a linear assignment, and going from group to group never lowers the sum.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from landscape_cli.compute.weights.alignment_choices import RESTARTS
from landscape_cli.compute.weights.permutations import Block, Permutation, PermutationGraph, State

SWEEPS = 100  # at most; ten are many
GAIN = 1e-12  # relative to ‖w_A‖ ‖w_B‖: less is rounding

Scores = Float[np.ndarray, "unit unit"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Matching:
    """The outcome of a matching.

    Args:
        permutations: For each group, which of B's units takes the place of each of A's.
        objective: ``⟨w_A, π(w_B)⟩`` over the trained weights that permutations touch, at the end.
        before: The same without a permutation.
        history: The objective after each improvement of the best start, from its initial permutation on.
        sweeps: Passes over all groups of the best start.
        start: The number of the best start.
        objectives: What each start came to.
    """

    permutations: list[Permutation]
    objective: float
    before: float
    history: list[float]
    sweeps: int
    start: int
    objectives: list[float]


def match_weights(
    graph: PermutationGraph,
    first: State,
    second: State,
    *,
    restarts: int = RESTARTS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Matching:
    """Permutations of the second network's units that bring its weights near to the first's.

    Coordinate ascent from several starts, of which the best is kept. The first start goes through the network from its
    inputs and matches each group by those of its weights whose other side is matched already, which finds a permuted
    copy; the second is the order that there is; others are random. Groups are visited in random order until none of
    them gains. Where a group is on both sides of a layer, its order is not a linear assignment: it is found as if the
    other side stood still, and taken only if the sum grows. Sums run in float64, over what training changes: weights
    and biases, not batch norm's running statistics.

    Args:
        graph: What may be permuted.
        first: A's tensors.
        second: B's tensors.
        restarts: Starts.
        seed: Of the order of groups and of random starts.
        progress: Told of starts done.

    Cost: for each start about three to ten sweeps; a sweep multiplies each weight tensor with as many rows as it has
    units on either side, and solves an assignment (cubic in its units) a group.
    """
    problem = _Problem(graph, first, second)
    draw = np.random.default_rng(seed)
    best: Matching | None = None
    objectives: list[float] = []
    identity = graph.identity()
    before = problem.objective(identity)
    for start in range(max(1, restarts)):
        order = problem.from_inputs() if start == 0 else graph.identity() if start == 1 else graph.shuffled(draw)
        history, sweeps = problem.ascend(order, draw)
        objectives.append(history[-1])
        if best is None or history[-1] > best.objective + problem.tolerance:
            best = Matching(order, history[-1], before, history, sweeps, start, objectives)
        if progress is not None:
            progress(start + 1, restarts)
    assert best is not None
    return best


def assign(scores: Scores) -> Permutation:
    """The order that maximises ``Σ_i scores[i, p[i]]``."""
    return np.asarray(linear_sum_assignment(scores, maximize=True)[1])


class _Problem:
    """Two networks' weights as blocks, ready to be matched."""

    def __init__(self, graph: PermutationGraph, first: State, second: State) -> None:
        self.graph = graph
        self.blocks = [block for block in graph.blocks if block.trained]
        self.one = [block.read(first).to("cpu", torch.float64) for block in self.blocks]
        self.two = [block.read(second).to("cpu", torch.float64) for block in self.blocks]
        self.tolerance = GAIN * sum(float(a.norm()) * float(b.norm()) for a, b in zip(self.one, self.two, strict=True))
        self._of: dict[int, list[int]] = {}
        sides = [[axis.places.keys() for axis in block.axes] for block in self.blocks]
        self._twice = {group for first, second in sides for group in first & second}  # on both sides of a block
        self._still: dict[tuple[int, int, int], Tensor] = {}  # scores that no other group has a part in
        for number, block in enumerate(self.blocks):
            for group in sorted(block.groups()):
                self._of.setdefault(group, []).append(number)

    def _orders(self, block: Block, permutations: Sequence[Permutation]) -> tuple[Tensor, Tensor]:
        first, second = block.axes
        return torch.from_numpy(first.order(permutations)), torch.from_numpy(second.order(permutations))

    def objective(self, permutations: Sequence[Permutation]) -> float:
        """``⟨w_A, π(w_B)⟩``."""
        return sum(self._value(number, permutations) for number in range(len(self.blocks)))

    def _value(self, number: int, permutations: Sequence[Permutation]) -> float:
        rows, columns = self._orders(self.blocks[number], permutations)
        return float(torch.sum(self.one[number] * self.two[number][rows][:, columns]))

    def scores(self, group: int, permutations: Sequence[Permutation], known: set[int] | None = None) -> Scores:
        """What each unit of B contributes in the place of each unit of A, all other groups as they are.

        Args:
            group: The group.
            permutations: The others.
            known: Use places of these groups only (and those of none) on the other side of a block; None for all.
        """
        units = self.graph.groups[group].units
        scores = torch.zeros(units, units, dtype=torch.float64)
        for number in self._of[group]:
            block = self.blocks[number]
            for axis in (0, 1):
                if group not in block.axes[axis].places:
                    continue
                other = block.axes[1 - axis]
                if not other.places:
                    place = (number, axis, group)
                    if place not in self._still:
                        self._still[place] = self._products(number, axis, group, None, None)
                    scores += self._still[place]
                    continue
                kept = None
                if known is not None:
                    unknown = [places.reshape(-1) for of, places in other.places.items() if of not in known]
                    kept = torch.ones(other.size, dtype=torch.bool)
                    for places in unknown:
                        kept[torch.from_numpy(places)] = False
                scores += self._products(number, axis, group, torch.from_numpy(other.order(permutations)), kept)
        return scores.numpy()

    def _products(self, number: int, axis: int, group: int, order: Tensor | None, kept: Tensor | None) -> Tensor:
        """Inner products of a group's rows (or columns) of one block of A with those of B, their entries in order."""
        places = torch.from_numpy(self.blocks[number].axes[axis].places[group])
        a, b = (side[number] if axis == 0 else side[number].swapaxes(0, 1) for side in (self.one, self.two))
        if kept is not None:
            a = a[:, kept]
            order = kept.nonzero()[:, 0] if order is None else order[kept]
        b = b if order is None else b[:, order]
        return a[places].reshape(len(places), -1) @ b[places].reshape(len(places), -1).T

    def from_inputs(self) -> list[Permutation]:
        """A start: each group matched by what is matched before it, from the inputs on."""
        permutations = self.graph.identity()
        known: set[int] = set()
        for group in range(len(permutations)):
            permutations[group] = assign(self.scores(group, permutations, known))
            known.add(group)
        return permutations

    def ascend(self, permutations: list[Permutation], draw: np.random.Generator) -> tuple[list[float], int]:
        """Improve group by group, in place, until none gains; returns the objective's history and the sweeps."""
        history = [self.objective(permutations)]
        for sweep in range(1, SWEEPS + 1):
            gained = False
            for group in draw.permutation(len(permutations)).tolist():
                gain = self._improve(group, permutations)
                if gain > 0:
                    history.append(history[-1] + gain)
                    gained = True
            if not gained:
                return history, sweep
        return history, SWEEPS

    def _improve(self, group: int, permutations: list[Permutation]) -> float:
        """Put one group into its best order; returns what that gains, 0 if it is left."""
        scores = self.scores(group, permutations)
        new, old = assign(scores), permutations[group]
        if np.array_equal(new, old):
            return 0.0
        rows = np.arange(len(old))
        if group not in self._twice:
            gain = float(scores[rows, new].sum() - scores[rows, old].sum())
            if gain > self.tolerance:
                permutations[group] = new
                return gain
            return 0.0
        before = sum(self._value(number, permutations) for number in self._of[group])
        permutations[group] = new
        gain = sum(self._value(number, permutations) for number in self._of[group]) - before
        if gain > self.tolerance:
            return gain
        permutations[group] = old
        return 0.0
