"""The words for choices that a measurement offers. Knows no torch, so that the command line can offer them too."""

from typing import Literal

Precision = Literal["float32", "float64", "tf32", "bf16", "fp16"]
BatchNormMode = Literal["recompute", "lerp", "keep"]
SplitName = Literal["train", "test", "clean", "patch"]  # the last two of data that have them: patches:NAME
SplitChoice = Literal["train", "test", "both", "clean", "patch"]
Side = Literal["a", "b"]  # of a pair
KeepResume = Literal["all", "last", "none"]
Compile = Literal["auto", "none", "graph", "inductor"]


def splits_of(choice: SplitChoice) -> tuple[SplitName, ...]:
    """The splits a choice means.

    >>> splits_of("both")
    ('train', 'test')
    """
    return ("train", "test") if choice == "both" else (choice,)
