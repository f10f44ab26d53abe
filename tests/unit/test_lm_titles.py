"""Titles are made distinct, filled and cut by the rules that the module states."""

from __future__ import annotations

import polars as pl
import pytest

from llmrec.errors import UserError
from llmrec.lm.titles import title_tokens, unique_titles
from llmrec.types import Items


def catalogue(*rows: tuple[str, str, str, list[str]]) -> Items:
    return Items(pl.DataFrame(rows, schema=["raw_id", "title", "text", "categories"], orient="row"))


def letters(texts: list[str]) -> list[list[int]]:
    return [[ord(letter) for letter in text] for text in texts]


def test_an_empty_title_falls_back_on_the_text_then_on_the_raw_id() -> None:
    titles, counts = unique_titles(catalogue(("7", " ", "a  film", []), ("8", "", " ", []), ("9", "Heat", "", [])))
    assert titles == ["a film", "untitled 8", "Heat"]
    assert counts == {"empty_titles": 2, "shared_titles": 0}


def test_shared_titles_are_told_apart_by_their_last_category() -> None:
    titles, counts = unique_titles(
        catalogue(
            ("1", "Emma", "", ["Books", "Paperback"]), ("2", "Emma", "", ["Books", "Audio"]), ("3", "Ulla", "", [])
        )
    )
    assert titles == ["Emma (Paperback)", "Emma (Audio)", "Ulla"] and counts["shared_titles"] == 1


def test_else_they_are_numbered_by_raw_id_past_titles_that_are_taken() -> None:
    rows = (("c", "Emma", "", []), ("a", "Emma", "", ["x"]), ("b", "Emma", "", ["x"]), ("d", "Emma (2)", "", []))
    titles, _ = unique_titles(catalogue(*rows))
    assert titles == ["Emma (4)", "Emma", "Emma (3)", "Emma (2)"]
    backwards, _ = unique_titles(catalogue(*rows[::-1]))
    assert backwards == titles[::-1]  # the order of the items decides nothing


def test_titles_that_a_cut_makes_alike_are_numbered_and_stay_within_the_length() -> None:
    titles = ["abcdefgh", "abcdefxy", "abcdefzz", "abcd 2", "b"]
    tokens, counts = title_tokens(titles, ["1", "2", "3", "4", "5"], letters, longest=6, never=0)
    assert ["".join(map(chr, some)) for some in tokens] == ["abcdef", "abcd 3", "abcd 4", "abcd 2", "b"]
    assert counts == {"cut_titles": 3, "numbered_titles": 2}


def test_no_room_for_a_number() -> None:
    with pytest.raises(UserError, match="title_tokens = 2: too few"):
        title_tokens(["aab", "aac"], ["1", "2"], letters, longest=2, never=0)


def test_a_vocabulary_that_lacks_the_tokens() -> None:
    def unknown(texts: list[str]) -> list[list[int]]:
        return [[3] for _ in texts]

    with pytest.raises(UserError, match="cannot be told from another one"):
        title_tokens(["七", "九", "五"], ["1", "2", "3"], unknown, longest=2, never=0)
    with pytest.raises(UserError, match="has no tokens in this model's vocabulary"):
        title_tokens(["七"], ["1"], lambda texts: [[] for _ in texts], longest=8, never=0)


def test_the_token_that_ends_a_title_is_left_out_of_it() -> None:
    assert title_tokens(["a|b"], ["1"], letters, longest=8, never=ord("|"))[0] == [[97, 98]]
