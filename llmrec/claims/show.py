"""Claims as a table: in the terminal and in LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmrec.claims.decide import Decided, Test
from llmrec.report.formats import latex_text
from llmrec.report.significance import LEVEL, p_words
from llmrec.report.words import NO_FIGURE, listed, p_value, signed

if TYPE_CHECKING:
    from rich.console import Console

COLOURS = {"supported": "green", "refuted": "red", "not decided": "yellow", "not yet run": "bright_black"}
RUNS_SHOWN = 2  # ids of runs in a cell; `as_data` and the manifest have all of them


def effect(test: Test) -> str:
    """The difference with its interval: "+.0123 [+.0045, +.0201]"."""
    if test.difference is None:
        return NO_FIGURE
    if test.low is None or test.high is None:
        return signed(test.difference)
    return f"{signed(test.difference)} [{signed(test.low)}, {signed(test.high)}]"


def why(test: Test) -> str:
    """What kept a test from deciding; '' where it decided or the figures are simply too close."""
    if test.missing or test.problem or test.verdict != "not decided" or test.corrected is None:
        return test.missing or test.problem
    return "the interval over users and seeds does not agree with p" if test.corrected < LEVEL else ""


def print_claims(found: Sequence[Decided], console: Console) -> None:
    """Each claim with its verdict, and its tests below it."""
    from rich.table import Table
    from rich.text import Text

    for decided in found:
        said = f" (but the paper says: {decided.claim.says})" if decided.contradicted else ""
        head = (f"{decided.verdict}{said}", f"bold {COLOURS[decided.verdict]}")
        console.print(Text.assemble((decided.claim.id, "bold"), ": ", head, f"  {decided.claim.text}"))
        grid = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for _ in range(7):
            grid.add_column(overflow="fold")
        for test in decided.tests:
            p = f"p {p_words(test.corrected)}" if test.corrected is not None else ""
            verdict = Text(test.verdict + (f": {why(test)}" if why(test) else ""), style=COLOURS[test.verdict])
            cells = (f"  {test.dataset}", test.metric, _pair(test), effect(test) if test.difference else "", p)
            grid.add_row(*(Text(cell) for cell in cells), verdict, Text(_runs(test), style="dim"))
        console.print(grid)
    counts = {verdict: sum(decided.verdict == verdict for decided in found) for verdict in COLOURS}
    said = ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number)
    console.print(
        f"{len(found)} claims: {said}. p is Holm-corrected over all tests. All run ids: llmrec claims --json",
        highlight=False,
    )


def as_data(found: Sequence[Decided]) -> list[dict[str, Any]]:
    """Claims with their verdicts and tests, for JSON."""
    return [
        {
            "id": decided.claim.id, "text": decided.claim.text, "source": decided.claim.source,
            "verdict": decided.verdict, "says": decided.claim.says,
            "tests": [
                {
                    "dataset": test.dataset, "metric": test.metric, "a": test.a, "b": test.b,
                    "difference": test.difference, "low": test.low, "high": test.high, "p": test.p,
                    "corrected_p": test.corrected, "verdict": test.verdict, "why": why(test), "runs": list(test.runs),
                }
                for test in decided.tests
            ],
        }
        for decided in found
    ]  # fmt: skip


def latex(found: Sequence[Decided]) -> str:
    """A longtable for booktabs: each claim, then its tests."""
    head = " & ".join(("Dataset", "Metric", "Compared", r"$a-b$ [95\,\%]", "$p$", "Verdict")) + r" \\"
    lines = [
        "% needs \\usepackage{booktabs,longtable,array}",
        r"\setlength{\tabcolsep}{3pt}",
        r"\begin{longtable}{@{}>{\raggedright}p{0.13\linewidth}>{\raggedright}p{0.105\linewidth}"
        r">{\raggedright}p{0.27\linewidth}p{0.145\linewidth}r>{\raggedright\arraybackslash}p{0.25\linewidth}@{}}",
        r"\toprule", head, r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot",
    ]  # fmt: skip
    for number, decided in enumerate(found):
        lines += [r"\addlinespace"] if number else []
        cite = f"~\\cite{{{decided.claim.cite}}}" if decided.claim.cite else ""
        text = f"\\textbf{{{latex_text(decided.claim.text)}}}{cite}: \\emph{{{decided.verdict}}}"
        lines.append(_across(text) + r" \\*")
        lines += [_latex_row(test) for test in decided.tests if not test.missing]
        for why_not in dict.fromkeys(test.missing for test in decided.tests if test.missing):
            datasets = listed([test.dataset for test in decided.tests if test.missing == why_not])
            lines.append(_across(latex_text(f"{datasets}: not yet run: {why_not}")) + r" \\")
    return "\n".join([*lines, r"\end{longtable}"]) + "\n"


def _across(text: str) -> str:
    return rf"\multicolumn{{6}}{{@{{}}p{{\linewidth}}@{{}}}}{{\raggedright {text}}}"


def _latex_row(test: Test) -> str:
    p = p_value(test.corrected) if test.corrected is not None else NO_FIGURE
    verdict = test.verdict + (f": {why(test)}" if why(test) else "")
    cells = (test.dataset, test.metric, _pair(test) or NO_FIGURE, effect(test), p, verdict)
    return " & ".join(latex_text(cell) for cell in cells) + r" \\"


def _pair(test: Test) -> str:
    return f"{test.a} \N{EN DASH} {test.b}" if test.b else test.a


def _runs(test: Test) -> str:
    more = len(test.runs) - RUNS_SHOWN
    return " ".join(run[:8] for run in test.runs[:RUNS_SHOWN]) + (f" +{more}" if more > 0 else "")
