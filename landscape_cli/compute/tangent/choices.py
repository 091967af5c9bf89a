"""The words for choices about tangent kernels. Knows no torch, so that the command line can offer them too."""

from typing import Literal

KernelForm = Literal["full", "trace", "pseudo"]
KernelPrecision = Literal["float32", "float64", "bf16"]
KernelMethod = Literal["auto", "general"]

MEMORY = 1 << 30
