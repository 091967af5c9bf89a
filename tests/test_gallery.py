"""The gallery's captions: their numbers are those of the results that the pictures were drawn from."""

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from examples.gallery import __main__ as command
from examples.gallery import numbers, rendering

FACTS = rendering.facts()


def test_the_page_is_in_step() -> None:
    assert rendering.GALLERY.read_text(encoding="utf-8") == rendering.page(), "'make reference' writes it again"


def test_other_pages_say_what_the_results_say() -> None:
    assert rendering.missing_elsewhere() == []


def test_every_script_has_its_numbers_and_pictures_from_one_run() -> None:
    assert set(FACTS) == set(numbers.FIGURES)
    shown = rendering.shown()
    for script, found in FACTS.items():
        assert [*found["pictures"]] == shown[script]
        for picture, print_ in found["pictures"].items():
            assert rendering.print_of(picture) == print_, f"{picture} is of another run than the numbers of {script}"
    assert sorted(p for found in FACTS.values() for p in found["pictures"]) == sorted(
        path.name for path in rendering.PICTURES.glob("*.png")
    )


def test_a_caption_has_no_number_typed_by_hand() -> None:
    """Beside the numbers in braces: times and counts that a script sets itself stand in the script's words."""
    text = rendering.CAPTIONS.read_text(encoding="utf-8").partition("## Fort")[2].partition("## What each took")[0]
    text = re.sub(r"!\[.*|^#.*|`[^`]*`|\(\S+\.md\)", "", rendering.PLACE.sub("", text), flags=re.MULTILINE)
    assert not re.findall(r"\d+\.\d+", re.sub(r"[A-Z]\.\d+", "", text))  # S.2 is a figure


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.4619, "points", "46"),
        (0.0329, "points", "3.3"),
        (0.0994, "points", "9.9"),
        (0.0996, "points", "10"),
        (-0.002, "points", "-0.2"),
        (0.953, "percent", "95 %"),
        (274.3, "factor", "274"),
        (2.71, "factor", "2.7"),
        (4.0, "plain", "4"),
        (0.5, "plain", "0.5"),
        (1.0383, "plain", "1.04"),
        (0.3, "three", "0.300"),
        (2.1e-5, "power", "2·10⁻⁵"),
        (12345, "count", "12,345"),
        (0.09694, "number", "0.097"),
        ("wrn-10-1", "text", "wrn-10-1"),
    ],
)
def test_units_and_rounding(value: Any, unit: str, said: str) -> None:
    assert rendering.fill(f"{{a-script:x_0.5|{unit}}}.", {"a-script": {"numbers": {"x_0.5": value}}}) == f"{said}."


def test_a_number_that_is_not_there_is_no_sentence() -> None:
    with pytest.raises(KeyError):
        rendering.fill("{a:b|points}", {"a": {"numbers": {}}})
    with pytest.raises(KeyError):
        rendering.fill("{a:b|miles}", {"a": {"numbers": {"b": 1}}})


