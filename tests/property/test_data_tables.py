"""Canonical tables, whatever the rows: k-cores, ids, order; against loops that are plainly right."""

from collections import Counter

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.data import tables
from llmrec.data.cards import Card

PAIRS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=60)
WORDS = st.text("019ab", min_size=1, max_size=4)


def events(pairs, times=None):
    return pl.DataFrame(
        {
            "user": [u for u, _ in pairs],
            "item": [i for _, i in pairs],
            "value": [1.0] * len(pairs),
            "time": times or [None] * len(pairs),
        },
        schema_overrides={"value": pl.Float32, "time": pl.Int64},
    )


def card(time="order"):
    source = {"interactions": {"path": "x.csv", "columns": {"user": "u", "item": "i"}}}
    return Card(name="small", title="Small", time=time, sources=[source])


def core_by_loops(pairs, user_core, item_core):
    kept = list(range(len(pairs)))
    while True:
        users, items = Counter(pairs[n][0] for n in kept), Counter(pairs[n][1] for n in kept)
        left = [n for n in kept if users[pairs[n][0]] >= user_core and items[pairs[n][1]] >= item_core]
        if left == kept:
            return kept
        kept = left


@given(PAIRS, st.integers(0, 4), st.integers(0, 4), st.booleans())
def test_a_core_is_the_largest_in_which_all_have_enough(pairs, user_core, item_core, as_text):
    frame = events(pairs)
    if as_text:
        frame = frame.with_columns(pl.col("user", "item").cast(pl.String))
    kept = np.flatnonzero(tables.core(frame, user_core, item_core)).tolist()
    assert kept == core_by_loops(pairs, user_core, item_core)


@given(st.lists(WORDS, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_ids_are_the_same_in_whatever_order_they_come(words, random):
    turned = words[:]
    random.shuffle(turned)
    ids = tables.sorted_ids(pl.Series(words))
    assert ids.texts == tables.sorted_ids(pl.Series(turned), pl.Series(words[:1])).texts
    assert sorted(ids.texts) == sorted(set(words))
    assert ids.numbers(pl.Series(words)).to_list() == [ids.texts.index(word) for word in words]
    if all(word.isdecimal() for word in words):
        assert [int(text) for text in ids.texts] == sorted(int(text) for text in ids.texts)


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=30), st.integers(-3, 2**62))
def test_numbers_and_their_texts_have_the_same_ids(numbers, other):
    ids, texts = tables.sorted_ids(pl.Series(numbers)), tables.sorted_ids(pl.Series(map(str, numbers)))
    assert ids.texts == texts.texts == [str(n) for n in sorted(set(numbers))]
    asked = pl.Series([*numbers, other])
    expected = [ids.texts.index(str(n)) if n in numbers else None for n in asked]
    assert ids.numbers(asked).to_list() == texts.numbers(asked.cast(pl.String)).to_list() == expected


@given(PAIRS, st.lists(st.integers(0, 3), min_size=60, max_size=60), st.randoms(use_true_random=False))
def test_histories_are_in_time_and_then_as_the_file_has_them(pairs, times, random):
    frame = events(pairs, times[: len(pairs)])
    users, items = tables.sorted_ids(frame["user"]), tables.sorted_ids(frame["item"])
    made, _ = tables.in_order(card("exact"), frame, users, items)
    rows = sorted(enumerate(frame.rows()), key=lambda pair: (pair[1][0], pair[1][3], pair[0]))
    expected = [(users.texts.index(str(u)), items.texts.index(str(i)), t) for _, (u, i, _, t) in rows]
    assert made.frame.select("user", "item", "time").rows() == expected
    assert all(made.frame.group_by("user").agg(pl.col("order") == pl.int_range(pl.len()))["order"].list.all())


@settings(max_examples=20)
@given(PAIRS)
def test_the_steps_say_what_each_left(pairs):
    this = card().model_copy(update={"filters": card().filters.model_copy(update={"min_value": 1.0, "item_core": 1})})
    kept, steps = tables.filtered(this, events(pairs), pl.DataFrame())
    assert len(kept) == len(pairs)
    counts = (len({u for u, _ in pairs}), len({i for _, i in pairs}), len(pairs))
    assert steps.rows() == [("as read", *counts), ("value >= 1", *counts)]
