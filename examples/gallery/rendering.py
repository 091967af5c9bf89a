"""Sentences with their numbers: what stands in braces, ``{script:number|unit}``, is taken from the committed facts."""

import hashlib
import json
import re
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent.parent
REPOSITORY = EXAMPLES.parent
PICTURES = EXAMPLES / "pictures"
CAPTIONS = EXAMPLES / "gallery" / "captions.md"
ELSEWHERE = EXAMPLES / "gallery" / "elsewhere.toml"
TOOK = PICTURES / "took.json"
GALLERY = EXAMPLES / "README.md"

NOTE = (
    "<!-- Written by `make reference` from examples/gallery/captions.md and pictures/*.json: change it there. -->\n\n"
)
PLACE = re.compile(r"\{([\w-]+):([\w.-]+)\|(\w+)\}")
SCRIPT = re.compile(r"`bash examples/([\w-]+)\.sh`")
PICTURE = re.compile(r"\(pictures/([\w.-]+\.png)\)")


def _hundred(share: float) -> str:
    value = 100 * float(share)
    return f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.1f}"


def _power(value: float) -> str:
    mantissa, exponent = f"{float(value):.0e}".split("e")
    return f"{mantissa}·10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


UNITS: dict[str, Callable[[Any], str]] = {
    "points": _hundred,  # shares, as points of %
    "percent": lambda share: f"{_hundred(share)} %",
    "number": lambda value: f"{float(value):.2g}",
    "factor": lambda value: f"{float(value):.2g}" if float(value) < 9.95 else f"{float(value):.0f}",
    "plain": lambda value: f"{float(value):.3g}",
    "three": lambda value: f"{float(value):#.3g}",
    "power": _power,
    "count": lambda value: f"{int(value):,}",
    "text": str,
}


def facts() -> dict[str, dict[str, Any]]:
    """What lies beside the pictures, by script: numbers, claims, and the pictures they were taken with."""
    return {file.stem: json.loads(file.read_text("utf-8")) for file in PICTURES.glob("*.json") if file != TOOK}


def fill(text: str, known: dict[str, dict[str, Any]]) -> str:
    """The text with its numbers.

    Raises:
        KeyError: If a script, number or unit is not there.
    """
    return PLACE.sub(lambda found: UNITS[found[3]](known[found[1]]["numbers"][found[2]]), text)


def page() -> str:
    """The gallery's page."""
    text = fill(CAPTIONS.read_text("utf-8"), facts())
    return NOTE + "\n\n".join(map(_wrapped, text.split("\n\n"))).replace("{took}", took())


def _wrapped(paragraph: str) -> str:
    if paragraph.startswith(("#", "!", "|", "```", "{")):
        return paragraph
    whole = " ".join(paragraph.split()).replace(" %", "_%")  # no line begins with the sign
    return textwrap.fill(whole, 120, break_long_words=False, break_on_hyphens=False).replace("_%", " %")


def took() -> str:
    """The table of times, with where and when."""
    if not TOOK.is_file():
        return "Not measured yet."
    found = json.loads(TOOK.read_text("utf-8"))
    rows = [f"| {name} | {_clock(seconds)} |" for name, seconds in found["seconds"].items()]
    return "\n".join([f"On {found['machine']}, {found['date']}.", "", "| script | time |", "|---|---|", *rows])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def shown() -> dict[str, list[str]]:
    """The pictures of each script, as the captions show them: those that follow its name."""
    found: dict[str, list[str]] = {}
    script = ""
    for line in CAPTIONS.read_text("utf-8").splitlines():
        if named := SCRIPT.search(line):
            script = named[1]
        for picture in PICTURE.findall(line):
            found.setdefault(script, []).append(picture)
    return found


def print_of(picture: str) -> str:
    """What a picture is known by, so that numbers and pictures of different runs are told apart."""
    return hashlib.sha256((PICTURES / picture).read_bytes()).hexdigest()[:16]


def missing_elsewhere() -> list[str]:
    """Sentences of other pages that do not say there what the results say."""
    found = []
    for name, sentences in tomllib.loads(ELSEWHERE.read_text("utf-8")).items():
        text = " ".join((REPOSITORY / name).read_text("utf-8").split())
        found += [f"{name}: {said}" for sentence in sentences if (said := fill(sentence, facts())) not in text]
    return found
