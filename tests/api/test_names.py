"""The package's public names: what is listed, found, typed, and what it costs to look."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import landscape_cli as landscape

FUNCTIONS = [name for name in landscape.__all__ if inspect.isfunction(getattr(landscape, name))]


def test_names_are_public() -> None:
    for name in landscape.__all__:
        assert getattr(landscape, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'barier'"):
        landscape.barier  # noqa: B018


def test_type_checkers_see_the_names_that_there_are() -> None:
    """The imports for them, the homes of the names, and ``__all__`` say the same."""
    tree = ast.parse(Path(landscape.__file__).read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        (alias.asname, str(node.module))
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = {(name, f"landscape_cli.{home}") for name, home in landscape._HOMES.items()}
    assert imported == homes
    assert {name for name, _ in homes} == {name for name in landscape.__all__ if not name.startswith("__")}
    assert (Path(landscape.__file__).parent / "py.typed").exists()


def test_looking_loads_nothing() -> None:
    """To import, to list and to complete a name pays for neither torch nor numpy."""
    code = (
        "import sys, landscape_cli\n"
        "assert {'barrier', 'gradient_distance', '__version__'} <= set(dir(landscape_cli))\n"
        "import rlcompleter\n"
        "found = rlcompleter.Completer({'landscape_cli': landscape_cli}).complete('landscape_cl', 0)\n"
        "assert found == 'landscape_cli', found\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\n"
        "from landscape_cli import LandscapeError\n"
        "assert 'torch' not in sys.modules\n"
        "import pydoc\n"
        "assert 'hessian_trace' in pydoc.plaintext.document(landscape_cli)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_say_every_argument_and_what_it_costs(name: str) -> None:
    function = getattr(landscape, name)
    words = inspect.getdoc(function) or ""
    for argument in inspect.signature(function).parameters:
        assert f"    {argument}: " in words or len(inspect.signature(function).parameters) == 1, argument
    assert "Cost" in words
    assert "Raises:" in words
    assert inspect.signature(function).return_annotation is not inspect.Signature.empty
