"""The project's own source, parsed once for all the tests that look at it."""

import ast
import gc
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "certagent"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """A file as a tree. The garbage collector is off meanwhile: it would visit the growing trees again and again."""
    gc.disable()
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a file."""
    return tuple(ast.walk(parsed(path)))


def forget() -> None:
    """Free the trees: half a million objects, which every full collection would visit."""
    parsed.cache_clear()
    nodes.cache_clear()
