"""The ends of paths: each checkpoint read, laid out and evaluated once, however many paths it ends."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Literal

from landscape_cli.compute.evaluation import Evaluation
from landscape_cli.compute.weights.interpolation import Prepared, prepare
from landscape_cli.jobs.bench import Bench, Setup
from landscape_cli.jobs.kept import HELD, Kept
from landscape_cli.jobs.pairs import Subject
from landscape_cli.store.cache import PointCache

VERSION = 1  # of the evaluation: raised when its numbers change, so that kept ones are not mixed

Statistics = Literal["own", "recompute"]
Results = dict[str, Evaluation]


class PathEnds:
    """Holds checkpoints as paths read them, and what they do on the samples.

    Args:
        bench: Networks and samples.
        fresh: Evaluate again what is known from an earlier command.
    """

    def __init__(self, bench: Bench, *, fresh: bool = False) -> None:
        self.bench = bench
        self.fresh = fresh
        self.read = 0  # checkpoints read so far
        self._held = Kept[Prepared](2)
        self._known: dict[str, Results] = {}

    def prepared(self, subject: Subject, setup: Setup) -> Prepared:
        """A checkpoint's state on the device, in the layout of the setup's network.

        Args:
            subject: The checkpoint.
            setup: The network.

        Raises:
            CheckpointError: If it is damaged or does not fit the network.
        """

        def make() -> Prepared:
            self.read += 1
            made = prepare(setup.network, subject.checkpoint.tensors(), subject.checkpoint.label)
            self._held.most = max(2, HELD // max(1, made.size))
            return made

        return self._held.get(self._name(subject, setup), make)

    def evaluation(
        self, subject: Subject, setup: Setup, statistics: Statistics, measure: Callable[[], Results]
    ) -> Results:
        """What a checkpoint does on the samples, under its own batch norm or under that recomputed as on a path.

        Args:
            subject: The checkpoint.
            setup: Network and samples.
            statistics: Of batch norm; ``own`` where there is none.
            measure: Evaluates it, where it is not known yet.
        """
        key = f"{self._name(subject, setup)} {statistics}"
        if key not in self._known:
            identity = self.bench.identity(setup, "recompute" if statistics == "recompute" else None)
            cache = PointCache("path-end", {"version": VERSION, "end": subject.checkpoint.hash(), **identity})
            kept = [] if self.fresh else cache.read()
            if kept:
                self._known[key] = {name: Evaluation(**value) for name, value in kept[-1].items()}
            else:
                self._known[key] = measure()
                cache.add({name: asdict(value) for name, value in self._known[key].items()})
        return self._known[key]

    def _name(self, subject: Subject, setup: Setup) -> str:
        network = json.dumps([setup.spec.to_json(), setup.data.fingerprint], sort_keys=True)
        return f"{network} {subject.checkpoint.hash()}"
