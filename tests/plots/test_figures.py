from pathlib import Path

import pytest

from landscape_cli.errors import LandscapeError, UsageError
from landscape_cli.plots import style
from landscape_cli.plots.barrier import barrier_figure


def records() -> tuple[list[dict], list[dict], list[dict]]:
    barriers = [
        {"a": f"a{e}{k}", "b": "b", "spawn_epoch": e, "error_sup": 0.5 / (1 + e) + 0.01 * k}
        for e in (0, 2.5)
        for k in (0, 1)
    ]
    points = [
        {"a": r["a"], "b": "b", "split": split, "alpha": x, "error": 0.1 + r["error_sup"] * 4 * x * (1 - x)}
        for r in barriers
        for split in ("train", "test")
        for x in (0, 0.5, 1)
    ]
    summary = [
        {
            "split": "test",
            "spawn_epoch": e,
            "pairs": 2,
            "error_sup_mean": 0.5 / (1 + e),
            "error_sup_std": s,
            "error_ends": 0.1,
        }
        for e, s in ((0, 0.02), (2.5, None))
    ]
    return points, barriers, summary


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_formats_and_the_same_figure_is_the_same_file(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib", reason="figures are an extra")
    first, second = tmp_path / f"1.{suffix}", tmp_path / f"2.{suffix}"
    for path in (first, second):
        assert style.save(barrier_figure(*records()), path)
    assert first.stat().st_size > 3000
    assert first.read_bytes() == second.read_bytes()
    assert not style.save(barrier_figure(*records()), first)  # it is there already


def test_what_is_drawn_is_what_was_given() -> None:
    pytest.importorskip("matplotlib", reason="figures are an extra")
    points, barriers, summary = records()
    left, right = barrier_figure(points, barriers, summary).axes
    assert len(left.lines) == 4
    assert list(left.lines[0].get_ydata()) == pytest.approx([10.0, 60.0, 10.0])
    assert list(right.lines[0].get_ydata()) == pytest.approx([100 * row["error_sup_mean"] for row in summary])
    assert sorted(y for _, y in right.collections[-1].get_offsets()) == pytest.approx(
        sorted(100 * r["error_sup"] for r in barriers)
    )
    assert [t.get_text() for t in right.get_xticklabels()] == ["0", "2.5"]
    assert "%" in left.get_ylabel()
    assert "%" in right.get_ylabel()


def test_unknown_formats_and_a_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="figures are an extra")
    with pytest.raises(UsageError, match=r"\.png, \.svg, \.pdf"):
        style.save(barrier_figure(*records()), tmp_path / "x.gif")
    monkeypatch.setattr(style, "available", lambda: False)
    with pytest.raises(LandscapeError, match="figures need matplotlib"):
        barrier_figure(*records())
