"""The import rules of docs/architecture.md, as a test. Read from the source, so nothing is imported to check them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Rooms from bottom to top. A room may import rooms above it in this list (lower rooms), never below.
ROOMS = (
    "config",
    "metrics",
    "paths",
    "files",
    "priority",
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


@cache
def imports(path: Path) -> list[str]:
    """Modules that ``path`` imports, anywhere in it."""
    found: list[str] = []

    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write it in full"
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "privlab" and len(parts) > 1 and parts[1] in ROOMS else None


def needs_torch(module: str) -> bool:
    return any(module == name or module.startswith(name + ".") for name in NEEDS_TORCH)


def every_import() -> Iterator[tuple[str, str]]:
    """Each module of the app with each module that it imports."""
    for path in sources():
        here = module_name(path)
        for target in imports(path):
            yield here, target


def test_imports_go_down() -> None:
    wrong = []
    for here, target in every_import():
        own, other = room(here), room(target)
        is_top = here in TOP or here.startswith(("privlab.__main__", "privlab.cli"))
        to_top = target.split(".")[0] in ("pages", "app") or target.startswith("privlab.cli")
        if to_top and not is_top:
            wrong.append(f"{here} imports {target}, which is above it")
        if own and other and own != other:
            if ROOMS.index(other) > ROOMS.index(own):
                wrong.append(f"{here} imports {target}, which is above it")
            if {own, other} in STRANGERS:
                wrong.append(f"{here} imports {target}: rooms of the same height")
    assert not wrong


def test_streamlit_only_in_pages() -> None:
    wrong = [
        f"{here} imports {target}; only ui, pages and app.py may"
        for here, target in every_import()
        if target.split(".")[0] == "streamlit" and here != "app" and not here.startswith(("pages.", "privlab.ui"))
    ]
    assert not wrong


def test_web_code_names_no_torch() -> None:
    wrong = [
        f"{here} imports {target}; the web process must not load torch"
        for here, target in every_import()
        if (target.split(".")[0] in HEAVY or needs_torch(target))
        and not (needs_torch(here) or here == "privlab.__main__" or here.startswith("privlab.cli"))
    ]
    assert not wrong


def test_only_the_store_speaks_sql() -> None:
    wrong = [
        f"{here} imports {target}; only the store and its migrations may"
        for here, target in every_import()
        if target.split(".")[0] in SQL and not here.startswith(("privlab.runs.store.", "privlab.runs.migrations"))
    ]
    assert not wrong


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
