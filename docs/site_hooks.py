"""Makes a site of the manual as it is in the repository; `mkdocs.yml` names this file.

The pages link to files outside of `docs/`: these become part of the site. The navigation is the list of pages in
`docs/README.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from batchsend.utils.version import __version__

DOCS = Path(__file__).parent
ROOT = DOCS.parent

_SECTION = re.compile(r"^## (?P<section>.+)$|^- \[(?P<title>[^]]+)\]\((?P<target>[^)#]+)", re.MULTILINE)
_TARGET = re.compile(r"\]\(([^)#\s]+)")
#: Pages whose name in the site differs from the one in the repository.
_NAMES = {"README.md": "about.html", "docs/README.md": "index.html"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Names the version on every page, and makes the navigation."""
    config.site_name = f"batchsend {__version__}"
    config.nav = navigation()
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Names each file by its path in the repository, so that links between all of them work."""
    of_the_theme = [file for file in files if file.src_dir != config.docs_dir]
    sources = [DOCS / file.src_uri for file in files if file.src_dir == config.docs_dir]
    return Files([*of_the_theme, *(_file(source, config) for source in [*sources, *outside()])])


def on_post_page(output: str, **_: Any) -> str:
    """Gives the dialog of the search a name for screen readers, which the theme forgets."""
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"')


def navigation() -> list[dict[str, Any]]:
    """The sections and pages that `docs/README.md` lists, in its order."""
    sections: dict[str, Any] = {"Home": "docs/README.md"}
    for match in _SECTION.finditer((DOCS / "README.md").read_text(encoding="utf-8")):
        if match["section"]:
            pages = sections[match["section"]] = []
        else:
            pages.append({match["title"]: _in_repository(DOCS / match["target"])})
    return [{title: content} for title, content in sections.items()]


def outside() -> Iterator[Path]:
    """The files outside of `docs/` to which a page links."""
    found: set[Path] = set()
    pages = list(DOCS.glob("*.md"))
    while pages:
        page = pages.pop()
        for target in _TARGET.findall(page.read_text(encoding="utf-8")):
            file = (page.parent / target).resolve()
            if file.is_file() and not file.is_relative_to(DOCS) and file not in found:
                found.add(file)
                pages += [file] if file.suffix == ".md" else []
                yield file


def _file(source: Path, config: MkDocsConfig) -> File:
    path = _in_repository(source)
    name = _NAMES.get(path) or path.removeprefix("docs/")
    if source.suffix == ".md":
        name = str(Path(name).with_suffix(".html")).lower()
    return File(path, str(ROOT), config.site_dir, use_directory_urls=False, dest_uri=name)


def _in_repository(file: Path) -> str:
    return file.resolve().relative_to(ROOT).as_posix()
