"""What a report consists of: commands that make results, in order, and what cannot be had. Knows no torch."""

from dataclasses import replace
from pathlib import Path

from landscape_cli.jobs.report_cast import Cast
from landscape_cli.jobs.report_predictions import plan_predictions
from landscape_cli.jobs.report_step import Plan, Settings, Step
from landscape_cli.jobs.report_weights import plan_weights


def plan_report(cast: Cast, folder: Path, settings: Settings) -> Plan:
    """What can be measured on these runs, and what cannot and why.

    Args:
        cast: The runs.
        folder: Of the report.
        settings: What a person chose; a step that reads one that is left out is left out too.
    """
    parts = (plan_weights(cast, folder, settings), plan_predictions(cast, folder, settings))
    sources = settings.sources()
    usable: list[Step] = []
    for step in (step for part in parts for step in part.steps):
        if step.name not in settings.without and set(step.after) <= {earlier.name for earlier in usable}:
            usable.append(replace(step, inputs=[step.inputs, sources]) if step.inputs is not None else step)
    return Plan(tuple(usable), tuple(lacking for part in parts for lacking in part.missing))
