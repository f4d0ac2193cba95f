"""Write the generated pages: the tables of methods and options, and the tree in the README.

`make docs` runs this; a policy test compares what it would write with what is there.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from unlabeled import config
from unlabeled.methods import METHODS, catalogue
from unlabeled.transfer import schema

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "unlabeled"
SECTIONS: dict[str, tuple[type[BaseModel], str]] = {
    "data": (config.DataConfig, "data"),
    "modality (images)": (config.ImageConfig, "modality"),
    "modality (text)": (config.TextConfig, "modality"),
    "encoder": (config.EncoderConfig, "encoder"),
    "optim": (config.OptimConfig, "optim"),
    "loop": (config.LoopConfig, "loop"),
}
NOTE = "<!-- Written by `make docs`; change the source instead. -->\n"
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def pages() -> dict[str, str]:
    """Return the content of every generated page, by its path in the repository."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    drawn = drawings().pictures()
    return {
        **drawn,
        "docs/methods.md": methods_page(drawn),
        "docs/language.md": language_page(),
        "docs/options.md": options_page(),
        "docs/results.md": results_page(),
        "docs/results-schema.md": schema.document(),
        "README.md": with_block(
            with_block(readme, "tree", f"```text\n{tree()}```"), "results", results_list()
        ),
    }


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n"
                   for line in lines)  # fmt: skip


def results_page() -> str:
    """Return every kept result: the label curve, the labels saved, and how to repeat it."""
    text = f"# Results\n\n{NOTE}\n"
    text += (
        "Scores on test samples, mean over draws of the labels with 95 % intervals. Every "
        "hyper-parameter was chosen without the test part. Each table is made by the two "
        "commands above it; every score behind it is in `docs/results/`.\n"
    )
    for path in sorted((ROOT / "docs" / "results").glob("*.json")):
        text += result_section(path.stem, json.loads(path.read_text(encoding="utf-8")))
    return text + str(beside("label_free").section())


def results_list() -> str:
    """Return a table with a row for each kept result."""
    rows = [
        results_row(path.stem, json.loads(path.read_text(encoding="utf-8")))
        for path in sorted((ROOT / "docs" / "results").glob("*.json"))
    ]
    head = ["pre-training", "minutes", "it", "points above the closest rival", "labels saved"]
    return (
        "Every draw, interval, command and doubt is in [docs/results.md](docs/results.md). Points "
        "are the mean over all numbers of labels, with their 95 % interval; labels saved are those "
        "against the same network from scratch.\n\n" + table(head, rows)
    ).rstrip()


def results_row(name: str, kept: dict[str, Any]) -> list[str]:
    """Return a kept result in five cells."""
    results = kept["results"]
    named = {row["reading"]: row["name"] for row in results["summary"]}
    rival, gap = min(results["differences"].items(), key=lambda pair: pair[1]["mean"])
    said = {"helped": "**helped**", "did_not_help": "did not help"}
    low, high = (f"{100 * gap[end]:.1f}" for end in ("low", "high"))
    saved = results["labels_saved"].get("scratch")
    unit = "" if results.get("task") == "tagging" else " a class"
    return [
        f"[{name}](docs/results.md#{name})",
        f"{kept['run']['seconds'] / 60:.0f}",
        said.get(results["grade"], "made no clear difference"),
        f"{100 * gap['mean']:+.1f} ({low} to {high}) on {named[rival]}",
        f"{saved['text'].partition(':')[0]} with {saved['ours']}{unit}"
        if saved
        else "not measured",
    ]


def result_section(name: str, kept: dict[str, Any]) -> str:
    """Return the section of one kept result."""
    run, results = kept["run"], kept["results"]
    took = f"{run['seconds'] / 60:.0f} minutes"
    if "cpu_seconds" in run:
        took += f" ({run['cpu_seconds'] / 60:.1f} of processor time)"
    rows = [
        [reading["name"], *(_score(results, reading["reading"], n) for n in results["counts"])]
        for reading in {row["reading"]: row for row in results["summary"]}.values()
    ]
    counts = [str(count) for count in results["counts"]]
    runs = results.get("runs") or [name]
    seeds = f"{len(runs)} seeds, the first" if len(runs) > 1 else "seed"
    others = f" --seeds {','.join(f'runs/{one}' for one in runs[1:])}" if len(runs) > 1 else ""
    return (
        f"\n## {name}\n\n{results['verdict']}\n\n"
        f'```bash skip="takes as long as it says"\nunlabeled pretrain DATA '
        f"--config configs/{name}.toml --out runs/{name}\n{repeats(name, runs[1:])}"
        f"unlabeled evaluate runs/{name}{others} --labels LABELS --test TEST{asked(results)}\n"
        "```\n\n"
        f"{run['method']} on `{run['encoder']}` ({run['parameters'] / 1e6:.1f} M parameters), "
        f"{run['steps']:,} steps, {run['samples_seen']:,} samples seen, {took} on "
        f"{run['hardware']['device']} ({run['hardware']['cores']} cores), {seeds} {run['seed']}, "
        f"{run['started'][:10]}.\n\n"
        + table(["labels per class", *counts], rows)
        + "".join(f"\n- {note}" for note in results["notes"])
        + "".join(f"\n- **Remark**: {text}" for text in kept.get("remarks", []))
        + "\n"
    )


