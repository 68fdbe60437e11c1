"""The house rules that no linter knows, each with a planted example that proves it can fail.

A rule is a function from a `Source` (or all of them) to a list of complaints,
``"file:line: what"``. The tests at the top run the rules on the tree; those at the bottom run
them on the planted examples.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "posthouse"
MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 90

PURE_PACKAGES = (f"{PACKAGE}.core", f"{PACKAGE}.wire", f"{PACKAGE}.bodies")
BANNED_IN_PURE = frozenset(
    {"asyncio", "os", "random", "secrets", "socket", "subprocess", "threading", "time"}
)
# Siblings know the contract and the host of engines, never each other; the registry has names.
BACKENDS = f"{PACKAGE}.backends"
BACKENDS_SHARED = frozenset({f"{BACKENDS}.{name}" for name in ("contract", "hosted", "registry")})

# The underscore is part of these names, which the standard library documents or exports.
PUBLIC_UNDERSCORES = frozenset(
    {"asyncio._get_running_loop", "os._exit", "sys._current_frames", "sys._getframe"}
)
FRIENDLY_METHODS = frozenset({"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"})

# ``(?:)`` matches nothing: it keeps this file from complaining about itself.
BANNED_TEXT = re.compile(
    "|".join(
        (
            r"(?<![\w.<-])/wo(?:)rk/\w",
            r"(?<![\w.])/ho(?:)me/[a-z]",
            r"(?<![\w.])/ro(?:)ot/[\w.]",
            r"(?<![\w.])/Us(?:)ers/\w",
            r"\bpy(?:)pi\.org\b",
            r"\bpython(?:)hosted\.org\b",
            r"\bregistry\.(?:np(?:)mjs|yarnpkg)\.\w+",
            r"\b(?:ghcr|quay|gcr)\.(?:)io\b",
            r"\bdocker\.(?:)io\b",
            r"\bproxy\.gol(?:)ang\.org\b",
            r"\bcrates\.(?:)io\b",
        )
    )
)


Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One module: its dotted name, a path to show, its text and its tree."""

    name: str
    path: str
    text: str
    tree: ast.Module
    is_package: bool = False


def parse(name: str, text: str, path: str = "planted.py", *, is_package: bool = False) -> Source:
    return Source(name, path, text, ast.parse(text), is_package)


