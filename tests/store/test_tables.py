import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape_cli.errors import DataError, UsageError
from landscape_cli.store.tables import Table, as_column, read_table

ROWS = [
    {"opt": "sgd", "seed": 42, "lr": 0.1},
    {"opt": "adam", "seed": 43, "lr": None},
    {"opt": "", "seed": 45, "lr": 0.5},
]
TABLE = Table.from_rows(ROWS)


def chosen(expression: str, table: Table = TABLE) -> list[bool]:
    return table.where(expression).tolist()


numbers = st.recursive(
    st.sampled_from(["seed", "lr"]) | st.integers(-9, 9).map(str) | st.floats(-3, 3, width=16).map(repr),
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | inner.map(lambda t: f"-({t})")
        | st.tuples(inner, st.sampled_from(["2", "-3", "0.5"])).map(lambda t: f"{t[0]} / {t[1]}")
    ),
    max_leaves=4,
)
words = st.sampled_from(["opt", "name", "'sgd'", "'adam'", '"it\'s"', "''"])
order = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
conditions = st.recursive(
    st.tuples(numbers, order, numbers).map(" ".join)
    | st.tuples(numbers, order, numbers, order, numbers).map(" ".join)
    | st.tuples(words, order, words).map(" ".join)
    | st.tuples(words, st.sampled_from(["in", "not in"]), st.lists(words, max_size=3).map(", ".join)).map(
        lambda t: f"{t[0]} {t[1]} [{t[2]}]"
    )
    | st.tuples(words, st.sampled_from(["in", "not in"]), words).map(" ".join)
    | st.tuples(numbers, st.lists(numbers, min_size=1, max_size=3).map(", ".join)).map(lambda t: f"{t[0]} in ({t[1]},)")
    | st.sampled_from(["True", "False", "opt", "seed", "not lr"]),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})")
        | inner.map(lambda t: f"not ({t})")
    ),
    max_leaves=4,
)
plain_rows = st.lists(
    st.fixed_dictionaries(
        {
            "opt": st.sampled_from(["sgd", "adam", "it's", "sg"]),
            "name": st.sampled_from(["sgd", "", "a"]),
            "seed": st.integers(-9, 9),
            "lr": st.sampled_from([0.0, 0.5, -1.25, 3.0]),
        }
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(plain_rows, conditions)
def test_conditions_mean_what_python_means(rows: list[dict[str, Any]], expression: str) -> None:
    expected = [bool(eval(expression, {"__builtins__": {}}, row)) for row in rows]
    assert chosen(expression, Table.from_rows(rows)) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("opt == 'sgd' and seed < 45", [1, 0, 0]),
        ("42 < seed <= 45", [0, 1, 1]),
        ("lr == None", [0, 1, 0]),
        ("lr != None", [1, 0, 1]),
        ("opt == None", [0, 0, 1]),
        ("lr < 9", [1, 0, 1]),  # what is missing is neither smaller nor larger
        ("lr >= 0.5 or lr < 0.5", [1, 0, 1]),
        ("lr", [1, 0, 1]),
        ("not opt", [0, 0, 1]),
        ("seed / 0 > 1", [1, 1, 1]),
        ("seed > 99999999999999999999999", [0, 0, 0]),
        ("`opt` in {'sgd', 'adam'}", [1, 1, 0]),
        ("  seed==42  ", [1, 0, 0]),
        ("None", [0, 0, 0]),
    ],
)
def test_conditions_with_what_is_missing(expression: str, expected: list[int]) -> None:
    assert chosen(expression) == [bool(e) for e in expected]


