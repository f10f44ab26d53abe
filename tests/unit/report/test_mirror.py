"""`llmrec report --wandb`: the comparison and the plots, read back from the offline run."""

import json

import pytest
from typer.testing import CliRunner

from llmrec.cli import app
from llmrec.records import read_record
from llmrec.seeds import content_hash

pytest.importorskip("wandb")


def test_table_plots_and_figures_are_logged(small_lab, offline, read_back, tmp_path, one_figure):
    arguments = [str(small_lab.folder / "demo.toml"), "--methods", str(small_lab.methods)]
    options = ["--results", str(small_lab.results), "--out", str(tmp_path / "out"), "--format", "csv", "--wandb"]
    done = CliRunner().invoke(app(), ["report", *arguments, *options])
    assert done.exit_code == 0, done.output
    header, rows, summary = read_back(offline, f"report-{content_hash('demo')}")
    assert (header.run_group, header.project) == ("demo", "llmrec")
    record = read_record(small_lab.folder_of(small_lab.plan("ease")))
    assert summary["ml-100k/ease/ndcg@10"] == record.metrics["ndcg@10"]
    logged = {key: value for row in rows for key, value in row.items()}
    assert logged["plots/quality-fit-cost._type"] == "image-file"
    (path,) = offline.glob(f"wandb/offline-run-*/files/{logged['ml-100k/comparison.path']}")
    table = json.loads(path.read_text())
    wanted = {row[2]: row[3] for row in table["data"] if row[1] == "ease"}
    assert wanted["ndcg@10"] == pytest.approx(record.metrics["ndcg@10"])
