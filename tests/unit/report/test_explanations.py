"""The table of explanations and the command that shows the sentences."""

import dataclasses
import json

import pytest
from typer.testing import CliRunner

from llmrec.cli import app
from llmrec.report.evidence import gather
from llmrec.report.explanations import explanations_table, sentences
from llmrec.report.write import FORMATS, Report, write

COUNTS = {
    "explanations": 4, "explanations_with_fact": 3, "explanations_naming_item": 2, "explanations_all_true": 1,
    "facts": 6, "facts_true": 3, "facts_title": 4, "facts_title_true": 1, "explanation_cpu_ms": 1500,
}  # fmt: skip
TOLD = {
    "request": "a film about war", "item": "7", "title": "Heat (1995)", "liked": "Alien; Her",
    "sentence": '"Heat" [1995] is a war film.', "facts": "true title Heat; FALSE category war",
}  # fmt: skip


@pytest.fixture
def block(finished_lab):
    """Two rows of the finished benchmark; one of them explains, in its two finished runs."""
    (block,) = gather(finished_lab.suite, root=finished_lab.results)
    lines = [line for line in block.lines if line.label in ("random", "gpt-semantic-id")]
    for place, line in enumerate(lines):
        if line.label == "gpt-semantic-id":
            runs = [
                dataclasses.replace(
                    run, record=run.record.model_copy(update={"counts": {**run.record.counts, **COUNTS}})
                )
                for run in line.runs
            ]
            lines[place] = dataclasses.replace(line, runs=tuple(runs))
    return dataclasses.replace(block, lines=tuple(lines))


def test_shares_are_those_of_all_runs_together(block):
    table = explanations_table(block)
    (row,) = table.rows
    figures = {key: cell.value for key, cell in row.cells.items()}
    assert figures == {
        "explanations": 8, "with_fact": 0.75, "naming_item": 0.5, "all_true": 1 / 3, "facts": 1.5, "true": 0.5,
        "title": 0.25, "category": None, "year": None, "liked": None, "cpu": 3.0,
    }  # fmt: skip
    nobody = dataclasses.replace(block, lines=block.lines[:1])
    assert explanations_table(nobody) is None


def test_every_format_has_the_table(block, tmp_path, one_figure):
    written = write([Report(block)], tmp_path, FORMATS, "T", "demo")
    texts = {
        path.suffix: path.read_text("utf-8") for path in written if path.suffix in (".md", ".tex", ".csv", ".html")
    }
    assert len(texts) == 4
    assert all("explanations" in text.lower() for text in texts.values())


def test_the_command_shows_table_and_sentences(finished_lab, monkeypatch, block):
    monkeypatch.setattr("llmrec.report.evidence.gather", lambda *_, **__: [block])
    run = block.lines[-1].runs[0]
    path = run.folder / "explanations.jsonl"
    path.write_text((json.dumps(TOLD) + "\n") * 2)
    try:
        assert sentences(run) == [TOLD, TOLD] and sentences(block.lines[-1].runs[1]) == []
        options = ["--methods", str(finished_lab.methods), "--results", str(finished_lab.results)]
        suite = str(finished_lab.folder / "demo.toml")
        shown = CliRunner().invoke(app(), ["explain", suite, "--show", "1", *options])
        assert shown.exit_code == 0, shown.output
        assert shown.output.count('"Heat" [1995] is a war film.') == 1
        assert "liked: Alien; Her" in shown.output and "FALSE category war" in shown.output
        wrong = CliRunner().invoke(app(), ["explain", suite, "--label", "radnom", *options])
        assert "Did you mean 'random'" in str(wrong.exception)
    finally:
        path.unlink()


def test_a_suite_in_which_nobody_explains_is_told(finished_lab):
    options = ["--methods", str(finished_lab.methods), "--results", str(finished_lab.results)]
    shown = CliRunner().invoke(app(), ["explain", str(finished_lab.folder / "demo.toml"), *options])
    assert "no finished run explains anything" in str(shown.exception)