def test_names_that_are_no_python_names_stand_in_backquotes() -> None:
    table = Table.from_rows([{"train loss": 1.0, "a/b": "x`y"}, {"train loss": 2.0, "a/b": ""}])
    assert chosen("`train loss` > 1.5", table) == [False, True]
    assert chosen("`a/b` == 'x`y'", table) == [True, False]
    with pytest.raises(UsageError, match="'`train loss`' is a number and ''x'' is text"):
        table.where("`train loss` == 'x'")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("__import__('os').system('true')", "cannot hold"),
        ("opt.upper() == 'SGD'", "cannot hold"),
        ("opt[0] == 's'", "cannot hold"),
        ("(lambda: 1)()", "cannot hold"),
        ("[s for s in opt]", "cannot hold"),
        ("1 if seed else 0", "cannot hold"),
        ("(x := 3) > 1", "cannot hold"),
        ("f'{seed}' == '1'", "cannot hold"),
        ("seed ** 2 > 4", "cannot hold"),
        ("seed % 2 == 0", "cannot hold"),
        ("seed == 1j", "cannot hold"),
        ("seed == b'1'", "cannot hold"),
        ("['sgd']", "cannot hold"),
        ("seed = 42", "is no condition"),
        ("seed ==", "is no condition"),
        ("", "is no condition"),
        ("seed; seed", "is no condition"),
        ("(" * 5000 + "seed" + ")" * 5000, "condition"),
        ("not " * 5000 + "seed", "condition"),
        ("opt == 3", "'opt' is text and '3' is a number"),
        ("seed in ['sgd']", "'seed' is a number"),
        ("opt < 3", "is text"),
        ("opt + 'x' == 'sgdx'", "'opt' is text: one cannot calculate"),
        ("-None > 1", "is missing: one cannot calculate"),
        ("seed is None", "write == or !="),
        ("lr < None", "neither smaller nor larger"),
        ("seed in 42", "is no list"),
        ("sed == 42", "there is no column 'sed'"),
        ("true", "there is no column 'true'"),
    ],
)
def test_what_is_no_condition_is_named_and_never_run(expression: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        TABLE.where(expression)
    assert message in f"{caught.value.message} {caught.value.hint}"
    if "sed" in expression:
        assert caught.value.hint == "did you mean 'seed'?"


cells = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b/c", "..", "d%e"]), cells), max_size=5))
def test_tables_come_back_from_disk(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    table = Table.from_rows(rows)
    path = tmp_path_factory.mktemp("tables") / "t.h5"
    with h5py.File(path, "w") as file:
        table.write(file.create_group("t"))
    with h5py.File(path) as file:
        assert Table.read(file["t"]).equals(table)


def test_a_text_that_hdf5_cannot_hold_is_cut(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        Table.from_rows([{"a": "x\0y"}]).write(file.create_group("t"))
        assert Table.read(file["t"]).rows() == [{"a": "xy"}]


def test_rows_become_columns_and_rows_again() -> None:
    assert TABLE.columns["seed"].dtype == np.int64
    assert TABLE.columns["lr"].dtype == np.float64
    assert math.isnan(TABLE.columns["lr"][1])
    assert TABLE.rows() == [ROWS[0], {"opt": "adam", "seed": 43}, {"seed": 45, "lr": 0.5}]
    nested = Table.from_rows([{"options": {"width": 0.5}, "on": True}, {"options": [1], "on": False}])
    assert nested.rows() == [{"options": '{"width": 0.5}', "on": 1}, {"options": "[1]", "on": 0}]
    assert len(Table.from_rows([])) == 0


def test_large_whole_numbers_are_never_rounded() -> None:
    seed = 2**60 + 1
    assert as_column([seed]).tolist() == [seed]
    assert as_column([seed, None]).tolist() == [str(seed), ""]
    assert as_column([2**64]).tolist() == [str(2**64)]
    stacked = Table.stacked([Table.from_rows([{"seed": seed}]), Table.from_rows([{"other": 1}])])
    assert stacked.columns["seed"].tolist() == [str(seed), ""]


def test_tables_below_and_beside_each_other() -> None:
    one, two = Table.from_rows([{"a": 1, "b": "x"}]), Table.from_rows([{"a": 2, "c": 0.5}, {"a": 3, "c": 1.5}])
    stacked = Table.stacked([one, two])
    assert stacked.columns["a"].dtype == np.int64
    assert stacked.rows() == [{"a": 1, "b": "x"}, {"a": 2, "c": 0.5}, {"a": 3, "c": 1.5}]
    assert Table.stacked([one, Table.from_rows([{"a": "t"}])]).columns["a"].tolist() == ["1", "t"]
    assert Table.stacked([one]).equals(one)
    assert one.joined(Table.from_rows([{"d": 4}])).rows() == [{"a": 1, "b": "x", "d": 4}]
    with pytest.raises(DataError, match="'a' is in both"):
        one.joined(one)
    with pytest.raises(DataError, match="different lengths"):
        one.joined(Table.from_rows([{"d": 4}, {"d": 5}]))
    assert TABLE.take(np.array([2, 0])).columns["seed"].tolist() == [45, 42]


def test_groups_come_in_order_of_first_appearance() -> None:
    rows = [{"o": "b", "s": 1}, {"o": "a", "s": None}, {"o": "b", "s": 1}, {"o": "a", "s": None}, {"o": "b", "s": 2}]
    groups = Table.from_rows(rows).group(["o", "s"])
    assert [(values, index.tolist()) for values, index in groups] == [
        ({"o": "b", "s": 1.0}, [0, 2]),
        ({"o": "a", "s": None}, [1, 3]),
        ({"o": "b", "s": 2.0}, [4]),
    ]
    assert [index.tolist() for _, index in Table.from_rows(rows).group([])] == [[0, 1, 2, 3, 4]]
    with pytest.raises(UsageError, match="no column 'x'"):
        Table.from_rows(rows).group(["x"])


def test_csv_and_json_lines_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('\ufeffname,lr,seed,id,note\na,0.1,42,007,"x, y"\n\nb,,43,010,\n', encoding="utf-8")
    (tmp_path / "t.jsonl").write_text(
        '{"name": "a", "lr": 0.1, "seed": 42, "id": "007", "note": "x, y"}\n\n{"name": "b", "seed": 43, "id": "010"}\n'
    )
    (tmp_path / "t.tsv").write_text("name\tlr\tseed\tid\tnote\na\t1e-1\t42\t007\tx, y\nb\t\t43\t010\t\n")
    table = read_table(tmp_path / "t.csv")
    assert table.equals(read_table(tmp_path / "t.jsonl"))
    assert table.equals(read_table(tmp_path / "t.tsv"))
    assert {name: column.dtype.kind for name, column in table.columns.items()} == {
        "name": "O", "lr": "f", "seed": "i", "id": "O", "note": "O",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "a,b\n1,2\n3\n", "line 3 has 1 cells, the first line 2"),
        ("t.csv", "a,b\n1,2,3\n", "line 2 has 3 cells"),
        ("t.csv", "a,a\n1,2\n", "line 1 has two columns of one name"),
        ("t.csv", "a,\n1,2\n", "line 1 has a column without a name"),
        ("t.csv", 'a,b\n1,"2\n', "line 2: unexpected end of data"),
        ("t.csv", " \n", "is empty"),
        ("t.jsonl", '{"a": 1}\n{"a": \n', "line 2 is no JSON"),
        ("t.jsonl", '{"a": 1}\n[1]\n', "line 2 is no JSON object"),
        ("t.jsonl", b"\xff\xfe\x00", "no UTF-8 text"),
        ("nothing.csv", None, "does not exist"),
    ],
)
def test_damaged_tables_name_the_line(tmp_path: Path, name: str, text: str | bytes | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / name)
    assert name in caught.value.message


def test_a_damaged_group_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        TABLE.write(file.create_group("models"))
        del file["models/lr"]
        with pytest.raises(DataError, match="the table /models is damaged"):
            Table.read(file["models"])
