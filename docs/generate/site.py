"""What the site needs beyond the pages of ``docs/``: the repository's other pages, and the files that pages link to.

A page links to what lies beside it in the repository (``../CONTRIBUTING.md``, ``../examples/sweeps/digits.toml``), so
that it reads well as plain Markdown. In the site such pages and files stand under ``repository/``, and links are turned
towards them here. A link to a file that is not there stays as it is, and the strict build refuses it.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", "examples/README.md")
LINK = re.compile(r"(?<=\]\()(?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?(?=\))")
TYPED = re.compile(r"^\$ cat > (?P<file>\S+\.(?P<language>\w+)) <<'END'\n(?P<body>(?:>.*\n)*?)> END\n", re.MULTILINE)
EMPTY = re.compile(r"^```console\n```\n\n?", re.MULTILINE)
FENCED = re.compile(r"(^ *```.*?^ *```\s*?$)", re.MULTILINE | re.DOTALL)


def in_site(path: str) -> str:
    """Where a file of the repository stands in the site's sources.

    >>> in_site("docs/weights.md"), in_site("benchmarks/README.md")
    ('weights.md', 'repository/benchmarks/README.md')
    """
    return path.removeprefix("docs/") if path.startswith("docs/") else f"repository/{path}"


def in_repository(uri: str) -> str:
    """Where a source of the site lies in the repository."""
    return uri.removeprefix("repository/") if uri.startswith("repository/") else f"docs/{uri}"


def targets(text: str, page: str) -> list[str]:
    """The files of the repository that a page links to, from the repository's root; a folder stands for its README."""
    return [resolved(match["target"], page) for part in FENCED.split(text)[::2] for match in LINK.finditer(part)]


def resolved(target: str, page: str) -> str:
    """The file that a link on a page of the repository means."""
    path = os.path.normpath(Path(page).parent / target)
    return f"{path}/README.md" if (ROOT / path).is_dir() else path


def turned(text: str, page: str) -> str:
    """The text of a page with links as the site needs them."""

    def turn(match: re.Match[str]) -> str:
        target = resolved(match["target"], page)
        if target.startswith("..") or not (ROOT / target).exists():
            return match[0]
        return os.path.relpath(in_site(target), Path(in_site(page)).parent) + (match["anchor"] or "")

    parts = FENCED.split(text)
    parts[::2] = [LINK.sub(turn, part) for part in parts[::2]]
    return "".join(parts)


def filed(text: str) -> str:
    r"""The text of a page with files that are typed in a terminal as blocks of their own, to be copied as they are.

    >>> print(filed("```console\n$ cat > a.py <<'END'\n> x = 1\n>\n> END\n$ ls\n```\n"))
    ```py title="a.py"
    x = 1
    <BLANKLINE>
    ```
    <BLANKLINE>
    ```console
    $ ls
    ```
    <BLANKLINE>
    """

    def block(match: re.Match[str]) -> str:
        body = "".join(line[2:] or "\n" for line in match["body"].splitlines(keepends=True))
        return f'```\n\n```{match["language"]} title="{match["file"]}"\n{body}```\n\n```console\n'

    return EMPTY.sub("", TYPED.sub(block, text))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take in the repository's pages, and what any page links to outside of ``docs/``."""
    pages = [page for page in PAGES if (ROOT / page).is_file()]
    wanted = dict.fromkeys(pages)
    for page in [*(in_repository(f.src_uri) for f in files.documentation_pages()), *pages]:
        for target in targets((ROOT / page).read_text(encoding="utf-8"), page):
            if not target.startswith(("..", "docs/")) and (ROOT / target).is_file():
                wanted.setdefault(target)
    for path in wanted:
        files.append(File.generated(config, in_site(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Turn the links of a page, and take typed files out of terminals."""
    return filed(turned(markdown, in_repository(page.file.src_uri)))
