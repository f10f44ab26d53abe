"""`llmrec compare`: two runs or two methods, user by user."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from llmrec.cli import app
from llmrec.errors import UserError
from llmrec.records import RunSpec, read_record, write_record
from llmrec.report.compare import blocks_of, duels, find, sentence, table
from llmrec.report.formats import markdown
from llmrec.stats import compare_paired


def methods(lab, *labels):
    blocks = blocks_of(str(lab.folder / "demo.toml"), "", lab.methods, lab.results)
    return [find(label, blocks, lab.results) for label in labels]


def users(lab, label, seed=0):
    return pl.read_parquet(lab.folder_of(lab.plan(label, seed)) / "users.parquet")


def test_two_methods_are_paired_over_users_and_averaged_over_seeds(finished_lab):
    sasrec, ease = methods(finished_lab, "sasrec", "ease")
    found = {duel.metric: duel for duel in duels(sasrec, ease)}
    assert next(iter(found)) == "ndcg@10" and len(found) == 18
    a = np.stack([users(finished_lab, "sasrec", seed)["mrr@5"].to_numpy() for seed in (0, 1, 2)])
    b = users(finished_lab, "ease")["mrr@5"].to_numpy()
    assert found["mrr@5"].paired == compare_paired(a, b)
    gaps = a.mean(axis=0) - b
    duel = found["mrr@5"]
    assert (duel.wins, duel.ties, duel.losses) == ((gaps > 0).sum(), (gaps == 0).sum(), (gaps < 0).sum())
    assert duel.a - duel.b == pytest.approx(duel.paired.difference)


def test_turning_the_question_round_turns_the_answer_round(finished_lab):
    one, other = methods(finished_lab, "ease", "random")
    there, back = duels(one, other)[0], duels(other, one)[0]
    assert there.paired.difference == -back.paired.difference > 0
    assert (there.wins, there.losses) == (back.losses, back.wins)
    assert there.paired.p == back.paired.p < 0.05
    assert sentence(one, other, [there]).startswith("ease is better than random at ndcg@10")
    assert sentence(other, one, [back]).startswith("ease is better than random at ndcg@10")


def test_a_method_against_itself_cannot_be_told_apart(finished_lab):
    ease, same = methods(finished_lab, "ease", "ease")
    (first, *_) = found = duels(ease, same)
    assert (first.wins, first.ties, first.losses, first.paired.p) == (0, 943, 0, 1.0)
    assert "cannot be told apart" in sentence(ease, same, found)


def test_an_interval_over_seeds_that_holds_0_leaves_it_open_whatever_the_test_over_users_says(finished_lab):
    ease, random = methods(finished_lab, "ease", "random")
    duel = duels(ease, random)[0]
    wide = replace(duel, paired=replace(duel.paired, low=-0.001))
    assert wide.paired.p < 0.05
    assert "cannot be told apart" in (said := sentence(ease, random, [wide])) and ".0010, " in said


def test_runs_are_found_by_the_first_characters_of_their_ids(finished_lab):
    ids = [finished_lab.plan("sasrec", seed).spec.run_id for seed in (0, 1)]
    first, second = (find(run_id[:10], [], finished_lab.results) for run_id in ids)
    text = markdown(table(first, second, duels(first, second)))
    assert "sasrec seed 0" in text and "sasrec seed 1" in text
    assert text.count("\n| ") == 19  # heading and 18 metrics
    assert " / " in text.splitlines()[4]


def test_what_cannot_be_compared_is_refused(lab):
    sasrec, bpr = lab.plan("sasrec"), lab.plan("bpr")
    one = find(sasrec.spec.run_id, [], lab.results)
    with pytest.raises(UserError, match="bpr seed 0 has no figures to compare: skipped"):
        find(bpr.spec.run_id, [], lab.results)
    record = read_record(lab.folder_of(sasrec))
    for change, message in (
        (
            {"protocol": record.spec.protocol.model_copy(update={"mask_history": False})},
            "mask_history = True and False",
        ),
        ({"dataset": "other"}, "ran on ml-100k, sasrec seed 0 on other"),
    ):
        spec = RunSpec.model_validate(record.spec.model_copy(update=change).model_dump())
        folder = lab.results / "runs" / spec.run_id / "cpu"
        folder.mkdir(parents=True)
        write_record(record.model_copy(update={"spec": spec, "run_id": spec.run_id}), folder)
        users(lab, "sasrec").write_parquet(folder / "users.parquet")
        with pytest.raises(UserError, match=message):
            duels(one, find(spec.run_id, [], lab.results))


def test_unknown_names_are_refused_with_the_nearest(finished_lab):
    with pytest.raises(UserError, match="Did you mean 'sasrec'"):
        methods(finished_lab, "sasrek")
    with pytest.raises(UserError, match="give their labels and --suite"):
        find("sasrec", [], finished_lab.results)
    with pytest.raises(UserError, match="has no such dataset"):
        blocks_of(str(finished_lab.folder / "demo.toml"), "ml-100", finished_lab.methods, finished_lab.results)


def test_the_command_prints_table_and_verdict(finished_lab):
    suite = ["--suite", str(finished_lab.folder / "demo.toml"), "--methods", str(finished_lab.methods)]
    done = CliRunner().invoke(app(), ["compare", "ease", "tfidf", *suite, "--results", str(finished_lab.results)])
    assert done.exit_code == 0, done.output
    assert "ease is better than tfidf at ndcg@10" in done.output
    assert "wins / ties / losses" in done.output and "precision@20" in done.output
