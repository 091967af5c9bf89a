"""``landscape demo``: the main finding on embedded data."""

from landscape_cli.errors import LandscapeError

NAME = "demo"
HELP = """Placeholder."""
EXAMPLES: tuple[str, ...] = ()


def command() -> None:
    """Placeholder."""
    raise LandscapeError("soon")
