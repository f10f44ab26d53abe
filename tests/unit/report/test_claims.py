"""Claims: verdicts from intervals and corrected tests, never from a mean; and every mistake in claims.toml."""

import json
from dataclasses import replace

import pytest

from llmrec.claims.decide import Test as Compared
from llmrec.claims.decide import decide
from llmrec.claims.read import Claim, read_claims
from llmrec.claims.show import as_data, latex, print_claims, why
from llmrec.claims.sources import decide_all, published_blocks, refuse_contradictions
from llmrec.errors import UserError
from llmrec.published.blocks import read_blocks
from llmrec.published.freeze import freeze
from llmrec.published.tables import write_frozen

USERS = 400


@pytest.fixture(scope="module")
def lab(finished_lab, tmp_path_factory):
    """A published benchmark of twelve methods and three seeds."""
    lab = type(finished_lab)(tmp_path_factory.mktemp("claims"), users=USERS)
    lab.set_up()
    lab.fill(bad=False)
    write_frozen(freeze(lab.suite, root=lab.results), "demo", lab.results)
    return lab


@pytest.fixture(scope="module")
def blocks(lab):
    return {"demo": read_blocks("demo", lab.results)}


def side(given):
    return {"methods": [given]} if isinstance(given, str) else given


def claim(a="decayed-transitions", b="random", **changes):
    usual = {"id": "some-claim", "text": "A claim", "source": "a test", "datasets": ["ml-100k"], "metrics": ["ndcg@10"],
             "a": side(a), "b": side(b), "seeds": 3, "users": 100}  # fmt: skip
    return Claim.model_validate(usual | changes)


def verdict(blocks, *args, **changes):
    (found,) = decide([claim(*args, **changes)], blocks)
    return found.verdict


def test_supported_refuted_and_too_close(blocks):
    assert verdict(blocks) == "supported"
    assert verdict(blocks, "random", "decayed-transitions") == "refuted"
    assert verdict(blocks, direction="lower") == "refuted"
    assert verdict(blocks, "random", "decayed-transitions", direction="lower") == "supported"
    (found,) = decide([claim("item-knn", "als")], blocks)
    (test,) = found.tests
    assert test.difference != 0 and test.low < 0 < test.high and found.verdict == "not decided"


def test_a_least_effect_moves_the_bar(blocks):
    (found,) = decide([claim()], blocks)
    lead = found.tests[0].difference
    assert verdict(blocks, least=lead) == "not decided"
    assert verdict(blocks, least=4 * lead) == "refuted"
    assert verdict(blocks, "als", "decayed-transitions", least_relative=-0.999) == "supported"  # loses less than 99.9 %


def test_few_seeds_or_users_decide_nothing_and_say_so(blocks):
    (found,) = decide([claim("sasrec", seeds=5, users=500)], blocks)
    (test,) = found.tests
    assert found.verdict == "not decided" and test.p < 0.05 and test.low > 0
    assert test.problem == "400 of 500 users; sasrec has 3 of 5 seeds; random has 3 of 5 seeds"
    assert verdict(blocks, b={"methods": ["tfidf"]}, seeds=5) == "supported"  # neither method uses its seed


def test_what_is_missing_is_said(blocks):
    def missing(**changes):
        (found,) = decide([claim(**changes)], blocks)
        return found.tests[0].missing

    assert missing(datasets=["steam"]) == "no published suite asks topn on steam"
    assert missing(suite="cold") == "cold is not published"
    assert missing(suite=["cold", "sets"]) == "cold and sets are not published"
    assert missing(suite="demo", protocol={"fit_data": "train+valid"}) == (
        "demo does not ask topn on ml-100k under its protocol"
    )


def test_families_stand_for_their_best_on_validation(blocks):
    (found,) = decide([claim(a={"families": ["gpt"]}, b={"families": ["collaborative", "content"]})], blocks)
    assert [(test.a, test.b) for test in found.tests] == [
        ("gpt-semantic-id (small GPT)", "ease"), ("gpt-semantic-id (small GPT)", "tfidf"),
    ]  # fmt: skip


def test_one_refuted_test_refutes_and_a_missing_dataset_keeps_it_open(blocks):
    assert verdict(blocks, b={"methods": ["popularity", "ease"]}, metrics=["ndcg@10", "recall@10"]) != "supported"
    some = claim(a="popularity", b={"methods": ["tfidf", "decayed-transitions"]}, datasets=["ml-100k", "steam"])
    (found,) = decide([some], blocks)
    assert {test.verdict for test in found.tests} >= {"refuted", "not yet run"} and found.verdict == "refuted"
    assert verdict(blocks, datasets=["ml-100k", "steam"]) == "not yet run"
    assert verdict(blocks, protocol={"fit_data": "train+valid"}) == "not yet run"


def test_metrics_of_whole_runs_are_compared_over_seeds(blocks):
    (found,) = decide([claim("sasrec", "tfidf", metrics=["coverage@10"])], blocks)
    (test,) = found.tests
    assert test.low < test.difference < test.high and 0 < test.p < 1
    (alone,) = decide([claim("ease", "tfidf", metrics=["coverage@10"])], blocks)[0].tests
    assert alone.verdict == "not decided" and "without an interval" in alone.problem


def test_a_published_figure_can_be_the_opponent(blocks):
    assert verdict(blocks, b={"figure": 0.0384}) == "supported"
    assert verdict(blocks, b={"figure": 0.9}) == "refuted"


