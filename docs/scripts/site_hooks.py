"""Hooks of the site: files of the project outside docs/ to which pages link become a part of the site.

In the project a page links to ``../studies/README.md``. The site has no folder above its pages, so that the file is put beside
them, as ``studies/README.md``.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = ("studies/README.md", "measurements/RESULTS.md", "CHANGELOG.md")
_LINKED = ("studies/**/*.yaml", "cluster/*")
_UP = re.compile(r"(\]\()\.\./(?!\.\./)")
_TO_DOCS = re.compile(r"(\]\((?:\.\./)*)docs/")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the project's own files to those of the site."""
    found = [*PAGES, *(path.relative_to(ROOT).as_posix() for pattern in _LINKED for path in sorted(ROOT.glob(pattern)))]
    for name in found:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Returns a page with its links as they are in the site."""
    if page.file.src_uri in PAGES:
        return _TO_DOCS.sub(r"\1", markdown)
    return _UP.sub(r"\1", markdown)
