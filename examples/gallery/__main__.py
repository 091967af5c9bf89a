"""``python -m examples.gallery``: run the scripts, take their pictures and numbers, write the gallery's page.

python -m examples.gallery run FOLDER            all scripts in a fresh folder, timed; then take and render
python -m examples.gallery take FOLDER [SCRIPT]  pictures and numbers of what scripts left in a folder
python -m examples.gallery render [--check]      the page, from the captions and the numbers beside the pictures
"""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from examples.gallery import rendering
from examples.gallery.numbers import FIGURES

WIDEST = 2000  # pixels; what is wider is a page of panels, and shown at half its size
STUDIES = ("fort2020-runs", "mao2023-runs")  # what several scripts share, made once


def run(folder: Path) -> None:
    """Every script in turn, from nothing; how long each took beside the pictures."""
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty: times are taken from nothing")
    seconds = {}
    for name in (*STUDIES, *FIGURES):
        script = rendering.EXAMPLES / f"{name}.sh"
        command = ["bash", "-c", 'source "$0" "$1"', script, folder] if name in STUDIES else ["bash", script, folder]
        before = time.monotonic()
        done = subprocess.run(  # noqa: S603
            command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if done.returncode:
            sys.exit(f"{script.name} failed:\n{done.stderr}")
        seconds[name] = round(time.monotonic() - before, 1)
        print(f"{name}: {seconds[name]:.0f} s", flush=True)
    take(folder, [*FIGURES])
    found = {"machine": _machine(), "date": f"{datetime.now(UTC):%Y-%m-%d}", "seconds": seconds}
    rendering.TOOK.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "a processor")
    return f"{os.cpu_count()} cores of {model}"


def take(folder: Path, scripts: list[str]) -> None:
    """Numbers and pictures of one run of the scripts, together or not at all."""
    for name in scripts:
        numbers, claims = FIGURES[name](folder)
        if broken := [claim for claim, holds in claims.items() if not holds]:
            sys.exit(f"{name}: this is not seen any more, write another caption: {'; '.join(broken)}")
        pictures = rendering.shown().get(name, [])
        for picture in pictures:
            reduce(folder / "pictures" / picture, rendering.PICTURES / picture)
        facts = {
            "numbers": {key: value for key, value in numbers.items() if isinstance(value, (int, float, str))},
            "claims": list(claims),
            "pictures": {picture: rendering.print_of(picture) for picture in pictures},
        }
        (rendering.PICTURES / f"{name}.json").write_text(
            json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def reduce(picture: Path, target: Path) -> None:
    """The picture in 256 colours: a third of its bytes, and the same to the eye."""
    from PIL import Image

    with Image.open(picture) as image:
        shown = image.convert("RGB")
        if shown.width > WIDEST:
            shown = shown.resize((shown.width // 2, shown.height // 2), Image.Resampling.LANCZOS)
        shown.quantize(256).save(target, optimize=True, dpi=image.info.get("dpi", (200, 200)))


def render(*, check: bool) -> int:
    """Write the page, or compare it; 1 where something says another thing than the results."""
    text = rendering.page()
    stale = not rendering.GALLERY.is_file() or rendering.GALLERY.read_text("utf-8") != text
    if stale and not check:
        rendering.GALLERY.write_text(text, encoding="utf-8")
    if stale and check:
        print("examples/README.md: out of step, 'make reference' writes it again")
    elsewhere = rendering.missing_elsewhere()
    for sentence in elsewhere:
        print(f"not said any more in {sentence}")
    return 1 if elsewhere or (stale and check) else 0


def main(arguments: list[str]) -> int:
    match arguments:
        case ["run", folder]:
            run(Path(folder))
        case ["take", folder, *scripts]:
            take(Path(folder), scripts or [*FIGURES])
        case ["render", *rest] if rest in ([], ["--check"]):
            return render(check=bool(rest))
        case _:
            print(__doc__)
            return 2
    return render(check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