def test_p_values_are_corrected_over_all_claims(blocks):
    one = decide([claim("ease", "popularity")], blocks)[0].tests[0]
    many = [claim("ease", "popularity"), *(claim("ease", b, id=f"c-{b}") for b in ("als", "item-knn", "markov"))]
    same = decide(many, blocks)[0].tests[0]
    assert same.p == one.p == one.corrected and same.corrected >= one.corrected
    assert max(test.corrected for found in decide(many, blocks) for test in found.tests) <= 1


def test_two_suites_that_could_decide_must_be_told_apart(blocks):
    twice = blocks | {"again": blocks["demo"]}
    with pytest.raises(UserError, match=r"'some-claim': again and demo could all decide it .*suite = 'again'"):
        decide([claim()], twice)
    assert decide([claim().model_copy(update={"suite": "demo"})], twice)[0].verdict == "supported"


def test_rows_of_several_suites_stand_together_under_one_protocol(blocks):
    (block,) = blocks["demo"]
    parts = {name: [replace(block, lines=tuple(line for line in block.lines if line.label in labels))]
             for name, labels in {"one": ("ease", "random"), "two": ("ease", "tfidf")}.items()}  # fmt: skip
    (found,) = decide([claim("ease", {"methods": ["random", "tfidf"]})], parts)
    assert found.verdict == "supported" and len(found.tests) == 2
    (named,) = decide([claim("ease", "tfidf", suite=["one", "two"])], parts)  # two alone has both
    assert named.tests[0].difference == found.tests[1].difference
    assert verdict(parts, "ease", {"methods": ["random", "tfidf"]}, suite="one") == "not yet run"


def test_rows_are_told_apart_by_their_parameters(blocks):
    mini = {"methods": ["ease"], "params": {"encoder": "all-MiniLM-L6-v2"}}
    assert verdict(blocks, mini, "random") == "supported"
    other = mini | {"params": {"encoder": "other"}}
    (found,) = decide([claim(mini, other)], blocks)
    assert found.tests[0].missing == "no figures of ease with encoder other"


def test_both_tables_name_every_verdict(blocks, capsys):
    from rich.console import Console

    found = decide([claim(text="50 % of <users> & a_b"), claim(id="two", datasets=["steam"])], blocks)
    print_claims(found, Console(width=160))
    shown = capsys.readouterr().out
    assert "some-claim: supported" in shown and "no published suite asks topn on steam" in shown
    first, second = as_data(found)
    assert first["verdict"] == "supported" and len(first["tests"][0]["runs"]) == 4 and json.dumps(as_data(found))
    assert second["tests"][0]["why"] == "no published suite asks topn on steam"
    apart = Compared("ml-100k", "ndcg@10", difference=0.01, lead=(-0.001, 0.02), corrected=0.002)
    assert apart.verdict == "not decided" and why(apart) == "the interval over users and seeds does not agree with p"
    assert why(replace(apart, corrected=0.3)) == why(replace(apart, lead=(0.001, 0.02))) == ""
    written = latex(found)
    assert r"50 \% of $<$users$>$ \& a\_b" in written and written.count(r"\\") >= 4 and "not yet run" in written


CLAIM = """
[[claims]]
id = "one"
text = "Counting beats chance"
source = "a test"
datasets = ["ml-100k"]
metrics = ["ndcg@10"]
a = { methods = ["decayed-transitions"] }
b = { methods = ["random"] }
users = 100
seeds = 3
says = "supported"
"""


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('"ml-100k"', '"ml-100"', r"'datasets': no dataset 'ml-100'. Did you mean 'ml-100k'\?"),
        ("ndcg@10", "ndgc@10", r"'metrics': task 'topn' has no metric 'ndgc@10'. Did you mean 'ndcg@10'\?"),
        ('random"]', 'randon"]', r"'b': no method or row 'randon'. Did you mean 'random'\?"),
        (
            '{ methods = ["decayed-transitions"] }',
            '{ families = ["gtp"] }',
            r"'a': no family 'gtp'. Did you mean 'gpt'",
        ),
        ('random"]', 'ease"], params = { l3 = 1.0 }', r"'b': ease has no parameter 'l3'. Did you mean 'l2'\?"),
        ("users = 100", "user = 100", r"unknown key 'user'. Did you mean 'users'\?"),
        ('says = "supported"', 'says = "true"', r"'says': expected 'supported', 'refuted', 'not decided' or"),
        ("users = 100", 'users = "many"', r"'users': expected a whole number from 2, found 'many'"),
        ('{ methods = ["decayed-transitions"] }', "{ figure = 1.0 }", r"'a': expected a table with one of methods"),
        ("users = 100", "cite = 'nobody'", r"'cite': refs.bib has no key 'nobody'"),
        ("users = 100", "protocol = { fit = 'train' }", r"'protocol': the protocol has no option 'fit'"),
        ("users = 100", "least = 1.0\nleast_relative = 1.0", r"exclude each other"),
        ("[[claims]]", "[[claim]]", r"expected \[\[claims\]\] tables"),
        ("[[claims]]", "[[claims]", r"not valid TOML"),
    ],
)
def test_mistakes_are_named_with_the_nearest_right_name(tmp_path, old, new, message):
    path = tmp_path / "claims.toml"
    path.write_text(CLAIM.replace(old, new))
    with pytest.raises(UserError, match=message):
        read_claims(path, set())


def test_a_claim_that_the_records_contradict_fails(lab, tmp_path):
    (tmp_path / "claims.toml").write_text(CLAIM)
    refuse_contradictions(decide_all(tmp_path, published_blocks(lab.results)))
    (tmp_path / "claims.toml").write_text(CLAIM.replace('says = "supported"', 'says = "refuted"'))
    with pytest.raises(UserError, match=r"one: the paper says 'refuted', the records say 'supported'"):
        refuse_contradictions(decide_all(tmp_path, published_blocks(lab.results)))
