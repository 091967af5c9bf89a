"""Measured points, kept so that an interrupted or repeated measurement goes on where it was.

The cache lies in ``$LANDSCAPE_CACHE``, or ``$XDG_CACHE_HOME/landscape``, or ``~/.cache/landscape``. It may be deleted
at any time: nothing but time is lost.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from landscape_cli.errors import StorageError
from landscape_cli.store.atomic import write_text


def cache_folder() -> Path:
    """Where measured points are kept."""
    if own := os.environ.get("LANDSCAPE_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "landscape"


class PointCache:
    """The points of one measurement: JSON lines, the first of which says what was measured.

    Args:
        kind: What is measured (a folder of the cache).
        identity: Everything the points depend on; another identity is another file.
        fresh: Forget what is there.
    """

    def __init__(self, kind: str, identity: dict[str, Any], *, fresh: bool = False) -> None:
        text = json.dumps(identity, sort_keys=True)
        self.identity = json.loads(text)  # as it is read back: a tuple would never equal its list
        self.path = cache_folder() / kind / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.jsonl"
        self.writable = True
        self._begun = False
        if fresh:
            self.path.unlink(missing_ok=True)

    def read(self) -> list[dict[str, Any]]:
        """The points that are kept; a damaged line is left out."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        points = []
        for number, line in enumerate(lines):
            try:
                document = json.loads(line)
            except json.JSONDecodeError:
                continue
            if number == 0 and document != self.identity:
                return []
            if number:
                points.append(document)
        return points

    def add(self, point: dict[str, Any]) -> None:
        """Keep one more point; a cache that cannot be written is done without."""
        if not self.writable:
            return
        try:
            if not self._begun:
                self._begin()
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(point, sort_keys=True) + "\n")
        except (OSError, StorageError):
            self.writable = False

    def _begin(self) -> None:
        """Make the file what :meth:`read` took it for: points of this identity, in whole lines."""
        kept = self.read()
        lines = [self.identity, *kept]
        write_text(self.path, "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))
        self._begun = True
