"""What entries mean: looked up by name, with endings that are explained once."""

import tomllib
from functools import cache
from pathlib import Path

ENDINGS = {
    "_a": "{}, of A",
    "_b": "{}, of B",
    "_c": "{}, of C",
    "_sd": "standard deviation of `{name}` over repeats",
    "_std": "standard deviation of `{name}` over the group",
    "_error": "standard error of `{name}`",
}


@cache
def _known() -> dict[str, dict[str, str]]:
    with (Path(__file__).parent / "meanings.toml").open("rb") as file:
        return tomllib.load(file)


def meaning(name: str, kind: str = "") -> str:
    """What an entry of a record or file means; empty if nobody said.

    >>> meaning("step_a"), meaning("trace_error")
    ('optimiser step, of A', 'standard error of `trace`')
    """
    known = _known()
    for table in (kind, "entries"):
        if name in known.get(table, {}):
            return known[table][name]
    for ending, words in ENDINGS.items():
        base = name.removesuffix(ending)
        if base != name and (said := meaning(base, kind)):
            return words.format(said, name=base)
    for split in ("train_", "test_", "clean_", "patch_"):
        if name.startswith(split) and (said := meaning(name.removeprefix(split), kind)):
            return f"{said}, on the {split[:-1]} part"
    return ""
