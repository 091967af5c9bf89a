"""A network tried on two samples before the work begins: what it does wrong is told in one line, not hours later."""

import torch
from torch import Tensor, nn

from landscape_cli.compute.samples import Samples
from landscape_cli.errors import DataError, NetworkError

PROBED = 2  # samples


def check_outputs(network: nn.Module, samples: Samples, *, who: str = "the network", labels: bool = True) -> int:
    """Try a network on two samples, and the labels against what it gives.

    Cost: a forward pass of two samples.

    Args:
        network: Where it is measured, in evaluation mode.
        samples: The samples.
        who: What to call the network.
        labels: Whether the labels matter.

    Returns:
        The number of classes.

    Raises:
        DataError: If a label is no class of the network's.
        NetworkError: If it fails on such inputs, gives no logits ``(sample, class)``, gives NaN, or changes its inputs.
    """
    classes = logits_of(network, samples, who).shape[1]
    outside = ((samples.labels < 0) | (samples.labels >= classes)).nonzero()
    if labels and len(outside):
        sample = int(outside[0])
        raise DataError(
            f"the label of sample {sample} is {int(samples.labels[sample])}, but {who} gives {classes} classes, from 0"
        )
    return classes


def logits_of(network: nn.Module, samples: Samples, who: str) -> Tensor:
    """What a network gives for two samples, checked.

    Raises:
        NetworkError: As :func:`check_outputs`.
    """
    given = samples.normalized(samples.inputs[:PROBED]).clone()
    x = given.clone()
    with torch.inference_mode():
        try:
            outputs = network(x)
        except Exception as error:  # whatever a network may do
            text = str(error).partition("\n")[0] or type(error).__name__
            raise NetworkError(f"{who} fails on inputs of shape {tuple(x.shape[1:])}: {text}") from error
    if not isinstance(outputs, Tensor):
        raise NetworkError(
            f"{who} gives a {type(outputs).__name__}, not a tensor of logits",
            "wrap it in a module whose forward returns the logits",
        )
    if outputs.ndim != 2 or len(outputs) != len(x) or not outputs.is_floating_point():
        raise NetworkError(
            f"{who} gives {tuple(outputs.shape)} for {len(x)} samples: logits have the shape (sample, class)"
        )
    if bool(outputs.isnan().any()):
        raise NetworkError(f"{who} gives NaN", "look at its weights: its training may have diverged")
    if not torch.equal(x, given):
        raise NetworkError(
            f"{who} changes its inputs in place, so that the next pass would see others",
            "let it work out of place: x = x - y for x -= y, inplace=False",
        )
    return outputs
