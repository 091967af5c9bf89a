"""Several figures as the parts of one: where they stand, how they are lettered, what they draw."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape_cli.errors import LandscapeError
from landscape_cli.plots import style
from landscape_cli.plots.style import collage, figure, headline, rendered


def panel(number: int, *, axes: int = 1, seen: list[tuple[float, float]] | None = None) -> Callable[[], Any]:
    """Draws y = number + x², asking for a size that is not to be heard."""

    def draw() -> Any:
        with figure(50.0, 50.0, ncols=axes, squeeze=False) as (drawn, grid):
            for one in grid.flat:
                one.plot([0, 1, 2], [number, number + 1, number + 4])
            headline(grid.flat[0], f"Panel {number}")
            if seen is not None:
                seen.append((drawn.get_figwidth(), drawn.get_figheight()))
        return drawn

    return draw


def room(part: Any, columns: int) -> tuple[int, range]:
    spec = part.get_subplotspec() if hasattr(part, "get_subplotspec") else part._subplotspec
    return spec.rowspan.start, range(spec.colspan.start, spec.colspan.stop)


def letter(part: Any) -> str:
    return str(next(text.get_text() for text in part.texts if text.get_fontweight() == "bold" and text.get_text()))


def test_each_takes_its_columns_in_the_first_row_with_room() -> None:
    drawn = collage([(panel(0), 2), (panel(1), 2), (panel(2), 1), (panel(3), 1)], width=9, row_height=3, columns=3)
    assert drawn.get_size_inches().tolist() == [9.0, 6.0]
    parts = drawn.subfigs
    # 0 takes two of the first row, 1 begins the second, 2 fills up the first, 3 the second.
    assert [room(part, 3) for part in parts] == [
        (0, range(2)), (0, range(2, 3)), (1, range(2)), (1, range(2, 3)),
    ]  # fmt: skip
    assert [letter(part) for part in parts] == ["A", "B", "C", "D"]
    data = [part.axes[0].lines[0].get_ydata().tolist() for part in parts]
    assert data == [[k, k + 1, k + 4] for k in (0, 2, 1, 3)]
    assert drawn.axes == [axes for part in parts for axes in part.axes]


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=7), st.integers(1, 3))
def test_no_two_stand_in_one_place_and_none_is_empty(spans: list[int], columns: int) -> None:
    drawn = collage([(panel(k), span) for k, span in enumerate(spans)], width=9, row_height=3, columns=columns)
    order = [spans[int(part.axes[0].lines[0].get_ydata()[0])] for part in drawn.subfigs]
    taken = [(row, column) for row, cells in (room(part, columns) for part in drawn.subfigs) for column in cells]
    rows = max(row for row, _ in taken) + 1
    assert taken == [(row, column) for row in range(rows) for column in range(columns)]
    wider = [len(room(part, columns)[1]) - min(span, columns) for part, span in zip(drawn.subfigs, order, strict=True)]
    assert min(wider) >= 0
    assert drawn.get_size_inches()[1] == 3 * rows
    assert [letter(part) for part in drawn.subfigs] == [chr(65 + k) for k in range(len(spans))]
    shown = sorted(part.axes[0].lines[0].get_ydata()[0] for part in drawn.subfigs)
    assert shown == list(range(len(spans)))


def test_a_part_knows_its_own_size_and_the_whole_has_the_title() -> None:
    seen: list[tuple[float, float]] = []
    drawn = collage([(panel(0, axes=2, seen=seen), 2), (panel(1, seen=seen), 1)], width=12, row_height=4, columns=3,
                    title="All <of> them & more")  # fmt: skip
    assert seen == [(8.0, 4.0), (4.0, 4.0)]
    assert [len(part.axes) for part in drawn.subfigs] == [2, 1]
    assert drawn.get_suptitle() == "All <of> them & more"
    svg = rendered(drawn, ".svg").decode()
    assert "All &lt;of&gt; them &amp; more" in svg
    assert "Panel 0" in svg
    for suffix, magic in ((".png", b"\x89PNG"), (".pdf", b"%PDF")):
        assert rendered(drawn, suffix).startswith(magic)


def test_a_figure_afterwards_is_one_of_its_own() -> None:
    def broken() -> Any:
        with figure(4, 3):
            raise LandscapeError("nothing to draw")

    with pytest.raises(LandscapeError, match="nothing to draw"):
        collage([(panel(0), 1), (broken, 1)], width=9, row_height=3, columns=2)
    alone = panel(7)()
    assert alone.get_size_inches().tolist() == [50.0, 50.0]
    np.testing.assert_array_equal(alone.axes[0].lines[0].get_ydata(), [7, 8, 11])


def test_without_matplotlib_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "available", lambda: False)
    with pytest.raises(LandscapeError, match="figures need matplotlib"):
        collage([(panel(0), 1)], width=9, row_height=3, columns=1)
