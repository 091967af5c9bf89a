"""Networks compiled by torch."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from landscape_cli.errors import DeviceError


def compiled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """The network's forward and backward pass, compiled by ``torch.compile`` at the first call.

    It fuses what stands between convolutions and matrix products; its sums are rounded otherwise than those of the
    network itself, so that runs made with it and without it differ as two seeds of a rounding do. The first step takes
    half a minute and more.

    Raises:
        DeviceError: At the first call, if there is no compiler or the network cannot be compiled.
    """
    call = cast(Callable[[Tensor], Tensor], torch.compile(network))

    def forward(inputs: Tensor) -> Tensor:
        try:
            return call(inputs)
        except (torch._dynamo.exc.TorchDynamoException, RuntimeError, OSError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise DeviceError(f"the network cannot be compiled: {reason}", "use --compile none") from error

    return forward
