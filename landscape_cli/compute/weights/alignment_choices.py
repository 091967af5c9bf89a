"""The words for choices that an alignment offers. Knows no torch, so that the command line can offer them too."""

from typing import Literal

AlignMethod = Literal["weights", "activations"]
Similarity = Literal["correlation", "product"]

RESTARTS = 3
ACTIVATION_SAMPLES = 2000
