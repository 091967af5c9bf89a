"""Distances between the ReLU patterns of checkpoints on disk."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from landscape_cli.compute.choices import SplitName
from landscape_cli.compute.device import math_mode
from landscape_cli.compute.weights.interpolation import Prepared, prepare
from landscape_cli.compute.weights.relu_patterns import Pattern, count, differing, patterns
from landscape_cli.errors import LandscapeError
from landscape_cli.jobs.barriers import same_network, with_context
from landscape_cli.jobs.bench import Bench, Setup
from landscape_cli.jobs.kept import HELD
from landscape_cli.jobs.model_columns import model_name
from landscape_cli.jobs.pairs import Subject, sides

PARTS = 1000  # of a pair, in telling how much is done

Pairs = Sequence[tuple[Subject, Subject]]
Progress = Callable[[int, int], None]


@dataclass(eq=False)
class _Group:
    """Pairs of one network and one set of samples, of as few checkpoints as are held at a time.

    Args:
        setup: Network and samples.
        states: The checkpoints, by content.
        pairs: Numbers of the pairs, and the contents of their sides.
        differ: By pair and place, in how many entries the patterns differ.
        on: By checkpoint and place, how many entries are on.
        entries: By place.
        units: By place, which kind of unit.
    """

    setup: Setup
    states: dict[str, Prepared] = field(default_factory=dict)
    pairs: list[tuple[int, str, str]] = field(default_factory=list)
    differ: dict[int, dict[str, int]] = field(default_factory=dict)
    on: dict[str, dict[str, int]] = field(default_factory=dict)
    entries: dict[str, int] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)


class ReluPatterns:
    """Measures in how many entries the on/off patterns of checkpoints differ.

    Every batch goes through all checkpoints before the next, so that what is held of patterns is a batch of each, at
    one bit an entry.

    Args:
        bench: Networks and samples.
        split: Whose samples.
        by_layer: Whether each place of the network is told too.
    """

    def __init__(self, bench: Bench, split: SplitName, *, by_layer: bool = False) -> None:
        self.bench = bench
        self.split = split
        self.by_layer = by_layer

    def pairs(self, chosen: Pairs, progress: Progress | None = None) -> Iterator[dict[str, Any] | LandscapeError]:
        """A record for each pair in their order, or why it could not be measured.

        Cost: a forward pass of each checkpoint (several, if they are too many to be held), and 1/8 byte an entry and
        pair.

        Args:
            chosen: The pairs.
            progress: Told how much is done, and of how much.
        """
        found: dict[int, dict[str, Any] | LandscapeError] = {}
        for group in self._groups(chosen, found):  # one at a time: the next one's checkpoints are read after it
            done, size = len(found), len(group.setup.splits[self.split])

            def tell(samples: int, done: int = done, share: float = len(group.pairs) / size) -> None:
                if progress is not None:
                    progress(round(PARTS * (done + share * samples)), PARTS * len(chosen))

            try:
                self._stream(group, tell)
            except LandscapeError as error:
                found |= {number: error for number, _, _ in group.pairs}
            else:
                for number, one, two in group.pairs:
                    found[number] = self._record(group, number, one, two, *chosen[number])
            group.states.clear()
        for number in range(len(chosen)):
            yield found[number]

    def _groups(self, chosen: Pairs, found: dict[int, dict[str, Any] | LandscapeError]) -> Iterator[_Group]:
        """The pairs, put together while their network is one and their checkpoints have room."""
        group: _Group | None = None
        for number, (a, b) in enumerate(chosen):
            try:
                same_network(a.checkpoint, b.checkpoint)
                setup = self.bench.setup((a, b))
                states = {end.checkpoint.hash(): self._prepared(end, setup, group) for end in (a, b)}
            except LandscapeError as error:
                found[number] = error
                continue
            fits = (
                group is not None
                and group.setup.network is setup.network
                and group.setup.splits is setup.splits
                and sum(state.size for state in (group.states | states).values()) <= HELD
            )
            if group is None or not fits:
                if group is not None:
                    yield group
                group = _Group(setup)
            group.states |= states
            group.pairs.append((number, a.checkpoint.hash(), b.checkpoint.hash()))
        if group is not None:
            yield group

    def _prepared(self, end: Subject, setup: Setup, group: _Group | None) -> Prepared:
        if group is not None and group.setup.network is setup.network and end.checkpoint.hash() in group.states:
            return group.states[end.checkpoint.hash()]
        return prepare(setup.network, end.checkpoint.tensors(), end.checkpoint.label)

    def _stream(self, group: _Group, tell: Callable[[int], None]) -> None:
        network, samples = group.setup.network, group.setup.splits[self.split]
        mode, done = network.training, 0
        own = network.state_dict()
        network.eval()
        with math_mode(self.bench.where):
            for x, _ in samples.batches(self.bench.sampling.batch):
                seen: dict[str, dict[str, Pattern]] = {}
                for key, state in group.states.items():
                    for name, target in own.items():  # as load_state_dict, whose checks cost more than the copy
                        target.copy_(state.tensors[name])
                    _, seen[key] = patterns(network, x)
                    _add(group.on.setdefault(key, {}), {place: count(one.bits) for place, one in seen[key].items()})
                first = next(iter(seen.values()))
                _add(group.entries, {place: one.entries for place, one in first.items()})
                group.units = {place: one.unit for place, one in first.items()}
                for number, one, two in group.pairs:
                    apart = {place: differing(seen[one][place], seen[two][place]) for place in first}
                    _add(group.differ.setdefault(number, {}), apart)
                done += len(x)
                tell(done)
        network.train(mode)

    def _record(self, group: _Group, number: int, one: str, two: str, a: Subject, b: Subject) -> dict[str, Any]:
        entries, differ = group.entries, group.differ[number]
        whole = sum(entries.values())
        record: dict[str, Any] = {
            "kind": "relu-distance",
            "a": model_name(a),
            "b": model_name(b),
            "distance": sum(differ.values()) / whole,
            "on_a": sum(group.on[one].values()) / whole,
            "on_b": sum(group.on[two].values()) / whole,
            "entries": whole,
            "units": sorted(set(group.units.values())),
            "split": self.split,
            "samples": len(group.setup.splits[self.split]),
            **sides(a, b),
        }
        if self.by_layer:
            record["layers"] = {place: differ[place] / size for place, size in entries.items()}
        context = self.bench.context(group.setup)
        return with_context(record, a, b, context, context)


def _add(into: dict[str, int], more: dict[str, int]) -> None:
    for name, value in more.items():
        into[name] = into.get(name, 0) + value