def read_package() -> list[Source]:
    sources = []
    for path in sorted((ROOT / "src" / PACKAGE).rglob("*.py")):
        parts = list(path.relative_to(ROOT / "src").with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        if is_package:
            parts.pop()
        shown = str(path.relative_to(ROOT))
        text = path.read_text(encoding="utf-8")
        sources.append(parse(".".join(parts), text, shown, is_package=is_package))
    return sources


# ---------------------------------------------------------------- the rules


def is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def rule_underscores(source: Source) -> list[str]:
    """No reaching into another object's underscore names, nor importing them.

    Allowed: ``self._x`` and ``cls._x``, ``Class._x`` inside that class, ``made._x`` after
    ``made = cls(...)`` in the same method (a second constructor), and ``other._x`` in a
    comparison method for a name that the class itself uses on ``self``.
    """
    complaints: list[str] = []

    def names_of(cls: ast.ClassDef) -> set[str]:
        own = {
            node.attr
            for node in ast.walk(cls)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        }
        for node in cls.body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                own.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                own.add(node.target.id)
            elif isinstance(node, ast.Assign):
                own.update(t.id for t in node.targets if isinstance(t, ast.Name))
        return own

    def made_by(method: Function) -> set[str]:
        return {
            target.id
            for node in ast.walk(method)
            if isinstance(node, ast.Assign)
            and ast.unparse(node.value).startswith(("cls(", "cls.__new__(", "object.__new__(cls"))
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def allowed(node: ast.Attribute, cls: ast.ClassDef | None, method: Function | None) -> bool:
        value = node.value
        if isinstance(value, ast.Call):
            return isinstance(value.func, ast.Name) and value.func.id == "super"
        if not isinstance(value, ast.Name):
            return False
        if value.id in ("self", "cls") or f"{value.id}.{node.attr}" in PUBLIC_UNDERSCORES:
            return True
        if cls is None or value.id == cls.name or method is None:
            return cls is not None and value.id == cls.name
        if method.name in FRIENDLY_METHODS:
            return node.attr in names_of(cls)
        return value.id in made_by(method)

    def visit(node: ast.AST, cls: ast.ClassDef | None, method: Function | None) -> None:
        if isinstance(node, ast.ClassDef):
            cls, method = node, None
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            method = method or node
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            if not allowed(node, cls, method):
                where = f"{source.path}:{node.lineno}"
                complaints.append(f"{where}: reaches into {ast.unparse(node)}")
        elif isinstance(node, ast.ImportFrom):
            complaints.extend(
                f"{source.path}:{node.lineno}: imports {alias.name}"
                for alias in node.names
                if is_private(alias.name)
            )
        for child in ast.iter_child_nodes(node):
            visit(child, cls, method)

    visit(source.tree, None, None)
    return complaints


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def absolute(source: Source, node: ast.ImportFrom) -> str:
    """The dotted module that a (possibly relative) ``from`` names."""
    if node.level == 0:
        return node.module or ""
    parts = source.name.split(".")
    keep = len(parts) - node.level + (1 if source.is_package else 0)
    base = ".".join(parts[:keep])
    return f"{base}.{node.module}" if node.module else base


def imports_of(source: Source) -> Iterator[tuple[str, int]]:
    """Everything the module imports, anywhere in it, typing-only imports included."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = absolute(source, node)
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno


def rule_pure(source: Source) -> list[str]:
    """The pure packages do no I/O, read no clock and draw no random number."""
    if not any(within(source.name, package) for package in PURE_PACKAGES):
        return []
    return [
        f"{source.path}:{line}: a pure module imports {target.split('.')[0]}"
        for target, line in imports_of(source)
        if target.split(".")[0] in BANNED_IN_PURE
    ]


def rule_backends(source: Source) -> list[str]:
    """Backends never import each other."""
    if not within(source.name, BACKENDS) or source.name in BACKENDS_SHARED | {BACKENDS}:
        return []
    own = ".".join(source.name.split(".")[:3])
    return [
        f"{source.path}:{line}: a backend imports its sibling {target}"
        for target, line in imports_of(source)
        if within(target, BACKENDS)
        and target != BACKENDS
        and not within(target, own)
        and not any(within(target, shared) for shared in BACKENDS_SHARED)
    ]


def rule_size(source: Source) -> list[str]:
    """Small modules, small functions."""
    complaints = []
    lines = source.text.count("\n") + 1
    if lines > MAX_MODULE_LINES:
        complaints.append(f"{source.path}: {lines} lines; the limit is {MAX_MODULE_LINES}")
    for node in ast.walk(source.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                complaints.append(
                    f"{source.path}:{node.lineno}: {node.name} has {length} lines; "
                    f"the limit is {MAX_FUNCTION_LINES}"
                )
    return complaints


def rule_docstrings(source: Source, exported: frozenset[str] = frozenset()) -> list[str]:
    """Every public module, class and function says what it is.

    So do the public methods of the classes that the package exports (``exported``).
    """
    if any(is_private(part) or part == "__main__" for part in source.name.split(".")):
        return []
    complaints = []
    if ast.get_docstring(source.tree) is None and source.text.strip():
        complaints.append(f"{source.path}:1: the module has no docstring")

    def check(node: ast.stmt, prefix: str) -> None:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            return
        if node.name.startswith("_") or is_variant(node):
            return
        if ast.get_docstring(node) is None:
            complaints.append(f"{source.path}:{node.lineno}: {prefix}{node.name} has no docstring")
        if isinstance(node, ast.ClassDef) and node.name in exported:
            for child in node.body:
                check(child, f"{node.name}.")

    for node in source.tree.body:
        check(node, "")
    return complaints


def is_variant(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """An overload or a setter: the other definition of the name has the docstring."""
    shown = [ast.unparse(decorator) for decorator in node.decorator_list]
    return any(d.split(".")[-1] in ("overload", "setter", "deleter") for d in shown)


def exported_names(sources: list[Source]) -> frozenset[str]:
    """What the package's own ``__all__`` lists."""
    for source in sources:
        if source.name != PACKAGE:
            continue
        for node in source.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                return frozenset(ast.literal_eval(node.value))
    return frozenset()


def import_cycles(sources: list[Source]) -> list[list[str]]:
    """Groups of modules that import each other in a ring (Tarjan's strong components)."""
    known = {source.name for source in sources}
    edges: dict[str, set[str]] = {name: set() for name in known}
    for source in sources:
        for target, _line in imports_of(source):
            # ``from a import b`` means the module a.b where there is one, else the module a.
            found = target if target in known else target.rpartition(".")[0]
            if found in known and found != source.name:
                edges[source.name].add(found)

    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    cycles: list[list[str]] = []

    def connect(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for target in sorted(edges[name]):
            if target not in order:
                connect(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], order[target])
        if low[name] == order[name]:
            at = stack.index(name)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                cycles.append(sorted(group))

    for name in sorted(known):
        if name not in order:
            connect(name)
    return cycles


def rule_text(path: str, text: str) -> list[str]:
    """No machine's paths and no registry's host names."""
    return [
        f"{path}:{number}: {match.group()!r} names a machine's path or a registry"
        for number, line in enumerate(text.splitlines(), 1)
        for match in BANNED_TEXT.finditer(line)
    ]


# ---------------------------------------------------------------- the tree


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    found = read_package()
    assert found, "no sources found: the rules would pass on nothing"
    return found


@pytest.mark.parametrize("rule", [rule_underscores, rule_pure, rule_backends, rule_size])
def test_source_rules(sources: list[Source], rule: object) -> None:
    assert callable(rule)
    complaints = [line for source in sources for line in rule(source)]
    assert not complaints, "\n".join(complaints)


def test_docstrings(sources: list[Source]) -> None:
    exported = exported_names(sources)
    complaints = [line for source in sources for line in rule_docstrings(source, exported)]
    assert not complaints, "\n".join(complaints)


def test_no_import_cycles(sources: list[Source]) -> None:
    cycles = import_cycles(sources)
    assert not cycles, "\n".join(" <-> ".join(cycle) for cycle in cycles)


def test_no_machine_paths_in_files_that_git_keeps() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git clone")
    complaints = []
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if not name or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        complaints += rule_text(name, text)
    assert not complaints, "\n".join(complaints)


# ---------------------------------------------------------------- planted examples


@pytest.mark.parametrize(
    "text",
    [
        "def f(queue):\n    return queue._items\n",
        "class A:\n    def f(self, other):\n        return other._x\n",
        "class A:\n    def __eq__(self, other):\n        return other._hidden\n",
        "class A:\n    def f(self):\n        return self.engine._core\n",
        "class A:\n    x = B._y\n",
        "from posthouse.model import _NAME\n",
        "class A:\n    @classmethod\n    def f(cls, b):\n        a = cls()\n        b._x = a\n",
        "def f():\n    a = cls()\n    return a._x\n",
    ],
)
def test_reaching_in_is_seen(text: str) -> None:
    assert rule_underscores(parse("posthouse.planted", text))


@pytest.mark.parametrize(
    "text",
    [
        "class A:\n    def __eq__(self, other):\n        return self._x == other._x\n",
        "class A:\n    _n = 0\n    @classmethod\n    def f(cls):\n        return cls._n + A._n\n",
        "class A(B):\n    def f(self):\n        return super()._f() + self.__class__.__name__\n",
        "class A:\n    @classmethod\n    def f(cls):\n        a = cls()\n        a._x = 1\n",
        "import os\nos._exit(1)\n",
    ],
)
def test_own_names_are_fine(text: str) -> None:
    assert rule_underscores(parse("posthouse.planted", text)) == []


@pytest.mark.parametrize("package", PURE_PACKAGES)
@pytest.mark.parametrize(
    "text",
    [
        "import time\n",
        "from os import path\n",
        "def f():\n    import asyncio.events\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import socket\n",
    ],
)
def test_impure_imports_are_seen(package: str, text: str) -> None:
    assert rule_pure(parse(f"{package}.planted", text))
    assert rule_pure(parse("posthouse.engine", text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "from posthouse.backends.memory import Memory\n",
        "from posthouse.backends import memory\n",
        "from . import memory\n",
        "from .memory import Memory\n",
        "import posthouse.backends.memory\n",
    ],
)
def test_a_backend_importing_its_sibling_is_seen(text: str) -> None:
    assert rule_backends(parse("posthouse.backends.log", text))
    assert rule_backends(parse("posthouse.backends.memory", text)) == []
    assert rule_backends(parse("posthouse.backends.registry", text)) == []
    assert rule_backends(parse("posthouse.backends.log", text.replace("memory", "contract"))) == []


def test_sizes_are_seen() -> None:
    body = "    x = 1\n" * MAX_FUNCTION_LINES
    assert "planted.py:1: f has" in rule_size(parse("posthouse.planted", f"def f():\n{body}"))[0]
    assert rule_size(parse("posthouse.planted", "x = 1\n" * MAX_MODULE_LINES))
    assert rule_size(parse("posthouse.planted", "x = 1\n" * (MAX_MODULE_LINES - 1))) == []


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("x = 1\n", "the module"),
        ('"""M."""\nclass A: ...\n', "A has"),
        ('"""M."""\nasync def f(): ...\n', "f has"),
        ('"""M."""\nclass Queue:\n    """Q."""\n    def put(self): ...\n', "Queue.put"),
    ],
)
def test_missing_docstrings_are_seen(text: str, missing: str) -> None:
    complaints = rule_docstrings(parse("posthouse.planted", text), frozenset({"Queue"}))
    assert len(complaints) == 1
    assert missing in complaints[0]


