"""llmrec paper: the same bytes, what belongs to what, and every mistake before LaTeX meets it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from llmrec.cli import paper as commands
from llmrec.errors import UserError
from llmrec.manuscript import NotYet, make, pdf, style
from llmrec.manuscript.numbers import slug
from llmrec.manuscript.proof import read_proof
from llmrec.manuscript.register import find_artefacts
from llmrec.published.freeze import freeze
from llmrec.published.tables import published_names, write_frozen

ROOT = Path(__file__).resolve().parents[3]

FIGURES = """
from llmrec.manuscript import NotYet, canvas, figure

@figure
def two_bars(results):
    block = results.block("demo", "ml-100k")
    with canvas((3, 2)) as (drawn, axes):
        axes.barh([line.label for line in block.finished], [line.figures("ndcg@10")[0] for line in block.finished])
        axes.set_xlabel("ndcg@10 (今日新闻 50 %)")
    return drawn

@figure
def not_there(results):
    return results.block("beauty", "amazon2014-beauty")
"""
TABLES = """
from llmrec.manuscript import table
from llmrec.report.formats import latex_text

@table
def odd_names(results):
    results.block("demo", "ml-100k")
    return latex_text("50 % of A&B_c") + " 今日新闻 end"
"""
TEXT = r"""
\documentclass{article}
\begin{document}
\fig{two-bars} \tab{odd-names} % a comment with 0.5 and \fig{nothing}
The best is \N{demo/best}, \N{demo/ease/ndcg@10} \cite{holm}.
\end{document}
"""
CLAIMS = """
[[claims]]
id = "one"
text = "EASE beats chance"
source = "a test"
datasets = ["ml-100k"]
metrics = ["ndcg@10"]
a = { methods = ["ease"] }
b = { methods = ["random"] }
seeds = 3
users = 300
says = "not decided"
"""


@pytest.fixture(scope="module")
def results(finished_lab, tmp_path_factory):
    """A results folder with one published suite."""
    lab = type(finished_lab)(tmp_path_factory.mktemp("paper"), users=40)
    lab.set_up()
    lab.keep("random", "ease", "tfidf", "sasrec")
    lab.fill(bad=False)
    write_frozen(freeze(lab.suite, root=lab.results), "demo", lab.results)
    return lab.results


@pytest.fixture
def paper(tmp_path):
    """A paper's folder."""
    texts = {"figures.py": FIGURES, "tables.py": TABLES, "main.tex": TEXT, "claims.toml": CLAIMS,
             "refs.bib": "@article{holm,\n}\n"}  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def run(paper, results, **options):
    commands.paper(**{"check": False, "only": None, "pdf": False, "folder": paper, "results": results} | options)


def test_all_is_made_twice_with_the_same_bytes_and_checked(paper, results, capsys):
    run(paper, results)
    said = capsys.readouterr().out
    assert "left out: not-there: suite 'beauty' is not published: llmrec run beauty && llmrec publish beauty" in said
    names = sorted(str(p.relative_to(paper / "generated")) for p in (paper / "generated").rglob("*.*"))
    assert names == [
        "figures/two-bars.pdf",
        "figures/two-bars.png",
        "manifest.json",
        "numbers.tex",
        "tables/odd-names.tex",
    ]
    run(paper, results, check=True)
    assert "5 files are byte for byte" in capsys.readouterr().out
    (paper / "generated" / "tables" / "odd-names.tex").write_text("typed by hand")
    (paper / "generated" / "stray.png").touch()
    with pytest.raises(
        UserError, match=r"tables/odd-names.tex differs; stray.png belongs to no function.*llmrec paper"
    ):
        run(paper, results, check=True)
    run(paper, results, only=["odd-names"])
    assert "50 \\% of A\\&B\\_c \\zh{今日新闻} end" in (paper / "generated" / "tables" / "odd-names.tex").read_text(
        "utf-8"
    )
    assert (paper / "generated" / "stray.png").exists()  # --only touches nothing else


def test_the_manifest_leads_from_artefact_to_runs_to_commits(paper, results):
    made = make.make(paper, paper / "out", results)
    manifest = json.loads((paper / "out" / "manifest.json").read_text("utf-8"))
    assert manifest == made.manifest
    entry = manifest["artefacts"]["figures/two-bars.pdf"]
    assert entry["made_by"] == "figures.two_bars" and len(entry["runs"]) == 8
    assert {manifest["runs"][run_id] for run_id in entry["runs"]} == {"4f1c09a2be77"}
    assert set(manifest["not_yet"]) == {"not-there"} and set(manifest["published"]) == {"demo"}


