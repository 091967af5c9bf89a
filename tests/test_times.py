import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape_cli.errors import UsageError
from landscape_cli.times import Time, parse_time, parse_times


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("2ep", 90),
        ("0.5ep", 23),
        (".1ep", 5),
        ("1 epoch", 45),
        ("step:7", 7),
        ("step-00000390", 390),
        ("last", 900),
        ("END", 900),
    ],
)
def test_times_mean_steps(text: str, step: int) -> None:
    assert parse_time(text).step(steps_per_epoch=45, last=900) == step


@pytest.mark.parametrize("text", ["", "two", "2", "-1ep", "ep", "step:", "step:1.5", "1e3ep", "nanep"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no time"):
        parse_time(text)


@given(st.integers(0, 10**6), st.integers(1, 10**4))
def test_text_and_time_are_inverse(thousandths: int, steps_per_epoch: int) -> None:
    time = parse_time(f"{thousandths / 1000}ep")
    assert parse_time(str(time)).step(steps_per_epoch=steps_per_epoch, last=0) == time.step(
        steps_per_epoch=steps_per_epoch, last=0
    )


def test_lists_drop_repeats_and_refuse_emptiness() -> None:
    assert parse_times("1ep,0ep,1ep") == [parse_time("1ep"), parse_time("0ep")]
    with pytest.raises(UsageError, match="empty"):
        parse_times(" , ")


def test_steps_survive_as_text() -> None:
    assert str(parse_time("step:12")) == "step:12"
    assert str(Time("last")) == "last"
