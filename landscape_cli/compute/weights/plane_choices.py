"""The words for the choices that a plane offers. Knows no torch, so that the command line can offer them too."""

from typing import Literal

Directions = Literal["random", "gradient", "pca"]
Corner = Literal["A", "B", "C"]
