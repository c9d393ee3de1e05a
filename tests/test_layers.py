"""The import rules of docs/architecture.md, as a test. Read from the source, so nothing is imported to check them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: Rooms from bottom to top. A room may import rooms above it in this list (lower rooms), never below.
ROOMS = (
    "config",
    "metrics",
    "paths",
    "files",
    "joblines",
    "data",
    "models",
    "privacy",
    "encryption",
    "preflight",
    "dpsgd",
    "training",
    "runs",
    "analysis",
    "sweeps",
    "classroom",
    "charts",
    "reports",
    "ui",
)
#: Rooms at the same height, which do not import each other.
STRANGERS = ({"dpsgd", "encryption"}, {"charts", "reports"})
TOP = {"app", "pages", "cli", "__main__"}
#: What the web process loads must not need torch; these are the only modules that may.
NEEDS_TORCH = (
    "privlab.data.load",
    "privlab.data.texts",
    "privlab.models.build",
    "privlab.models.embeddings",
    "privlab.models.features",
    "privlab.models.kept",
    "privlab.models.language",
    "privlab.models.packaged",
    "privlab.models.parts",
    "privlab.models.pretrained",
    "privlab.models.scattering",
    "privlab.models.tokens",
    "privlab.dpsgd",
    "privlab.training",
    "privlab.runs.zygote",
    "privlab.runs.worker",
)
HEAVY = {"torch", "opacus", "kymatio"}
SQL = {"sqlalchemy", "alembic", "sqlite3", "psycopg"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> list[Path]:
    return [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py")), *sorted((ROOT / "privlab").rglob("*.py"))]


def imports(path: Path) -> list[tuple[str, bool]]:
    """Modules that ``path`` imports, each with whether the import runs when the file is loaded."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, at_load: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, at_load) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import; write it in full"
                found.append((child.module, at_load))
                found.extend((f"{child.module}.{alias.name}", at_load) for alias in child.names)
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            visit(child, at_load and not function and not typing_only)

    visit(ast.parse(path.read_text("utf-8")), True)
    return found


def room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "privlab" and len(parts) > 1 and parts[1] in ROOMS else None


def needs_torch(module: str) -> bool:
    return any(module == name or module.startswith(name + ".") for name in NEEDS_TORCH)


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    here = module_name(path)
    for target, _ in imports(path):
        own, other = room(here), room(target)
        if target.split(".")[0] in ("pages", "app") or target.startswith("privlab.cli"):
            assert here in TOP or here.startswith(("privlab.__main__", "privlab.cli")), (
                f"{here} imports {target}, which is above it"
            )
        if own and other and own != other:
            assert ROOMS.index(other) < ROOMS.index(own), f"{here} imports {target}, which is above it"
            assert {own, other} not in STRANGERS, f"{here} imports {target}: rooms of the same height"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_streamlit_only_in_pages(path: Path) -> None:
    here = module_name(path)
    if here == "app" or here.startswith(("pages.", "privlab.ui")):
        return
    used = [target for target, _ in imports(path) if target.split(".")[0] == "streamlit"]
    assert not used, f"{here} imports {used[0]}; only ui, pages and app.py may"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_web_code_names_no_torch(path: Path) -> None:
    here = module_name(path)
    if needs_torch(here) or here == "privlab.__main__" or here.startswith("privlab.cli"):
        return
    for target, _ in imports(path):
        assert target.split(".")[0] not in HEAVY, f"{here} imports {target}; the web process must not load torch"
        assert not needs_torch(target), f"{here} imports {target}, which needs torch"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_store_speaks_sql(path: Path) -> None:
    here = module_name(path)
    if here.startswith(("privlab.runs.store.", "privlab.runs.migrations")):
        return
    used = [target for target, _ in imports(path) if target.split(".")[0] in SQL]
    assert not used, f"{here} imports {used[0]}; only the store and its migrations may"


def test_loading_the_web_process_loads_no_torch() -> None:
    """The rule above reads names; this one loads everything that a page can load and looks."""
    modules = [
        module_name(path)
        for path in sources()
        if path.is_relative_to(ROOT / "privlab")
        and not needs_torch(module_name(path))
        and "migrations" not in path.parts
        and module_name(path) not in ("privlab.__main__", "privlab.ui.main")
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print([name for name in {sorted(HEAVY)!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"
