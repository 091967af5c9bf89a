"""The gallery: every script is shell, names options that exist, and has its pictures beside it and in the README."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from landscape_cli.cli import app as face
from tests.conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.sh"))
GALLERY = (EXAMPLES / "README.md").read_text(encoding="utf-8")
PICTURES = sorted(path.name for path in (EXAMPLES / "pictures").glob("*.png"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_shell_and_named_in_the_gallery(script: Path) -> None:
    if shutil.which("bash") is not None:
        subprocess.run(["bash", "-n", script], check=True)
    assert script.name in GALLERY


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_its_commands_exist_with_their_options(script: Path) -> None:
    """Variables stand for words here; what the commands need is made by running the script."""
    group = typer.main.get_command(face.app)
    text = re.sub(r"\\\n\s*", " ", script.read_text(encoding="utf-8"))
    found = 0
    for line in text.splitlines():
        if line.lstrip().startswith(("#", "echo")):
            continue
        for part in re.split(r"\||&&|;|\bdo\b", line):
            if not part.strip().startswith("landscape "):
                continue
            words = shlex.split(part.split(">")[0], comments=True)
            name, *rest = words[1:]
            # Arrays and numbers that the shell puts in are left out, with their options' values standing.
            rest = [
                re.sub(r"\$\{?\w+[^}]*\}?", "1", word)
                for word in rest
                if not word.startswith(("${options", "${begin", "$@", "${images", "${samples"))
            ]
            command = group.commands[name]  # type: ignore[attr-defined]
            known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
            given = {word.partition("=")[0] for word in rest if re.fullmatch(r"-[a-zA-Z]|--[a-z][\w-]*(=.*)?", word)}
            assert given <= known, f"{script.name}: landscape {name} has no {given - known}"
            found += 1
    assert found or "runs" in script.name


def test_pictures_are_those_of_the_scripts_and_all_shown() -> None:
    made = {name for script in SCRIPTS for name in re.findall(r"pictures/([\w.$-]+\.png)", script.read_text())}
    patterns = [re.compile(re.sub(r"\\\$\w+", r"\\w+", re.escape(name)) + "$") for name in made]
    for picture in PICTURES:
        assert any(pattern.match(picture) for pattern in patterns), f"no script makes {picture}"
        assert (EXAMPLES / "pictures" / picture).stat().st_size < 150_000
    assert sorted(re.findall(r"\(pictures/([\w.-]+)\)", GALLERY)) == PICTURES
