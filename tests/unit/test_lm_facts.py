"""What sentences are found to state, on sentences written by hand: names, labels, years, what was liked, and traps."""

from __future__ import annotations

import pytest

from llmrec.lm.facts import Checker, Known
from llmrec.lm.names import Item, named, names_of

TITLES = [
    "Matrix, The (1999)", "Heat (1995)", "War of the Worlds (2005)", "Her (2013)", "Toy Story (1995)", "Alien (1979)",
    "Toy Story 2 (1999)", "Blade Runner (1982)", "Seven (a.k.a. Se7en) (1995)",
    "Star Wars: Episode IV - A New Hope (1977)",
    "千と千尋の神隠し (2001)",
]  # fmt: skip
LABELS = ["Action", "Sci-Fi", "War", "Comedy", "Romance", "Film-Noir", "Children", "Thriller", "Crime", "Drama"]
CHECKER = Checker(TITLES, LABELS)
MATRIX = Item("Matrix, The (1999)", ("Action", "Sci-Fi", "Thriller"))
LIKED = (Item("Toy Story (1995)", ("Comedy", "Children")), Item("Heat (1995)", ("Action", "Crime")))


def facts(sentence, item=MATRIX, liked=LIKED, request="a film about machines"):
    """Stated facts as words: "+title The Matrix", "-category war"."""
    found = CHECKER.facts(sentence, Known(item, liked, request))
    return [f"{'+' if fact.true else '-'}{fact.kind} {fact.said}" for fact in found]


CASES = {
    # names
    "We recommend The Matrix.": ["+title The Matrix"],
    "THE MATRIX is what we recommend.": ["+title THE MATRIX"],
    '"The Matrix (1999)" is it.': ["+title The Matrix (1999)"],
    '"The Heat" is it.': ["+title The Heat"],  # an article more
    '"Heat (the film of 1995)" is it.': ["+title Heat (the film of 1995)"],
    "It reminds of “Blade Runner” and «Alien».": ["-title Blade Runner", "-title Alien"],  # nothing backs it
    "It is like Blade Runner.": ["-title Blade Runner"],
    '"The Matrix Resurrected" is it.': ["-title The Matrix Resurrected"],  # in no catalogue
    "《千と千尋の神隠し》 is it.": ["-title 千と千尋の神隠し"],
    # words that are titles, too
    "In the heat of it, her life changes.": [],
    "Her life changes, an alien comes.": [],
    "Alien is not named in quotation marks.": [],
    "We recommend Toy Story 2.": ["-title Toy Story 2"],
    "We recommend Toy Story 3.": [],  # a name that goes on is not the one found in it
    "We recommend The Matrix Reloaded.": [],
    # quoted words that are no names
    'It is about "machines".': [],
    'It is a "dark" film.': [],
    "It's not what they'd say.": [],
    # labels
    "It is a sci-fi action film.": ["+category sci-fi", "+category action"],
    "It is science fiction, and a Romance.": ["-category Romance"],  # the first could be anything's
    "A science-fiction thriller.": ["+category science-fiction", "+category thriller"],
    "The Matrix (Action, Sci-Fi).": ["+title The Matrix", "+category Action", "+category Sci-Fi"],
    "Action, crime and war films are fun.": ["+category Action", "-category crime", "-category war"],
    "Two thrillers in one: a romantic comedy.": ["-category romantic", "-category comedy"],
    "A noir film, a noir film.": ["-category noir"],  # once
    # labels that are things, or in a name
    "It is about a war, a crime and some action.": [],
    "Children will like it.": [],
    "The drama of it all.": [],
    '"War of the Worlds" it is not.': ["-title War of the Worlds"],
    # years
    "It came out in 1999.": ["+year 1999"],
    "A film of the 1990s, or the '90s, not of 1998.": ["+year 1990s", "+year '90s", "-year 1998"],
    "It cost $1999, or 1,999 crowns, in room 21999.": [],
    # what was liked
    "Because you liked Toy Story, you should see it.": ["+liked Toy Story"],
    "As you've enjoyed Heat and Blade Runner, try it.": ["+liked Heat", "-liked Blade Runner"],
    'You liked "Heat", "Toy Story" and "Alien".': ["+liked Heat", "+liked Toy Story", "-liked Alien"],
    'You liked "Heat; Toy Story".': ["+liked Heat", "+liked Toy Story"],
    'Because you liked "Heat", "The Matrix" is for you.': ["+title The Matrix", "+liked Heat"],
    'The user liked "The Matrix".': ["-liked The Matrix"],
    "Since you love comedies, see it.": [],  # about the user
    "Because of your love of Heat.": ["+liked Heat"],
    # of which item
    "Toy Story is a comedy from 1995.": ["+title Toy Story", "+category comedy", "+year 1995"],
    "Toy Story is an action film, The Matrix a comedy.": [
        "+title Toy Story", "+title The Matrix", "-category action", "-category comedy",
    ],
    "Because you liked Toy Story, see this comedy.": ["-category comedy", "+liked Toy Story"],
    # out of scope, as the module says: a negation is not understood
    "It is not a comedy.": ["-category comedy"],
    "A wonderful story of courage.": [],
    "": [],
}  # fmt: skip


@pytest.mark.parametrize("sentence", CASES)
def test_facts(sentence):
    assert facts(sentence) == CASES[sentence]


def test_the_items_name_is_one_even_where_the_request_has_it():
    assert facts('"Heat" is it.', Item("Heat (1995)"), (), "heat films") == ["+title Heat"]
    assert facts('It is about "heat".', liked=(), request="heat films") == []


def test_a_year_that_is_not_known_is_no_fact():
    assert facts("It is from 1999.", Item("Some Artist")) == []


def test_names():
    assert named("Matrix, The (1999)") == ("The Matrix", 1999)
    assert named("Avventura, L' (1960)") == ("L'Avventura", 1960)
    assert named("Earth, Wind, The") == ("Earth, Wind, The", None)  # no year: no film's title
    assert names_of("Seven (a.k.a. Se7en) (1995)") == {("seven", "a", "k", "a", "se7en"), ("seven",), ("se7en",)}
    assert ("star", "wars") in names_of("Star Wars: Episode IV - A New Hope (1977)")
    assert ("le", "fabuleux", "destin") in names_of("Fabuleux destin, Le")
    assert names_of("!!!") == set()


def test_nothing_is_known():
    assert Checker([], []).facts('"Heat" is a comedy of 1995, and you liked "Alien".', Known(Item("?"))) != []
    assert Checker([""], [""]).facts("", Known(Item(""))) == []
