"""``python -m docs.generate``: write the generated pages; with ``--check``, say which of them are out of step."""

import sys
import tempfile
from pathlib import Path

from docs.generate import face, formats, python, records, registries, specimens

REFERENCE = Path(__file__).resolve().parent.parent / "reference"
NOTE = "<!-- Written by `make reference` from the code: change it there. -->\n\n"


def pages() -> tuple[dict[str, str], list[str]]:
    """The generated pages by file name, and the entries that nobody has said the meaning of."""
    with tempfile.TemporaryDirectory() as folder:
        made = specimens.make(Path(folder))
        written = {
            "commands.md": face.page(),
            "networks.md": registries.networks(),
            "data.md": registries.data(),
            "presets.md": registries.presets(),
            "python.md": python.page(),
            "records.md": records.page(made),
            "formats.md": formats.page(Path(folder)),
        }
        entries = [(kind, name) for kind, (_, found) in records.collected(made).items() for name in found]
        unexplained = records.unexplained([*entries, *formats.names(Path(folder))])
    return {name: f"{NOTE}{text.strip()}\n" for name, text in written.items()}, unexplained


def main(arguments: list[str]) -> int:
    """Write or compare; the exit status is 1 where something is out of step."""
    stale = []
    written, unexplained = pages()
    for name, text in written.items():
        file = REFERENCE / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in arguments:
                file.parent.mkdir(exist_ok=True)
                file.write_text(text, encoding="utf-8")
    verb = "out of step, 'make reference' writes it again" if "--check" in arguments else "written"
    sys.stdout.write("".join(f"docs/reference/{name}: {verb}\n" for name in stale))
    sys.stdout.write("".join(f"docs/generate/meanings.toml: no meaning of {entry}\n" for entry in unexplained))
    return 1 if unexplained or (stale and "--check" in arguments) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
