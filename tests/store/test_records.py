import json
import math

import pytest

from landscape_cli.errors import UsageError
from landscape_cli.store.cache import PointCache
from landscape_cli.store.records import dump, read_items


def test_a_pipe_of_paths_and_records_keeps_unknown_keys() -> None:
    lines = ["runs/a\n", "\n", json.dumps({"kind": "run", "path": "runs/b", "tag": "x"}) + "\n"]
    items = read_items(["first", "-"], stdin=lines)
    assert [item.path for item in items] == ["first", "runs/a", "runs/b"]
    assert items[2].record == {"tag": "x"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "nothing came through the pipe"),
        (["\n", "  \n"], "nothing came through the pipe"),
        (['{"kind": "barrier", "a": "x"}\n'], "line 1 of the input is a record of kind 'barrier'"),
        (['{"path": "x"}\n'], "a record without a kind"),
        (["runs/a\n", '{"kind": "run", \n'], "line 2 of the input is no JSON record"),
        (['{"kind": "run", "path": 3}\n'], "record of kind 'run'"),
    ],
)
def test_a_pipe_of_something_else_is_named(lines: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_items(["-"], stdin=lines)


def test_stdin_is_read_once() -> None:
    with pytest.raises(UsageError, match="twice"):
        read_items(["-", "-"], stdin=["x"])


def test_numbers_that_are_none_stay() -> None:
    assert math.isnan(json.loads(dump({"x": math.nan}))["x"])


def test_the_cache_keeps_points_of_one_identity() -> None:
    cache = PointCache("kind", {"a": 1})
    assert cache.read() == []
    cache.add({"alpha": 0.5})
    cache.add({"alpha": 0.25})
    assert PointCache("kind", {"a": 1}).read() == [{"alpha": 0.5}, {"alpha": 0.25}]
    assert PointCache("kind", {"a": 2}).read() == []
    assert PointCache("kind", {"a": 1}, fresh=True).read() == []


def test_a_cache_cut_short_or_unwritable_is_done_without(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    cache = PointCache("kind", {"a": 1})
    cache.add({"alpha": 0.5})
    cache.add({"alpha": 0.25})
    cache.path.write_text(cache.path.read_text()[:-4])
    assert cache.read() == [{"alpha": 0.5}]
    again = PointCache("kind", {"a": 1})
    again.add({"alpha": 0.75})
    assert again.read() == [{"alpha": 0.5}, {"alpha": 0.75}]
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("LANDSCAPE_CACHE", str(blocked / "inside"))
    nowhere = PointCache("kind", {"a": 1})
    nowhere.add({"alpha": 0.5})
    assert nowhere.read() == []
