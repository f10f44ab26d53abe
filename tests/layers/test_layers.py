"""Imports only point down (DESIGN.md, Layers), read from the syntax trees: nothing is imported to find out."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "llmrec"

LAYERS = (
    ("values", "batches beside cardfiles content curve errors method records seeds stats tomlfile types"),
    ("data", "data"),
    (
        "what a method may use",
        "bert best closed_form context discover encode encoders gpt hub letters lm memory neighbours packed parallel "
        "parts reading recbole_data recbole_graph recbole_mend recbole_models "
        "recbole_trainer sequence surprise_data text_features toy training",
    ),
    (
        "the parts of one run",
        "equal_sources evaluate external fitting others prepare provenance sources split staleness stored tasks warm",
    ),
    ("one run", "worker"),
    (
        "many runs",
        "audit child claims contract contract_rating doctor examination fingerprints inventory literature manuscript "
        "merging packing progress publish published ranges recbole_coverage recbole_names recheck report results "
        "runner scoring shards site subject suite template track tuned tuning",
    ),
    ("the surface", "__init__ __main__ cli methods"),
)
"""Modules and packages of llmrec from the bottom up; within a layer they may import one another, but not in circles.

Methods stand at the top: nothing imports them, they are loaded by path."""

RANK = {module: rank for rank, (_, modules) in enumerate(LAYERS) for module in modules.split()}

MAY_SERVE_METHODS = {*LAYERS[0][1].split(), *LAYERS[2][1].split()}

HEAVY = ("torch", "transformers", "sentence_transformers", "implicit", "recbole", "sklearn", "matplotlib", "wandb")


def imported(path: Path) -> Iterator[str]:
    """Dotted names that a file imports anywhere, inside functions too; not those for type checking only."""
    tree = ast.parse(path.read_text("utf-8"))
    for_types = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    ignored = {id(n) for block in for_types for statement in block.body for n in ast.walk(statement)}
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def of_llmrec(path: Path) -> set[str]:
    """Modules and packages directly below llmrec that a file imports; ``__init__`` for names of llmrec itself."""
    found = set()
    for name in imported(path):
        first, _, rest = name.partition(".")
        if first == "llmrec":
            below = rest.split(".")[0]
            found.add(below if below in RANK or (PACKAGE / f"{below}.py").exists() else "__init__")
    return found


def module_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if "_bundled" not in p.parts]
METHODS = [*sorted((ROOT / "baselines").glob("*.py")), *sorted((PACKAGE / "methods").rglob("*.py"))]


def test_imports_point_down():
    assert {module_of(p) for p in FILES} <= RANK.keys(), "give a new module its layer in LAYERS"
    upward = {
        str(path.relative_to(ROOT)): sorted(up)
        for path in FILES
        if (up := {name for name in of_llmrec(path) if RANK[name] > RANK[module_of(path)]})
    }
    assert upward == {}, "these import from a layer above their own"


def test_no_circles():
    graph: dict[str, set[str]] = {}
    for path in FILES:
        graph.setdefault(module_of(path), set()).update(of_llmrec(path) - {module_of(path)})
    while leaves := [module for module, needs in graph.items() if not needs & graph.keys()]:
        for module in leaves:
            del graph[module]
    assert not graph, f"these import one another in a circle: {sorted(graph)}"


@pytest.mark.parametrize("path", METHODS, ids=lambda p: p.stem)
def test_a_method_knows_nothing_of_the_harness(path):
    assert of_llmrec(path) <= MAY_SERVE_METHODS


def test_a_run_knows_nothing_of_the_suite_it_belongs_to():
    assert not of_llmrec(PACKAGE / "worker.py") & {"suite", "runner", "results", "report", "track", "cli"}


def against_the_rules_of_paper(path: Path) -> set[str]:
    """What a file of paper/ imports and must not: figures and tables are made of published results alone."""
    names = set(imported(path))
    heavy = {name for name in names if name.split(".")[0] in set(HEAVY) - {"matplotlib"}}
    allowed = {
        "__init__",
        "claims",
        "errors",
        "manuscript",
        "published",
        "records",
        "report",
        "results",
        "seeds",
        "stats",
        "suite",
        "types",
    }
    return heavy | {f"llmrec.{name}" for name in of_llmrec(path) - allowed}


def test_paper_reads_results_and_nothing_else(tmp_path):
    example = tmp_path / "figures.py"
    example.write_text(
        "import matplotlib\nfrom llmrec import load_results\n\ndef f():\n    import torch\n    import llmrec.worker\n"
    )
    assert against_the_rules_of_paper(example) == {"torch", "llmrec.worker"}
    assert {p: bad for p in (ROOT / "paper").rglob("*.py") if (bad := against_the_rules_of_paper(p))} == {}


@pytest.mark.parametrize("module", ["llmrec", "llmrec.cli", "llmrec.worker", "llmrec.runner"])
def test_nothing_heavy_is_imported_at_the_start(module):
    code = f"import sys, {module}; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_the_checkouts_datasets_are_not_hugging_faces():
    spec = importlib.util.find_spec("datasets")
    assert spec is None or ROOT / "datasets" not in map(Path, spec.submodule_search_locations or [])


@pytest.mark.slow
def test_a_transformers_trainer_takes_a_step_from_the_repositorys_root(tmp_path):
    """With the checkout on sys.path, transformers takes datasets/ for Hugging Face's package and its Trainer breaks."""
    pytest.importorskip("accelerate")
    code = f"""
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
torch.manual_seed(0)
model = BertForSequenceClassification(BertConfig(
    vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
before = model.classifier.weight.detach().clone()
rows = [dict(input_ids=[1, 2, 3], labels=i % 2) for i in range(4)]
arguments = TrainingArguments({str(tmp_path)!r}, max_steps=1, use_cpu=True, report_to=[], save_strategy="no")
Trainer(model, arguments, train_dataset=rows).train()
print("moved", bool((model.classifier.weight != before).any()))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "moved True" in done.stdout, done.stderr
