"""The words for the forms of a curve. Knows no torch, so that the command line can offer them too."""

from typing import Literal

CurveForm = Literal["bezier", "chain"]
