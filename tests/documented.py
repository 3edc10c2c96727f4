"""The code blocks of the documents, in the order in which a reader meets them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.parsing import ROOT

COMMANDS = ("sh", "console")
OTHERS = ("text", "toml", "json", "ini", "yaml", "hcl", "promql", "logql", "python", "jinja")
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
PROMPT = re.compile(r"^[$#] (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One code block. An indented one is commands."""

    page: str
    line: int
    language: str
    text: str

    @property
    def commands(self) -> str:
        """What a reader types; "" for a block that only shows something."""
        if self.language == "console":
            return "".join(f"{command}\n" for command in PROMPT.findall(self.text))
        return self.text if self.language == "sh" else ""

    @property
    def first(self) -> str:
        """Its first line, by which a table names it."""
        return self.text.partition("\n")[0].strip()


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path) -> Iterator[Block]:
    """Every block of a page, fenced or indented by four spaces."""
    lines, at = path.read_text().split("\n"), 0
    page = str(path.relative_to(ROOT))
    while at < len(lines):
        start, line = at, lines[at]
        if fence := re.fullmatch(r"(```+)(\w*)", line):
            end = lines.index(fence[1], at + 1)
            yield Block(page=page, line=start + 1, language=fence[2], text="\n".join([*lines[start + 1 : end], ""]))
            at = end
        elif line.startswith("    ") and (at == 0 or lines[at - 1] == "") and not _continued(lines, at):
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at]):
                at += 1
            text = "\n".join(found[4:] for found in lines[start:at]).strip("\n") + "\n"
            yield Block(page=page, line=start + 1, language="sh", text=text)
            at -= 1
        at += 1


def _continued(lines: list[str], at: int) -> bool:
    """Whether an indented line belongs to an item of a list."""
    above = next((line for line in reversed(lines[:at]) if line and not line.startswith("    ")), "")
    return above.lstrip().startswith(("- ", "* ", "1. "))


def all_blocks() -> list[Block]:
    return [block for path in pages() for block in blocks(path)]


def inline(path: Path) -> list[str]:
    """Every word or command in the text of a page, outside its blocks."""
    text = re.sub(r"^(```+).*?^\1$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return INLINE.findall(text)
