"""A hook of mkdocs: a link that leaves docs/ becomes its text, because the site has the documents alone."""

import re
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")


def on_page_markdown(markdown: str, *, page: Any, files: Any, **_: Any) -> str:
    """What mkdocs renders of one page."""
    here = PurePosixPath(page.file.src_uri).parent

    def told(match: re.Match[str]) -> str:
        text, target = match.groups()
        path = target.partition("#")[0]
        if not path or "://" in target or files.get_file_from_path(normpath(here / path)):
            return match.group()
        return text

    return LINK.sub(told, markdown)