def test_names_are_no_mathematics(tmp_path):
    with style.canvas((3, 2)) as (drawn, axes):
        axes.barh(["50 $ & a_b^ $ %", "$x$"], [1, 2])
        axes.set_xlabel("$ndcg@10$")
    assert style.save(drawn, tmp_path / "odd") == []
    assert not any(text.get_parse_math() for text in [axes.xaxis.label, *axes.get_yticklabels()])


def test_chinese_titles_do_not_break_a_figure(paper, results):
    made = make.make(paper, paper / "out", results, only=["two-bars"])
    assert (paper / "out" / "figures" / "two-bars.pdf").read_bytes().startswith(b"%PDF")
    assert all("Install one: apt-get install fonts-noto-cjk" in notice for notice in made.notices)


@pytest.mark.parametrize(
    "file, old, new, message",
    [
        (
            "main.tex",
            r"\fig{two-bars}",
            r"\fig{two-bar}",
            r"main.tex:4: \\fig\{two-bar\}: no such figure. Did you mean 'two-b",
        ),
        ("main.tex", r"\tab{odd-names}", r"\tab{two-bars}", r"no such table"),
        ("main.tex", "demo/ease/ndcg@10", "demo/eese/ndcg@10", r"main.tex:5: .*no such number. Did you mean 'demo/e"),
        ("main.tex", r"\cite{holm}", r"\cite{home}", r"no such work in refs.bib. Did you mean 'holm'"),
        ("main.tex", "The best", "Of .123", r"main.tex:5: the figure '.123' is typed"),
        ("main.tex", "The best", r"It gains 12\,\% over", r"main.tex:5: the figure '12\\\\,\\\\%' is typed"),
        (
            "figures.py",
            "@figure\ndef two_bars",
            "@figure\ndef two_bars(",
            r"figures.py:5: cannot be loaded: SyntaxError",
        ),
        (
            "figures.py",
            "    with canvas",
            "    results.blok\n    with canvas",
            r"figures.py:\d+: figure 'two-bars' failed: AttributeError.* llmrec paper --only two-bars",
        ),
        (
            "figures.py",
            "return drawn",
            "return None",
            r"figures.py:\d+: figure 'two-bars' returns nothing, not a matpl",
        ),
        ("tables.py", "odd_names", "two_bars", r"tables.py: there are two artefacts called 'two-bars'"),
        (
            "claims.toml",
            'says = "not decided"',
            'says = "refuted"',
            r"one: the paper says 'refuted', the records say 'not d",
        ),
        ("claims.toml", '"ease"', '"eas"', r"no method or row 'eas'. Did you mean 'ease'"),
    ],
)
def test_mistakes_are_said_before_anything_is_written(paper, results, file, old, new, message):
    path = paper / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(UserError, match=message):
        run(paper, results)
    assert not (paper / "generated").exists()


def test_only_knows_the_papers_names(paper, results):
    with pytest.raises(
        UserError, match=r"--only odd-name: the paper has no such figure or table. Did you mean 'odd-names'"
    ):
        run(paper, results, only=["odd-name"])


def test_without_latex_one_sentence_says_what_to_install(paper, results, capsys, monkeypatch):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    run(paper, results, pdf=True)
    assert "no PDF: neither latexmk nor tectonic is installed. Run: apt-get install" in capsys.readouterr().out
    assert (paper / "generated" / "numbers.tex").exists()


def test_errors_of_latex_are_shown_with_their_lines_and_nothing_else():
    log = "\n".join([
        "This is pdfTeX", "(./main.tex", "./main.tex:12: Undefined control sequence.", "<recently read> \\foo", "",
        "l.12 the \\foo", "          bar", *["(some.sty)"] * 500, "! Emergency stop.", "<*> main.tex",
    ])  # fmt: skip
    assert pdf.failing_lines(log) == "./main.tex:12: Undefined control sequence.\n  l.12 the \\foo\n! Emergency stop."


@pytest.mark.skipif(not shutil.which("latexmk"), reason="no LaTeX here")
def test_latex_errors_name_file_and_line(paper):
    (paper / "main.tex").write_text("\\documentclass{article}\n\\begin{document}\n\\nonsense\n\\end{document}\n")
    with pytest.raises(UserError, match=r"LaTeX failed.\n./main.tex:3: Undefined control sequence.\n  l.3 \\nonsense"):
        pdf.build_pdf(paper)


# The repository's own paper


