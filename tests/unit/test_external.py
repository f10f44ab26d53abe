"""Reading answers that other programs made, and the one clear message for each mistake in them."""

import numpy as np
import polars as pl
import pytest

from llmrec.errors import UserError
from llmrec.external import read_file

ROWS = [("u1", "i7", 0.5), ("u1", "i2", 0.25), ("u2", "i7", 2.0)]


def as_rows(frame):
    return list(frame.select("user", "item", "score").iter_rows())


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_the_three_formats_say_the_same(tmp_path):
    csv = write(tmp_path, "a.csv", "item,user,score,note\n" + "".join(f"{i},{u},{s},x\n" for u, i, s in ROWS))
    tsv = write(tmp_path, "a.tsv", "user\titem\tscore\n" + "".join(f"{u}\t{i}\t{s}\n" for u, i, s in ROWS))
    trec = write(tmp_path, "a.run", "".join(f"{u} Q0 {i} {n}  {s}\ttag\n" for n, (u, i, s) in enumerate(ROWS)))
    parquet = tmp_path / "a.parquet"
    pl.DataFrame(ROWS, schema=["user", "item", "score"], orient="row").write_parquet(parquet)
    assert as_rows(read_file(csv)) == as_rows(read_file(tsv)) == ROWS
    assert as_rows(read_file(trec)) == as_rows(read_file(parquet)) == ROWS


def test_ids_that_look_like_numbers_stay_text(tmp_path):
    path = write(tmp_path, "a.csv", "user,item,score\n007,1.0,1\n")
    assert as_rows(read_file(path)) == [("007", "1.0", 1.0)]
    numbers = tmp_path / "a.parquet"
    pl.DataFrame({"user": [7], "item": [1], "rank": [1]}).write_parquet(numbers)
    assert as_rows(read_file(numbers)) == [("7", "1", -1.0)]


def test_small_ranks_are_good_and_scores_go_before_ranks(tmp_path):
    ranked = read_file(write(tmp_path, "a.csv", "user,item,rank\nu,a,1\nu,b,2\n"))
    assert np.diff(ranked["score"].to_numpy())[0] < 0
    both = read_file(write(tmp_path, "b.csv", "user,item,rank,score\nu,a,1,0.1\nu,b,2,0.9\n"))
    assert both["score"].to_list() == [0.1, 0.9]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", "[]", "expected a file that ends in .csv"),
        ("a.csv", "user,thing,score\nu,a,1\n", "no column 'item'; found: user, thing, score"),
        ("a.csv", "user,item\nu,a\n", "no column 'score' or 'rank'"),
        ("a.csv", "user,item,score\nu,a,1\nu,b,high\n", "line 3: score 'high' is no finite number"),
        ("a.csv", "user,item,score\nu,a,nan\n", "line 2: score 'nan' is no finite number"),
        ("a.csv", "user,item,score\nu,a,\n", "line 2: score '' is no finite number"),
        ("a.csv", "user,item,score\nu,a,1\n,b,1\n", "line 3: user or item is empty"),
        ("a.csv", "user,item,score\nu,a,1\nv,a,1\nu,a,2\n", "line 4: item 'a' stands twice in the list of user 'u'"),
        ("a.csv", "", "cannot be read"),
        ("a.run", "u Q0 a 1 0.5 tag\nu a 1\n", "line 2: 3 fields, expected 6"),
        ("a.parquet", "no parquet", "cannot be read"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path, name, text, expected):
    path = write(tmp_path, name, text)
    with pytest.raises(UserError) as caught:
        read_file(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_file(tmp_path / "none.csv")
