"""The page of commands and their options, from the command-line application itself."""

from typing import Any

import typer

# The order in which a person meets them, and what they have in common.
GROUPS = (
    ("Making runs", ("train", "spawn", "sweep", "status", "import")),
    ("Weight space", ("barrier", "align", "compare", "plane", "curve", "weight-dist", "relu-dist", "function-dist")),
    ("Tangent space", ("kernel-dist", "kernel-velocity", "gradient-dist", "linearize")),
    ("Curvature", ("hessian", "escape")),
    ("Prediction space", ("predict", "distances", "progress", "inpca", "tsne", "trajectories", "cluster", "centroid")),
    ("Everyday", ("info", "plot", "report", "demo")),
)
HEAD = """# Commands

Every command with all of its options, from the program itself. `landscape COMMAND --help` says the same.

Data goes to stdout: a table on a terminal, one JSON object a line when piped ([the records](records.md)). Everything
else goes to stderr. Exit status: 0 done, 1 a stated error, 2 usage, 3 some items of a batch failed, 130 interrupted
(the same command goes on), 141 whoever read the pipe left.
"""


def page() -> str:
    """The page as Markdown."""
    from landscape_cli.cli.app import COMMANDS, app

    modules = {module.NAME: module for module in COMMANDS}
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    listed = [name for _, names in GROUPS for name in names]
    groups = [*GROUPS, ("More", tuple(name for name in commands if name not in listed))]
    parts = [HEAD, _contents(groups, commands)]
    for title, names in groups:
        there = [name for name in names if name in commands]
        if there:
            parts.append(f"## {title}\n")
            parts.extend(_command(name, commands[name], modules[name]) for name in there)
    return "\n".join(parts)


def _contents(groups: list[tuple[str, tuple[str, ...]]], commands: dict[str, Any]) -> str:
    rows = [
        f"| {title} | {' '.join(f'[`{name}`](#{name})' for name in names if name in commands)} |"
        for title, names in groups
        if any(name in commands for name in names)
    ]
    return "\n".join(["| | |", "|---|---|", *rows, ""])


def _command(name: str, command: Any, module: Any) -> str:
    """One command: what it does, how it is typed, its options by panel, its examples."""
    context = command.make_context(name, [], resilient_parsing=True)
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join(["landscape", name, "[OPTIONS]", *(_word(a) for a in arguments)])
    lines = [f"### {name}\n", *(f"{' '.join(part.split())}\n" for part in module.HELP.split("\n\n"))]
    lines += ["```text", usage, "```\n"]
    panels: dict[str, list[Any]] = {}
    for parameter in command.params:
        if not getattr(parameter, "hidden", False) and parameter.name != "help":
            title = "Arguments" if parameter in arguments else parameter.rich_help_panel or "Options"
            panels.setdefault(title, []).append(parameter)
    for title, parameters in sorted(panels.items(), key=lambda panel: _rank(panel[0])):
        lines += [f"| {title} | value | default | |", "|---|---|---|---|"]
        lines += [_row(parameter, context, title == "Arguments") for parameter in parameters]
        lines.append("")
    lines += ["```sh", *module.EXAMPLES, "```\n"]
    return "\n".join(lines)


def _rank(panel: str) -> int:
    """Arguments first, then options of the command's own, then those that many share."""
    return {"Arguments": 0, "Options": 1, "Network and data": 3, "Common options": 4}.get(panel, 2)


def _word(argument: Any) -> str:
    text = argument.metavar or argument.name.upper()
    return text if argument.required else f"[{text.strip('[]')}]"


def _row(parameter: Any, context: Any, is_argument: bool) -> str:
    if is_argument:
        name = f"`{_word(parameter)}`"
    else:
        name = ", ".join(f"`{flag}`" for flag in (*parameter.opts, *parameter.secondary_opts))
    said = [_cell(parameter.help or "")]
    if getattr(parameter, "multiple", False) and "repeatable" not in said[0]:
        said.append("Repeatable.")
    if parameter.required and not is_argument:
        said.insert(0, "**Required.**")
    if parameter.envvar and getattr(parameter, "show_envvar", True):
        said.append(f"`${parameter.envvar}`.")
    return f"| {name} | {_type(parameter, context)} | {_default(parameter)} | {' '.join(said)} |"


def _type(parameter: Any, context: Any) -> str:
    if getattr(parameter, "is_flag", False):
        return ""
    written = parameter.display_type(context).strip("<>").replace("list[str]", "str").removesuffix(" range")
    if parameter.metavar and parameter.param_type_name == "option":
        written = parameter.metavar
    bounds = [f"≥ {parameter.min:g}"] if parameter.min is not None else []
    bounds += [f"≤ {parameter.max:g}"] if parameter.max is not None else []
    return ", ".join([" ".join(f"`{choice}`" for choice in written.split("|")), *bounds])


def _default(parameter: Any) -> str:
    value = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
    if value is None or value is False or value == [] or value is ... or parameter.required:
        return ""
    if getattr(parameter, "is_flag", False):
        return "on"
    return f"`{value.value if hasattr(value, 'value') else value}`"


def _cell(text: str) -> str:
    """Text that a table's cell can hold."""
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")
