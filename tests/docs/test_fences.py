"""The machinery that holds pages to the commands must itself notice what is wrong."""

import pytest

from tests.fences import check_call, fences, landscape_calls, links, typed, words


def test_blocks_are_found_with_their_language_and_line() -> None:
    found = fences("# A\n\n```sh\nls\n```\n\n  ```toml\n  a = 1\n  ```\n```\nplain\n```\n")
    assert [(f.language, f.line) for f in found] == [("sh", 3), ("toml", 7), ("", 10)]
    assert found[0].text == "ls\n"


def test_a_console_is_commands_and_what_they_show() -> None:
    assert list(typed("$ a\n$ b <<'END'\n> c\n> END\nshown\n\n$ d\n")) == [
        ("a", []),
        ("b <<'END'\nc\nEND", ["shown", ""]),
        ("d", []),
    ]


def test_numbers_of_a_table_are_not_held_against_it() -> None:
    assert words(" runs/a   finished   0.123   1.2e-04   epoch ") == ["runs/a", "finished", "epoch"]


def test_calls_are_found_in_scripts() -> None:
    script = (
        'for seed in 0 1; do\n  landscape train --out runs/$seed --shard "$((I + 1))/8" \\\n    --lr 0.1\ndone\n'
        "X=1 srun landscape info 'a b' | landscape plot - -o x.png > log 2>&1  # landscape nonsense\ncat landscape.txt\n"
    )
    assert list(landscape_calls(script)) == [
        ["train", "--out", "runs/1", "--shard", "1/8", "--lr", "0.1"],
        ["info", "a b"],
        ["plot", "-", "-o", "x.png", "2"],
    ]


@pytest.mark.parametrize("call", [["barrier", "a", "b", "--points", "5"], ["--help"], ["info", "x"]])
def test_true_calls_pass(call: list[str]) -> None:
    check_call(call)


@pytest.mark.parametrize(
    "call",
    [[], ["barier"], ["barrier", "a", "b", "--point", "5"], ["barrier", "a", "b", "--points", "many"], ["--nothing"]],
)
def test_false_calls_do_not(call: list[str]) -> None:
    with pytest.raises(AssertionError):
        check_call(call)


def test_links_are_those_of_the_prose() -> None:
    text = (
        "[a](b.md#c) ![p](images/p.png) [w](https://x.org) `[no](no.md)`\n\n```sh\n[no](no.md)\n```\n[here](#there)\n"
    )
    assert links(text) == [("b.md", "c"), ("images/p.png", ""), ("", "there")]
