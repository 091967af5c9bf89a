"""The words for choices of curvature. Knows no torch, so that the command line can offer them too."""

from typing import Literal

Curvature = Literal["hessian", "gauss-newton", "empirical-fisher"]
CurvatureNorm = Literal["eval", "recompute", "train"]
TraceMethod = Literal["hutch++", "hutchinson"]
