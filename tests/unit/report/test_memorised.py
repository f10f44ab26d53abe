"""What `llmrec probe` found stands beside the rows of the model that it asked, and nowhere else."""

import json
from dataclasses import asdict, replace

import pytest

from llmrec.errors import UserError
from llmrec.lm.probe import Completions, Share
from llmrec.report import formats, memorised
from llmrec.report.evidence import Line
from llmrec.report.table import main_table
from llmrec.report.words import metric_column
from llmrec.site.method_views import memorised as on_the_site

MODEL, REVISION = "Some & Model", "sha256:ab"
FOUND = Completions(Share(11, 200, 0.055, 0.031, 0.0958), Share(80, 200, 0.4, 0.3346, 0.4692), 0.1, [])


@pytest.fixture
def lines(finished_lab, tmp_path):
    """Two rows; the small GPT's records say that it asked a pretrained model. Their results folder is a new one."""
    from llmrec.report.evidence import gather

    memorised._probes.cache_clear()
    (block,) = gather(finished_lab.suite, root=finished_lab.results)
    chosen = []
    for line in block.lines:
        if line.label in ("random", "gpt-semantic-id"):
            asked = {MODEL: REVISION} if line.family == "gpt" else {"encoder": "sha256:cd"}
            runs = []
            for run in line.runs:
                made = run.record.provenance.model_copy(update={"models": asked})
                record = run.record.model_copy(update={"provenance": made, "params": {"reader": {"model": MODEL}}})
                runs.append(replace(run, record=record, folder=tmp_path / "runs" / "ab" / "cpu"))
            chosen.append(Line(line.label, line.family, tuple(runs)))
    return replace(block, lines=tuple(chosen)), tmp_path / "probes"


def write_probe(folder, **changes):
    folder.mkdir(exist_ok=True)
    told = {"dataset": "ml-100k", "model": MODEL, "revision": REVISION, "titles": asdict(FOUND)} | changes
    (folder / "ml-100k-model.json").write_text(json.dumps(told))


def test_a_probe_is_a_note_of_the_models_rows(lines):
    block, folder = lines
    write_probe(folder, lines=asdict(replace(FOUND, exact=Share(0, 60, 0.0, 0.0, 0.06))))
    table = main_table(block, [metric_column("ndcg@10")], "", lambda line, metric: None, set())
    text = formats.markdown(table)
    assert (
        "Has Some & Model seen ml-100k? Given the first half of 200 titles, it goes on exactly in 5.5 % [3.1, 9.6]"
        in text
    )
    assert "the right end among ten in 40.0 % [33.5, 46.9] (chance 10 %); of 60 lines" in text
    assert sum("Has Some" in dict(table.notes)[n] for row in table.rows for n in row.notes) == 1
    assert on_the_site(block.lines[-1]) == memorised.memorised(block.lines[-1])
    assert r"Some \& Model" in formats.latex(table)


@pytest.mark.parametrize("changes", [{}, {"revision": "sha256:other"}, {"dataset": "ml-1m"}])
def test_a_model_that_was_not_probed_is_told_with_the_command(lines, changes):
    block, folder = lines
    if changes:
        write_probe(folder, **changes)
    quiet, asking = sorted(block.lines, key=lambda line: line.family == "gpt")
    assert memorised.memorised(quiet) == []
    (said,) = memorised.memorised(asking)
    assert said == "Not probed: whether Some & Model has seen ml-100k (llmrec probe ml-100k --model 'Some & Model')."


@pytest.mark.parametrize("text", ["{", "[]", '{"dataset": "ml-100k", "model": "m", "revision": "r", "titles": {}}'])
def test_a_broken_probe_is_one_clear_message(lines, text):
    block, folder = lines
    folder.mkdir()
    (folder / "broken.json").write_text(text)
    with pytest.raises(UserError, match=r"broken\.json: not as `llmrec probe` writes it .* probe again"):
        memorised.memorised(block.lines[-1])