def repeats(name: str, others: list[str]) -> str:
    """Return the commands that make the runs with other seeds, where their names tell the seed."""
    return "".join(
        f"unlabeled pretrain DATA --config configs/{name}.toml --seed {seed} --out runs/{one}\n"
        for seed, one in enumerate(others, 1)
        if one.endswith(f"-{seed}")
    )


def asked(results: dict[str, Any]) -> str:
    """Return the options of `evaluate` that make the table, as far as results tell them."""
    arms = dict.fromkeys(row["reading"] for row in results["summary"])
    seen = " --transductive" if results["split"].get("transductive") else ""
    counts = ",".join(map(str, results["counts"]))
    return f"{seen} --counts {counts} --draws {results['draws']} --arms {','.join(arms)}"


def _score(results: dict[str, Any], reading: str, count: int) -> str:
    for row in results["summary"]:
        if (row["reading"], row["labels_per_class"]) == (reading, count):
            if row["low"] is None:
                return f"{row['mean']:.3f}"
            return f"{row['mean']:.3f} ± {(row['high'] - row['low']) / 2:.3f}"
    return "not run"


def drawings() -> Any:
    """Return the module beside this one that draws what methods see."""
    return beside("draw_methods")


def beside(name: str) -> Any:
    """Return a module of this folder, which is no package."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def methods_page(drawn: Mapping[str, str]) -> str:
    """Return the table of methods, then what each does, costs, scored and can be told."""
    cards = [catalogue.describe(name) for name in METHODS]
    overview = table(
        ["method", "for", "idea", "needs", "couples samples", "paper"],
        [
            [
                f"[`{card.name}`](#{card.name})",
                ", ".join(card.modalities),
                card.summary.partition(": ")[2] or card.summary,
                card.needs,
                "yes" if card.couples_samples else "no",
                card.citation,
            ]
            for card in cards
        ],
    )
    parts = [f"# Methods\n\n{NOTE}\n{overview}"]
    parts.append(
        "\n*Needs*: `feature` any network; `tokens` a transformer, whose blocks run on any subset "
        "of tokens; `causal` and `bidirectional` the kind of attention; `stills` a network that "
        "looks at frames of a clip apart. *Couples samples*: the "
        "loss of a sample depends on the others in the batch, so batches are never split.\n"
    )
    parts.append(
        "\n*Cost*: a pass is one forward and backward of a whole sample through the encoder; a "
        "teacher only goes forward, which is a third of it. *Pictures*: the sample with what is "
        "cut out of it, then each view as the encoder sees it, hidden patches grey, and patches "
        "that are asked for in orange; for text and sound what goes in above what is asked for.\n"
    )
    parts += [method_section(card, drawn) for card in cards]
    return "".join(parts)


def method_section(card: catalogue.MethodCard, drawn: Mapping[str, str]) -> str:
    """Return what is known of a method, and what its source says of itself."""
    rows = [
        [
            f"`method.{o.name}`",
            f"`{shown(o.default)}`",
            o.range or o.type,
            o.description,
        ]
        for o in card.options
    ]
    options = table(["option", "default", "allowed", "meaning"], rows) if rows else "No options.\n"
    return f"\n## {card.name}\n\n{known(card, drawn)}{card.text}\n\n{options}"


def known(card: catalogue.MethodCard, drawn: Mapping[str, str]) -> str:
    """Return what a method does, a picture, its cost, when to choose it, and its scores."""
    draw = drawings()
    notes, parts = draw.NOTES.get(card.name, {}), []
    if "does" in notes:
        parts.append(notes["does"])
    if f"docs/pictures/{card.name}.svg" in drawn:
        parts.append(f"![what {card.name} sees](pictures/{card.name}.svg)")
    facts = [("Cost", draw.cost(card.name)), ("Choose it", notes.get("choose", ""))]
    facts.append(("Measured", measured(card.name)))
    lines = [f"- *{name}*: {text}" for name, text in facts if text]
    if lines:
        parts.append("\n".join(lines))
    return "".join(f"{part}\n\n" for part in parts)


def language_page() -> str:
    """Return the taxonomy of pre-training on text, with where each task is and what it scored."""
    told = tomllib.loads((ROOT / "scripts" / "language.toml").read_text(encoding="utf-8"))
    rows = [
        [
            task["name"],
            task["kind"],
            task["line"],
            " ".join(_source(name) for name in task.get("files", [])) or "none",
            f"`{task['option']}`" if "option" in task else "",
            task["when"],
            _scored(task),
        ]
        for task in told["task"]
    ]
    header = ["task", "kind", "in a line", "file", "option", "in 2026", "measured here"]
    methods = [name for task in told["task"] for name in task.get("files", [])]
    for name in METHODS:
        if catalogue.describe(name).modalities == ("text",) and name not in methods:
            raise ValueError(f"scripts/language.toml does not place the method {name}")
    return str(told["page"]).format(
        note=NOTE, tasks=table(header, rows), oracles=oracles(told["oracle"])
    )


def oracles(told: list[dict[str, Any]]) -> str:
    """Return the table of what the code is compared with; a test sees to it that tests exist."""
    rows = []
    for oracle in told:
        tests = [test.split("::") for test in oracle["tests"]]
        links = [f"[{name[5:].replace('_', ' ')}](../tests/{path})" for path, name in tests]
        rows.append([oracle["name"], oracle["what"], ", ".join(links)])
    return table(["oracle", "what is compared", "tests"], rows)


def _source(name: str) -> str:
    return f"[`{name}`](../src/unlabeled/methods/{name}.py)"


def _scored(task: dict[str, Any]) -> str:
    """Return the kept results of a task's methods; an option of a method has none of its own."""
    if "option" in task or not task.get("files"):
        return "not measured"
    found = [measured(name) for name in task["files"]]
    return " ".join("not measured" if text.startswith("not yet") else text for text in found)


