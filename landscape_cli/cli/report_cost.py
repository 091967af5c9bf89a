"""What a report costs, told before it is made."""

from typing import Any

from landscape_cli.cli import sweep_options as words
from landscape_cli.cli.output import Output
from landscape_cli.cli.report_steps import Ledger
from landscape_cli.jobs.report_cast import Cast
from landscape_cli.jobs.report_step import Plan


def tell_plan(output: Output, plan: Plan, ledger: Ledger, cast: Cast, each: float | None) -> None:
    """Each step with its cost, and what is not possible."""
    waiting = ledger.waiting(plan.steps)
    for step in plan.steps:
        kept = step not in waiting
        record: dict[str, Any] = {
            "kind": "plan", "name": step.name, "title": step.title, "state": "there" if kept else "to do",
            "passes": 0 if kept else round(step.passes), "command": step.line,
        }  # fmt: skip
        if not kept and each is not None:
            record["seconds"] = _rough(step.passes * each + step.overhead)
        output.emit(record)
    for what, need in plan.missing:
        output.note(f"not possible: {what}: needs {need}")
    if plan.steps:
        output.note(f"{who(cast)}{about(plan, ledger, cast, each)}")
    output.finish()


def about(plan: Plan, ledger: Ledger, cast: Cast, each: float | None) -> str:
    """How long it takes, as roughly as that is known."""
    if each is None:
        return ""
    from landscape_cli.jobs.report_timing import seconds_of, seconds_of_pictures

    panels = sum(len(step.panels) for step in plan.steps) + bool(cast.parents) + bool(cast.linearized)
    seconds = seconds_of(ledger.waiting(plan.steps), each) + seconds_of_pictures(panels)
    number, _, unit = words.duration(seconds).partition(" ")
    return f"; about {_rough(float(number.replace(',', ''))):,g} {unit} here, with the pictures"


def _rough(seconds: float) -> float:
    """Two digits are more than an estimate has."""
    return float(f"{seconds:.2g}")


def who(cast: Cast) -> str:
    """What a report is of."""
    found = []
    if cast.runs:
        found.append(f"{len(cast.runs)} run{'s' * (len(cast.runs) > 1)}")
    if cast.foreign:
        found.append(f"{len(cast.foreign)} place{'s' * (len(cast.foreign) > 1)} of other tools' checkpoints")
    return " and ".join(found)
