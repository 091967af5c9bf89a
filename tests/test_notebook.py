"""The notebook in examples/: valid, small, and its cells run in order as they stand."""

import ast
import base64
import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import REPOSITORY

FILE = REPOSITORY / "examples" / "notebook.ipynb"
BOOK = json.loads(FILE.read_text(encoding="utf-8"))
CODE = [cell for cell in BOOK["cells"] if cell["cell_type"] == "code"]


def said(cell: dict[str, Any]) -> str:
    """What a cell's stored output says."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", []) for output in cell["outputs"]]
    return "".join("".join(text) for text in texts)


def test_it_has_the_form_of_a_notebook() -> None:
    assert (BOOK["nbformat"], BOOK["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in BOOK["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", one) for one in ids)
    assert all({"metadata", "source"} <= cell.keys() for cell in BOOK["cells"])
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    for cell in CODE:
        for output in cell["outputs"]:
            assert output["output_type"] in ("stream", "execute_result", "display_data")
    pictures = [o["data"]["image/png"] for cell in CODE for o in cell["outputs"] if "image/png" in o.get("data", {})]
    assert len(pictures) == 3
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert FILE.stat().st_size < 300_000


def test_its_cells_run_in_order_and_say_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of the stored checkpoints are those of the stored outputs; those trained anew may differ in rounding."""
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    monkeypatch.chdir(FILE.parent)
    space: dict[str, Any] = {"__name__": "__main__"}
    told = []
    for cell in CODE:
        source = "".join(cell["source"])
        tree = ast.parse(source)
        last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(tree, str(FILE), "exec"), space)
            value = None if last is None else eval(compile(last, str(FILE), "eval"), space)
        told.append(out.getvalue() + ("" if value is None else repr(value)))
    plt.close("all")
    assert "error=0.0197183" in said(CODE[1])
    assert "error=0.0197183" in told[1]
    assert told[2] == said(CODE[2])
    assert "spawned at epoch 0: 0.883" in told[2]
    assert [len(re.findall(r"\d\.\d+", text)) for text in told] == [len(re.findall(r"\d\.\d+", said(c))) for c in CODE]
    kernels = next(text for text in told if "0ep to 8ep" in text)
    assert [float(number) for number in re.findall(r": (\d\.\d+)", kernels)] == pytest.approx(
        [0.6052, 0.0623], abs=1e-3
    )
    path = space["path"]
    assert path.progress[8] > 0.99 > path.progress[3] > path.progress[0]
    assert space["found"].error.sup > 0.05
    assert space["embedding"].coordinates.shape == (20, 3)
    assert space["left"].error.sup < 0.5 * space["found"].error.sup
    assert space["patterns"].distance < 0.5
    assert abs(space["weights"].cosine) < 0.1
    density, values = space["density"].numpy(), space["values"].numpy()
    assert np.trapezoid(density, values) == pytest.approx(1, abs=1e-3)
    mean = space["size"] * np.trapezoid(density * values, values)  # the trace, by another estimate
    assert mean == pytest.approx(space["trace"].value, rel=0.3)


def test_it_names_no_machine() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert not re.search(r"/(root|home|work|tmp)/", text)
    assert Path(FILE).name in (REPOSITORY / "README.md").read_text(encoding="utf-8")
