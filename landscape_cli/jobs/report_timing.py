"""How long a report takes here, about: from a trial of a forward pass, and from what pictures were measured to take."""

import math
import time
from collections.abc import Sequence

import numpy as np

from landscape_cli.compute.device import place, placement, set_threads
from landscape_cli.compute.evaluation import log_probabilities
from landscape_cli.datasets import DataSpec
from landscape_cli.errors import LandscapeError
from landscape_cli.jobs.report_cast import Cast
from landscape_cli.jobs.report_step import Step
from landscape_cli.jobs.subjects import build_network, chosen_data, chosen_network, load_data, samples_of
from landscape_cli.networks.registry import NetworkSpec, resolve

BATCH = 100
IMAGES = 500  # of a trial
LEAST = 20  # batches of a trial: the first few are slow
LONGEST, MOST = 0.4, 3.0  # seconds of the trial; of one that has not that many batches
PICTURE = 1.1  # seconds of a panel: by itself, and in three formats of the large figure


def seconds_per_pass(
    cast: Cast, *, device: str = "auto", threads: int | None = None, network: NetworkSpec | None = None,
    data: DataSpec | None = None,
) -> float | None:  # fmt: skip
    """Seconds of a forward pass of one image of the first network; None where its code or data are not at hand.

    Of the fastest of some batches, so that another process that takes its turn does not count.

    Args:
        cast: The runs.
        device: Where it is to be.
        threads: Of the processor; None for as many as there are.
        network: The one a person names.
        data: Likewise.
    """
    run = next(iter(cast.networks), None)
    try:
        spec = network if run is None else chosen_network(run, network)
        source = data if run is None else chosen_data(run, data)
        if spec is None or source is None:
            return None
        where = placement(device)
        set_threads(threads)
        whole = load_data(source)
        subject = place(build_network(resolve(spec), whole), where).eval()
        part = whole.test.take(np.arange(min(IMAGES, len(whole.test))))
        images = samples_of(part, whole.normalization, where)
    except LandscapeError:
        return None
    fastest, batches, begun = math.inf, 0, time.perf_counter()
    while batches == 0 or time.perf_counter() - begun < (LONGEST if batches >= LEAST else MOST):
        started = time.perf_counter()
        for found in log_probabilities(subject, images, batch=BATCH):
            now = time.perf_counter()
            fastest, batches, started = min(fastest, (now - started) / len(found)), batches + 1, now
    return fastest


def seconds_of(steps: Sequence[Step], each: float) -> float:
    """About how long some steps take.

    Args:
        steps: To be made.
        each: Seconds of a pass.
    """
    return sum(step.passes * each + step.overhead for step in steps)


def seconds_of_pictures(panels: int) -> float:
    """About how long their drawing takes."""
    return PICTURE * panels