def test_the_papers_own_text_names_only_what_there_is():
    artefacts = find_artefacts(ROOT / "paper")
    proof = read_proof(ROOT / "paper" / "main.tex")
    numbers = ROOT / "paper" / "generated" / "numbers.tex"
    if not numbers.exists():
        pytest.skip("nothing is generated yet")
    lines = numbers.read_text("utf-8").splitlines()
    proof.check_text(artefacts, ROOT / "paper")
    proof.check_numbers({line.partition("n:")[2].partition("\\endcsname")[0] for line in lines})
    shown = {name for name in artefacts if f"{{{name}}}" in "\n".join(proof.lines)}
    assert shown == set(artefacts), "the paper shows every figure and table that it makes"


def test_pareto_ranks_and_cliques():
    module = {}
    exec((ROOT / "paper" / "figures.py").read_text("utf-8"), module)
    assert module["pareto"]([(1, 0.1), (2, 0.05), (3, 0.2), (3, 0.15)]) == [(1, 0.1), (3, 0.2)]
    ranks = module["mean_ranks"](np.array([[0.3, 0.0], [0.1, 0.0], [0.1, 0.5]]))
    assert ranks.tolist() == [[1.0, 2.5], [2.5, 2.5], [2.5, 1.0]]
    rng = np.random.default_rng(0)
    near, far = rng.normal(0, 1, (2, 200)), rng.normal(5, 1, (1, 200))
    assert module["cliques"](np.concatenate([near, far])) == [(0, 1)]
    assert (
        module["broken"]("hetrec2011-lastfm-2k") == "hetrec2011-\nlastfm-2k"
        and module["broken"]("ml-100k") == "ml-100k"
    )


def generator(figure, **params):
    """A finished row of the generator on ten users with one seed."""
    values = np.full((1, 10), figure)
    values[0, 0] = 1.0
    settings = {"signal": "text", "search": "beam", "beams": 50, "width": 64} | params
    return SimpleNamespace(records=[SimpleNamespace(params=settings)], by_seed=((),), figures=lambda _: [figure],
                           values=lambda _: values)  # fmt: skip


def test_ablations_compare_rows_that_differ_in_nothing_else(tmp_path):
    module = {}
    exec((ROOT / "paper" / "figures.py").read_text("utf-8"), module)
    lines = [generator(0.1, signal="random"), generator(0.2), generator(0.19, beams=10), generator(0.2, search="exact"),
             generator(0.9, signal="random", width=128)]  # fmt: skip
    block = SimpleNamespace(dataset="beauty", task=SimpleNamespace(primary="ndcg@10"))
    found = SimpleNamespace(interval=lambda *_: (0.05, 0.3))
    results = SimpleNamespace(lines_of=lambda _: [(block, lines)], findings=lambda _: found)
    ((_, signals),) = module["one_a_dataset"](module["alike"](results, ("signal",)))
    assert [line.figures("") for line in signals] == [[0.1], [0.2]]
    assert module["agreement"](lines[2].values(""), lines[3].values("")) == 0.1
    for name in ("semantic_ids", "beams_exactness"):
        assert style.save(module[name].make(results), tmp_path / name) == []
    for name in ("semantic_ids", "beams_exactness"):
        with pytest.raises(NotYet, match="not yet run"):
            module[name].make(SimpleNamespace(lines_of=lambda _: []))


def test_rows_with_odd_labels_have_plain_names():
    assert slug("tfidf, labels readable") == "tfidf-labels-readable" and slug("A_b & 50 %") == "a-b-50"


def test_making_a_paper_imports_no_torch(paper, results):
    code = (
        "import sys; from pathlib import Path; from llmrec.manuscript import make;"
        f"make.make(Path({str(paper)!r}), Path({str(paper / 'out')!r}), Path({str(results)!r}), ['odd-names']);"
        "print([m for m in ('torch', 'transformers', 'sklearn', 'recbole', 'requests') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_what_is_generated_was_made_from_what_is_published():
    """Cheap word that somebody forgot `llmrec paper`; `llmrec paper --check` compares every byte."""
    import hashlib

    manifest = ROOT / "paper" / "generated" / "manifest.json"
    if not manifest.exists():
        pytest.skip("nothing is generated yet")
    told = json.loads(manifest.read_text("utf-8"))["published"]
    published = ROOT / "results" / "published"
    found = {
        name: [hashlib.sha256((published / f"{name}{end}.parquet").read_bytes()).hexdigest() for end in ("", ".users")]
        for name in published_names(ROOT / "results")
    }
    assert found == told, "run: llmrec paper"