def test_private_and_inner_names_need_no_docstring() -> None:
    text = '"""M."""\ndef _f(): ...\nclass A:\n    """A."""\n    def put(self): ...\n'
    assert rule_docstrings(parse("posthouse.planted", text), frozenset({"Queue"})) == []


def test_cycles_are_seen_even_typing_only_ones() -> None:
    a = parse("posthouse.a", "from posthouse.b import f\n")
    lazy = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .c import C\n"
    b = parse("posthouse.b", lazy)
    c = parse("posthouse.c", "def f():\n    from posthouse import a\n")
    assert import_cycles([a, b, c]) == [["posthouse.a", "posthouse.b", "posthouse.c"]]
    assert import_cycles([a, b, parse("posthouse.c", "import json\n")]) == []


@pytest.mark.parametrize(
    "text",
    [
        "see /wo" + "rk/main/src",
        '"/ho' + 'me/ada/data"',
        "https://py" + "pi.org/simple",
        "files.python" + "hosted.org",
        "image: docker" + ".io/library/redis",
    ],
)
def test_machine_paths_and_registries_are_seen(text: str) -> None:
    assert rule_text("planted.md", text)


@pytest.mark.parametrize("text", ["docs/work/notes", "./data", "https://docs.python.org/3/"])
def test_ordinary_paths_are_fine(text: str) -> None:
    assert rule_text("planted.md", text) == []