def measured(method: str) -> str:
    """Return the kept results of a method, with what they are compared with."""
    found = []
    for path in sorted((ROOT / "docs" / "results").glob("*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["run"]["method"] == method:
            link = f"[{path.stem}](results.md#{path.stem})"
            found.append(f"{link}: {kept['results']['verdict']}")
    return " ".join(found) or "not yet; see the [log](log.md)."


def options_page() -> str:
    """Return every section of the configuration with its options."""
    parts = [
        f"# Options\n\n{NOTE}\n"
        "Set with `section.name=value` on the command line, or in a TOML file that `--config` "
        "names. Where the planner chooses from the data and the machine, it prints the choice and "
        "its reason; the defaults here are what holds otherwise. Options of the pretext task, "
        "`method.name=value`, are in [methods](methods.md).\n"
    ]
    for title, (model, prefix) in SECTIONS.items():
        rows = [option_row(prefix, name, field) for name, field in model.model_fields.items()]
        header = ["option", "default", "allowed", "meaning"]
        parts.append(f"\n## {title}\n\n{model.__doc__}\n\n{table(header, rows)}")
    return "".join(parts)


def option_row(prefix: str, name: str, field: Any) -> list[str]:
    """Return the cells of one option."""
    bounds = [
        f"{sign} {shown(getattr(m, key))}"
        for m in field.metadata
        for key, sign in SIGNS.items()
        if getattr(m, key, None) is not None
    ]
    default = "required" if field.is_required() else f"`{shown(field.default)}`"
    return [f"`{prefix}.{name}`", default, ", ".join(bounds) or kind(field), field.description]


def kind(field: Any) -> str:
    """Return the type of an option in words."""
    names = {"str": "text", "bool": "true, false", "int": "whole number", "float": "number"}
    if getattr(field.annotation, "__name__", "") in names:
        return names[field.annotation.__name__]
    words = str(field.annotation).replace("typing.", "").replace(" | None", "")
    if words.startswith("Literal["):
        return words.removeprefix("Literal[").rstrip("]").replace("'", "")
    if words.startswith("tuple["):
        return "list of numbers"
    return names.get(words, words)


def shown(value: Any) -> str:
    """Return a default as it would be written."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def tree() -> str:
    """Return the package, one line a file, with the first line of each docstring."""
    lines = []
    for path in sorted(PACKAGE.rglob("*.py"), key=place):
        relative = path.relative_to(PACKAGE)
        first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition(
            "\n"
        )[0]
        if relative.name == "__init__.py":
            name = "src/unlabeled/" if len(relative.parts) == 1 else f"  {relative.parent}/"
        else:
            name = "  " * len(relative.parts) + relative.name
        lines.append(f"{name:<26} {first}".rstrip())
    return "\n".join(lines) + "\n"


def place(path: Path) -> tuple[bool, str, bool, str]:
    """Sort modules of the package first, then folders; `__init__.py` heads its folder."""
    relative = path.relative_to(PACKAGE)
    return (
        len(relative.parts) > 1,
        str(relative.parent),
        relative.name != "__init__.py",
        relative.name,
    )


def with_block(page: str, name: str, content: str) -> str:
    """Replace what stands between `<!-- name: ... -->` and `<!-- /name -->`."""
    start = page.index("-->", page.index(f"<!-- {name}:")) + len("-->")
    stop = page.index(f"<!-- /{name} -->")
    return f"{page[:start]}\n{content}\n{page[stop:]}"


def main() -> None:
    """Write what has changed."""
    for name, text in pages().items():
        path = ROOT / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")


if __name__ == "__main__":
    main()
