"""barrier --align and --repair: what is measured is the aligned pair, and kept as such."""

from pathlib import Path

import pytest

from tests.cli.test_align import shuffled_copy
from tests.conftest import SAMPLES, Cli

QUICK = ("--threads", "1", "--no-progress", "--device", "cpu")
LINE = ("--points", 3, "--refine", 0, "--split", "test", *QUICK)
DEEP = ("--data", "digits", "--network", "mlp", "-N", "widths=32,32,32", "--epochs", 8, "--lr", 0.1)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    from landscape_cli.cli.app import run

    folder = tmp_path_factory.mktemp("strangers")
    for seed in (0, 1):
        words = ["train", *DEEP, "--seed", seed, "--checkpoints", "last", "--out", folder / f"run{seed}", "-q", *QUICK]
        assert run([str(word) for word in words]) == 0
    return folder / "run0", folder / "run1"


def test_a_shuffled_copy_has_no_barrier(cli: Cli, tmp_path: Path) -> None:
    source, copy = SAMPLES / "early-a", tmp_path / "copy.safetensors"
    shuffled_copy(source, copy)
    names = ("--network", "simple-cnn", "-N", "width=0.5", "--data", "digits")
    (plain,) = cli("barrier", source, copy, *names, *LINE).records
    (aligned,) = cli("barrier", source, copy, "--align", *names, *LINE).records
    assert plain["error_sup"] > 0.3
    assert "align" not in plain
    assert (aligned["error_sup"], aligned["error_mid"]) == (0, 0)
    assert aligned["loss_sup"] == pytest.approx(0, abs=1e-9)
    assert (aligned["b"], aligned["align"], aligned["align_distance"]) == (str(copy), "weights", 0)


@pytest.mark.parametrize("method", ["weights", "activations"])
def test_alignment_lowers_the_barrier_betweenstrangers(
    cli: Cli, strangers: tuple[Path, Path], tmp_path: Path, method: str
) -> None:
    (plain,) = cli("barrier", *strangers, *LINE).records
    (aligned,) = cli("barrier", *strangers, "--align", method, *LINE).records
    assert plain["error_mid"] > 0.3
    assert aligned["error_mid"] < 0.3 * plain["error_mid"]
    assert (aligned["error_a"], aligned["error_b"]) == (plain["error_a"], plain["error_b"])
    # The same as with the copy on disk.
    assert cli("align", *strangers, "-o", tmp_path / "x", "--method", method, *QUICK).status == 0
    (written,) = cli("barrier", strangers[0], tmp_path / "x", *LINE).records
    assert all(written[key] == aligned[key] for key in ("error_sup", "error_mid", "loss_sup", "loss_mid"))


def test_a_bare_align_means_weights_wherever_it_stands(cli: Cli, strangers: tuple[Path, Path]) -> None:
    first, second = strangers
    for words in (("--align", first, second), (first, second, "--align"), (first, "--align", "weights", second)):
        (record,) = cli("barrier", *words, *LINE).records
        assert record["align"] == "weights"


def test_found_permutations_are_kept(cli: Cli, strangers: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    before = cli("barrier", *strangers, "--align", *LINE).records

    def searched(*arguments: object, **options: object) -> None:
        raise AssertionError("the permutations are known")

    monkeypatch.setattr("landscape_cli.jobs.alignment.match_weights", searched)
    assert cli("barrier", *strangers, "--align", *LINE).records == before
    with pytest.raises(AssertionError, match="are known"):
        cli("barrier", *strangers, "--align", "--restarts", 2, *LINE)


def test_repair_lowers_what_is_left(cli: Cli, strangers: tuple[Path, Path]) -> None:
    (plain,) = cli("barrier", *strangers, *LINE).records
    (repaired,) = cli("barrier", *strangers, "--repair", "--bn-samples", 300, *LINE).records
    assert repaired["loss_mid"] < plain["loss_mid"]
    assert (repaired["repair"], repaired["loss_a"], repaired["loss_b"]) == (300, plain["loss_a"], plain["loss_b"])
    (both,) = cli("barrier", *strangers, "--align", "--repair", *LINE).records
    assert both["loss_mid"] < repaired["loss_mid"]
    assert cli("barrier", *strangers, *LINE).records == [plain]  # points of the one are not taken for the other's


def test_repair_is_refused_with_batch_norm_and_on_curves(cli: Cli, tmp_path: Path) -> None:
    words = ("--data", "digits", "--network", "mlp", "-N", "widths=8", "-N", "batch_norm=true", "--epochs", 1)
    for seed in (0, 1):
        assert cli("train", *words, "--seed", seed, "--out", tmp_path / f"{seed}", "-q", *QUICK).status == 0
    done = cli("barrier", tmp_path / "0", tmp_path / "1", "--repair", *LINE)
    assert (done.status, "for networks without batch norm" in done.err) == (1, True)
    curve = cli("barrier", "--along", tmp_path / "0", "--align")
    assert (curve.status, "as they are" in curve.err) == (2, True)
