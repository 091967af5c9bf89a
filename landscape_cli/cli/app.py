"""Registration of the commands, and the boundary at which errors become one line and an exit status."""

import difflib
import os
import re
import sys
from typing import Annotated

import typer

from landscape_cli.cli import (
    align,
    barrier,
    centroid,
    cluster,
    compare,
    curve,
    demo,
    distances,
    escape,
    function_dist,
    gradient_dist,
    hessian,
    import_,
    info,
    inpca,
    kernel_dist,
    kernel_velocity,
    linearize,
    plane,
    plot,
    predict,
    progress,
    relu_dist,
    report,
    spawn,
    status,
    sweep,
    train,
    trajectories,
    tsne,
    weight_dist,
)
from landscape_cli.cli.output import open_streams, print_error, print_text, print_usage_error, silence_stdout
from landscape_cli.errors import ClosedPipeError, InterruptedRunError, LandscapeError

app = typer.Typer(
    name="landscape",
    help="Loss landscapes, tangent kernels and training trajectories, measured over checkpoint directories.",
    epilog="Data goes to stdout (a table on a terminal, JSON lines when piped), all else to stderr. "
    "Exit status: 0 done, 1 a stated error, 2 usage, 3 some items of a batch failed, 130 interrupted (resumable).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def _paragraphs(text: str) -> str:
    """Lines of a paragraph joined: the terminal decides where they break."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _examples(commands: tuple[str, ...]) -> str:
    return "Examples:\n\n" + "\n\n".join(f"  {command}" for command in commands)


_CHOICE = re.compile(r"'(?P<given>[^']*)' is not one of (?P<known>.+)")

COMMANDS = (
    train,
    spawn,
    sweep,
    status,
    barrier,
    align,
    compare,
    plane,
    curve,
    weight_dist,
    relu_dist,
    function_dist,
    kernel_dist,
    kernel_velocity,
    gradient_dist,
    linearize,
    hessian,
    escape,
    predict,
    distances,
    inpca,
    tsne,
    progress,
    trajectories,
    cluster,
    centroid,
    plot,
    report,
    import_,
    info,
    demo,
)

for module in COMMANDS:
    app.command(
        name=module.NAME,
        cls=getattr(module, "CLASS", None),
        help=_paragraphs(module.HELP),
        epilog=_examples(module.EXAMPLES),
    )(module.command)


def _version(value: bool) -> None:
    if value:
        import landscape_cli

        print_text(f"landscape {landscape_cli.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before any command."""


def _meant(error: typer.TyperException, context: typer.Context | None) -> tuple[str, str | None]:
    """What is off in the words of a command, and the option or choice that is nearest to what was typed."""
    message = error.format_message()
    option = getattr(error, "option_name", None)
    if message.startswith("No such option") and option is not None and context is not None:
        known = [name for parameter in context.command.params for name in (*parameter.opts, *parameter.secondary_opts)]
        near = difflib.get_close_matches(option, [name for name in known if name.startswith("--")], n=1)
        return f"No such option: {option}", f"did you mean '{near[0]}'?" if near else None
    if (choice := _CHOICE.search(message)) is not None:
        near = difflib.get_close_matches(choice["given"], re.findall(r"'([^']+)'", choice["known"]), n=1)
        return message, f"did you mean '{near[0]}'?" if near else None
    return message, None


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status instead of leaving.

    A stated error prints one line and a hint; ``LANDSCAPE_DEBUG=1`` shows its traceback too. A bug shows one always.
    """
    open_streams()
    try:
        status = app(args=arguments, standalone_mode=False)
        sys.stdout.flush()
    except (ClosedPipeError, BrokenPipeError):
        silence_stdout()
        return ClosedPipeError.exit_code
    except LandscapeError as error:
        if os.environ.get("LANDSCAPE_DEBUG"):
            raise
        print_error(error)
        return error.exit_code
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
            print_text(context.get_help())
            return 2
        message, meant = _meant(error, context)
        print_usage_error(message, context.command_path if context is not None else "landscape", meant)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print_error(InterruptedRunError("interrupted", "the same command continues where it can"))
        return InterruptedRunError.exit_code
    except SystemExit as leaving:  # completion leaves this way, and the library when the reader of its help left
        if isinstance(leaving.__context__, BrokenPipeError):
            silence_stdout()
            return ClosedPipeError.exit_code
        status = leaving.code
    return status if isinstance(status, int) else 0
