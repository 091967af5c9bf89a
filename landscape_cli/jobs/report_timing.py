"""How long a forward pass takes here, for the estimate that comes before a report."""

from collections.abc import Sequence

from landscape_cli.compute.device import place, placement
from landscape_cli.compute.training.timing import seconds_per_sample
from landscape_cli.errors import LandscapeError
from landscape_cli.jobs.report_cast import Cast
from landscape_cli.jobs.subjects import build_network, load_data, recorded_data, recorded_network, samples_of
from landscape_cli.networks.registry import resolve

BATCH = 100
STEP = 3.0  # forward passes in a training step


def seconds_per_pass(cast: Cast, common: Sequence[str]) -> float | None:
    """Seconds of a forward pass of one image of the first run's network; None where its code or data are not at hand.

    Args:
        cast: The runs.
        common: Words of the measuring commands; ``--device`` among them is heard.
    """
    if not cast.networks:
        return None
    run = cast.networks[0]
    device = common[common.index("--device") + 1] if "--device" in common else "auto"
    try:
        where = placement(device)
        data = load_data(recorded_data(run))
        network = place(build_network(resolve(recorded_network(run)), data), where)
        return seconds_per_sample(network, samples_of(data.test, data.normalization, where), BATCH, seconds=0.2) / STEP
    except LandscapeError:
        return None