def lines(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_barriers_are_means_over_the_pairs_of_a_time(tmp_path: Path) -> None:
    walls = [(0, 0.3), (0, 0.5), (4, 0.01), (4, 0.03)]
    lines(tmp_path / "fort/parent/metrics.jsonl", [{"test_error": 0.9}, {"test_error": 0.02}])
    lines(tmp_path / "barriers.jsonl", [{"spawn_epoch": e, "error_sup": w} for e, w in walls])
    measures = ("weight_distance", "relu_distance", "kernel_distance", "gradient_distance")
    lines(tmp_path / "compared.jsonl", [{"spawn_epoch": e, **dict.fromkeys(measures, 9 - e)} for e in (0, 4)])
    found, claims = numbers.fort2020_fig2(tmp_path)
    assert found["wall_0"] == pytest.approx(0.4)
    assert found["wall_4"] == pytest.approx(0.02)
    assert found["parent_error"] == 0.02
    assert all(claims.values())
    lines(tmp_path / "compared.jsonl", [{"spawn_epoch": e, **dict.fromkeys(measures, e)} for e in (0, 4)])
    assert not all(numbers.fort2020_fig2(tmp_path)[1].values())


def test_the_kernel_is_slow_from_the_last_time_that_it_was_fast(tmp_path: Path) -> None:
    rows = [(0, 0.4, 0.5), (1, 1.0, 0.01), (2, 0.3, None), (3, 0.6, 0.0), (4, 0.4, 0.0), (5, 0.1, None)]
    lines(tmp_path / "velocity.jsonl", [{"epoch": e, "velocity": v, "error_barrier": b} for e, v, b in rows])
    found, claims = numbers.fort2020_fig7(tmp_path)
    assert (found["slow_from"], found["flat_from"], found["fastest"]) == (4, 1, 1.0)
    assert all(claims.values())


def test_one_cluster_is_a_node_of_the_tree(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["rows/network"] = np.asarray([b"mlp", b"mlp", b"cnn", b"cnn", b"cnn"])
        # (0 1) = 5; (2 3) = 6; (5 6) = 7; (7 4) = 8: the cnns are never alone together.
        file["linkage"] = np.asarray([[0, 1, 0.1, 2], [2, 3, 0.2, 2], [5, 6, 0.3, 4], [4, 7, 0.4, 5]])
    assert numbers._one_cluster(tmp_path / "c.h5", "mlp")
    assert not numbers._one_cluster(tmp_path / "c.h5", "cnn")


def test_a_caption_that_is_not_seen_any_more_stops_the_gallery(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rendering, "PICTURES", tmp_path)
    monkeypatch.setitem(numbers.FIGURES, "learning_rates", lambda _: ({"x": 1.0}, {"the small rate is best": False}))
    with pytest.raises(SystemExit, match=r"learning_rates: this is not seen any more.*the small rate is best"):
        command.take(tmp_path, ["learning_rates"])
    assert not list(tmp_path.iterdir())


def test_a_reduced_picture_looks_the_same(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    ramp = np.zeros((64, 256, 3), np.uint8)
    ramp[..., 0], ramp[..., 2] = np.arange(256), np.arange(256)[::-1]
    ramp[32:] = 255
    image.fromarray(ramp).save(tmp_path / "a.png", dpi=(200, 200))
    command.reduce(tmp_path / "a.png", tmp_path / "b.png")
    with image.open(tmp_path / "b.png") as reduced:
        assert (reduced.mode, reduced.size) == ("P", (256, 64))
        off = np.abs(np.asarray(reduced.convert("RGB")).astype(int) - ramp)
    assert off.max() <= 4


def test_times_are_taken_from_nothing(tmp_path: Path) -> None:
    (tmp_path / "run.json").touch()
    with pytest.raises(SystemExit, match="is not empty"):
        command.run(tmp_path)


@pytest.fixture
def one_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A gallery of one script, in a folder of its own; returns the script."""
    (tmp_path / "pictures").mkdir()
    monkeypatch.setattr(command, "STUDIES", ())
    monkeypatch.setattr(command, "FIGURES", {"one": lambda folder: ({"x": len((folder / "x").read_text())}, {})})
    for name, path in (("EXAMPLES", tmp_path), ("PICTURES", tmp_path / "pictures"), ("TOOK", tmp_path / "took.json")):
        monkeypatch.setattr(rendering, name, path)
    monkeypatch.setattr(rendering, "shown", dict)
    script = tmp_path / "one.sh"
    script.write_text('mkdir -p "$1" && printf abc > "$1/x"\n', encoding="utf-8")
    return script


def test_a_run_leaves_numbers_and_times(one_script: Path) -> None:
    command.run(one_script.parent / "fresh")
    assert rendering.facts()["one"]["numbers"] == {"x": 3}
    measured = json.loads(rendering.TOOK.read_text(encoding="utf-8"))
    assert list(measured["seconds"]) == ["one"]
    rendering.TOOK.write_text(json.dumps({**measured, "seconds": {"one": 59.6, "two": 125.2}}), encoding="utf-8")
    assert rendering.took().splitlines()[-2:] == ["| one | 1 min 0 s |", "| two | 2 min 5 s |"]


def test_a_script_that_fails_is_named_with_its_words(one_script: Path) -> None:
    one_script.write_text("echo no such data >&2; exit 3\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"one.sh failed:\nno such data"):
        command.run(one_script.parent / "fresh")
    assert not rendering.TOOK.exists()
    assert rendering.facts() == {}
