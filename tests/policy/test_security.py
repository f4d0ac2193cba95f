"""What the source may not contain, found in the syntax tree rather than by searching text."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

import pytest

# Formats and tools that run code when they read a file.
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
# The package sends nothing; data sets at an address go through `datasets`.
NETWORK_MODULES = {"socket", "urllib.request", "http.client", "requests", "httpx", "ftplib"}
UNSAFE_BUILTINS = {"eval", "exec", "compile", "__import__"}
UNSAFE_CALLS = {
    "torch.load",
    "torch.save",
    "torch.hub.load",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "os.system",
    "os.popen",
    "shutil.unpack_archive",
    "tempfile.mktemp",
    "pd.read_pickle",
    "pandas.read_pickle",
}
UNSAFE_METHODS = {"extractall", "unpack_archive", "read_pickle", "to_pickle"}
UNSAFE_KEYWORDS = {"shell": True, "allow_pickle": True, "weights_only": False}
GLOBAL_NUMPY = {"seed", "rand", "randn", "randint", "random", "choice", "shuffle", "permutation"}


def dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` of an attribute chain, else an empty string."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def unsafe_imports(tree: ast.AST) -> list[str]:
    banned = UNSAFE_MODULES | NETWORK_MODULES | {"random"}
    return [name for name in imported(tree) if name in banned or name.split(".")[0] in banned]


def unsafe_calls(tree: ast.AST) -> list[str]:
    found = []
    for call in calls(tree):
        name = dotted(call.func)
        if (
            name in UNSAFE_BUILTINS
            or name in UNSAFE_CALLS
            or name.rpartition(".")[2] in UNSAFE_METHODS
        ):
            found.append(f"{name} in line {call.lineno}")
    return found


def unsafe_keywords(tree: ast.AST) -> list[str]:
    found = []
    for call in calls(tree):
        for keyword in call.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            refused = UNSAFE_KEYWORDS.get(keyword.arg or "")
            remote = keyword.arg == "trust_remote_code" and value is not False
            if remote or (refused is not None and value is refused):
                found.append(f"{keyword.arg} in line {call.lineno}")
    return found


def global_randomness(tree: ast.AST) -> list[str]:
    names = {f"{module}.random.{f}" for module in ("np", "numpy") for f in GLOBAL_NUMPY}
    return [f"{dotted(c.func)} in line {c.lineno}" for c in calls(tree) if dotted(c.func) in names]


RULES: dict[str, Callable[[ast.AST], list[str]]] = {
    "no module that runs code from files, talks to the network or draws global numbers": (
        unsafe_imports
    ),
    "no call that runs code or unpacks an archive": unsafe_calls,
    "no option that switches a protection off": unsafe_keywords,
    "nothing random but from rng.py": global_randomness,
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.replace(" ", "-"))
def test_source(rule, modules):
    found = {module.name: RULES[rule](module.tree) for module in modules}
    assert not {name: where for name, where in found.items() if where}


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("import pickle", unsafe_imports),
        ("from urllib.request import urlopen", unsafe_imports),
        ("import urllib.request", unsafe_imports),
        ("from urllib import request", unsafe_imports),
        ("x = eval('1')", unsafe_calls),
        ("x = torch.load(path)", unsafe_calls),
        ("tar.extractall(folder)", unsafe_calls),
        ("yaml.load(text)", unsafe_calls),
        ("run(words, shell=True)", unsafe_keywords),
        ("f(trust_remote_code=flag)", unsafe_keywords),
        ("np.load(path, allow_pickle=True)", unsafe_keywords),
        ("np.random.rand(3)", global_randomness),
    ],
)
def test_the_rules_see_what_they_forbid(source, rule):
    assert rule(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    ["model.eval()", "torch.compile(model)", "re.compile('x')", "f(trust_remote_code=False)"],
)
def test_the_rules_leave_the_rest_alone(source):
    tree = ast.parse(source)
    assert not [found for rule in RULES.values() for found in rule(tree)]
