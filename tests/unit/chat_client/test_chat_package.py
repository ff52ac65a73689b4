"""The client stands alone: it imports nothing of the server and nothing beyond what it asks for."""

import ast
import sys
import tomllib
from pathlib import Path

import ohlora_chat

PACKAGE = Path(ohlora_chat.__file__).parent


def imported(file: Path) -> set[str]:
    """Top packages that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add((node.module or "").split(".")[0])
    return found


def test_it_imports_itself_its_dependencies_and_the_standard_library_only() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {dependency.split(">=")[0] for dependency in project["dependencies"]}
    assert wanted == {"httpx", "prompt_toolkit", "rich", "typer"}
    files = list(PACKAGE.glob("*.py"))
    outside = set().union(*map(imported, files)) - set(sys.stdlib_module_names) - {"ohlora_chat"}
    assert outside == wanted


def test_every_module_says_what_it_is() -> None:
    for file in PACKAGE.glob("*.py"):
        assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))), file.name
