"""gpt-title on a chain of titles, within the catalogue and freely, and on the edges of its input."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

pytest.importorskip("transformers")

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.errors import UserError
from llmrec.evaluate.answers import answer
from llmrec.lm.finetune import Texts, amount, pack, windows
from llmrec.types import NO_ITEM, Histories, Items, Split, Users

WORDS = ("river", "stone", "night", "garden", "winter", "letter", "harbour", "mirror", "summer", "island")
SMALL = {
    "title_tokens": 8, "titles": 4, "vocabulary": 300, "width": 32, "layers": 1, "heads": 2, "dropout": 0.0,
    "pretrain_epochs": 1, "epochs": 16, "patience": 1, "validate_every": 16, "validation_users": 0,
    "batch_tokens": 64, "at_once": 64, "learning_rate": 5e-3, "beams": 5,
}  # fmt: skip


def method(**params: Any) -> Any:
    return load_method("gpt-title")(**SMALL | params)


def catalogue() -> Items:
    items = toy.items(len(WORDS)).frame
    return Items(items.with_columns(title=pl.Series(WORDS), text=pl.Series([f"The {word}" for word in WORDS])))


def chain(length: int = 9) -> Split:
    """Title i is always followed by title i + 1."""
    n = len(WORDS)
    return toy.leave_one_out([[(u + s) % n for s in range(length)] for u in range(40)], n)


def hits(fitted: Any, split: Split, part: Any = "test", exclude: bool = True) -> float:
    made = [(fitted.generate(users, 3, exclude), targets) for users, targets in split.batches(part, 64)]
    return float(np.concatenate([generated.items[:, 0] == targets.items for generated, targets in made]).mean())


@pytest.fixture(scope="module")
def learnt() -> tuple[Any, Split, Context]:
    split, fitted = chain(), method()
    ctx = Context(seed=0, items=catalogue(), validate=lambda m: {"ndcg@10": hits(m, split, "valid")})
    fitted.fit(split, ctx)
    return fitted, split, ctx


def test_a_chain_of_titles_is_learnt_completely(learnt: Any) -> None:
    fitted, split, ctx = learnt
    assert hits(fitted, split, "valid") == hits(fitted, split) == 1.0
    assert ctx.chosen_epochs == 16
    assert ctx.counts["tokens_an_epoch"] == 4 * 7 * fitted.written.rows.lengths.sum()  # each title 28 times
    assert ctx.counts["held_out_perplexity"] > 1 and ctx.counts["prompts_cut"] == 0
    assert ctx.counts["effective_batch_tokens"] == 64


def test_another_users_history_is_worth_chance(learnt: Any) -> None:
    fitted, split, _ = learnt
    found = {}
    for fitted.history in ("shuffled", "none", "own"):
        found[fitted.history] = hits(fitted, split, exclude=False)
    assert found["own"] == 1.0 and found["shuffled"] < 0.35 and found["none"] < 0.35


def test_scores_are_log_probabilities_whatever_the_batch(learnt: Any) -> None:
    fitted, split, _ = learnt
    whole = next(fitted.generate(users, 5, False) for users, _ in split.batches("test", 100))
    parts = [fitted.generate(users, 5, False) for users, _ in split.batches("test", 7)]
    np.testing.assert_allclose(np.concatenate([part.scores for part in parts]), whole.scores, rtol=1e-4, atol=1e-5)
    assert (whole.scores[:, 0] > -0.5).all() and (np.diff(whole.scores) <= 0).all()


def test_a_context_too_short_drops_the_oldest_titles(learnt: Any) -> None:
    fitted, _, ctx = learnt
    own, fitted.room = fitted.room, 12
    prompt = fitted._prompts(Histories(np.array([0, 4]), np.array([1, 2, 3, 4], np.int32), len(WORDS)))[0]
    fitted.room = own
    newest = fitted.written.rows[4].tolist()
    assert len(prompt) <= 13 and prompt[-len(newest) :] == newest and prompt[0] == fitted.end
    assert ctx.counts["prompts_cut"] == 1 and ctx.counts["titles_dropped"] >= 1


def test_titles_written_freely_are_titles_once_the_chain_is_learnt(learnt: Any) -> None:
    constrained, split, ctx = learnt
    fitted = method(writing="free", grounding="none")
    fitted.__dict__ |= {k: v for k, v in constrained.__dict__.items() if k not in vars(fitted)}
    fitted._write_titles(list(WORDS), dataclasses.replace(ctx))
    assert hits(fitted, split) == 1.0
    assert answer(fitted, split, "test").rates["invalid_rate"] > 0  # the other beams' inventions
    assert 0 < ctx.counts["known_titles_written"] < len(split.asked["test"]) * fitted.beams


def test_only_invalid_titles_are_a_full_table_of_nothing(learnt: Any) -> None:
    constrained, split, ctx = learnt
    fitted = method(writing="free", grounding="none")
    fitted.__dict__ |= {k: v for k, v in constrained.__dict__.items() if k not in vars(fitted)}
    fitted._write_titles([word[::-1] for word in WORDS], dataclasses.replace(ctx))
    fitted.written = constrained.written
    found = answer(fitted, split, "test")
    assert found.topk is not None and (found.topk.items == NO_ITEM).all()
    assert found.rates["invalid_rate"] == 1.0 and found.rates["duplicate_rate"] == 0.0


class Killed(Exception):
    pass


@pytest.mark.parametrize("axis", ["order of texts", "windows"])
def test_resumed_equals_uninterrupted(axis: str, tmp_path: Path) -> None:
    class Mortal(Context):
        def rng(self, name: str, step: int = 0) -> np.random.Generator:
            if (name, step) == (axis, 1):
                raise Killed
            return super().rng(name, step)

    whole, killed, resumed = (method(pretrain_epochs=2, epochs=2, dropout=0.2) for _ in range(3))
    whole.fit(chain(), Context(seed=3, items=catalogue()))
    with pytest.raises(Killed):
        killed.fit(chain(), Mortal(seed=3, items=catalogue(), folder=tmp_path))
    events: list[dict[str, Any]] = []
    resumed.fit(chain(), Context(seed=3, items=catalogue(), folder=tmp_path, emit=events.append))
    assert [event["stage"] for event in events if event.get("resumed_at") == 1] == [
        "pretrain" if axis == "order of texts" else "fit"
    ]
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert (a == b).all()


def test_gradients_of_parts_add_up_to_those_of_the_whole_step() -> None:
    losses = []
    for at_once in (512, 128):
        events: list[dict[str, Any]] = []
        fitted = method(epochs=2, batch_tokens=512, at_once=at_once)
        fitted.fit(chain(), Context(seed=0, items=catalogue(), emit=events.append))
        losses.append([event["loss"] for event in events if event["stage"] == "fit"])
    assert losses[0] == pytest.approx(losses[1], rel=0.2)


def test_documents_hold_every_title_once_and_little_is_padded() -> None:
    rng = np.random.default_rng(0)
    texts = Texts.of([[1, 2], [3], [4, 5, 6]], end=0)
    histories = Histories(np.array([0, 3, 3, 8]), np.array([0, 1, 2, 2, 2, 0, 1, 0], np.int32), 3)
    some = windows(histories, 2, rng)
    assert sorted(some.items.tolist()) == sorted(histories.items.tolist()) and some.lengths.max() <= 2
    documents = texts.documents(some)
    for row, items in zip(documents, some, strict=True):
        assert row.tolist() == [token for item in items for token in texts.rows[int(item)].tolist()]
    lengths = rng.integers(1, 60, 2000)
    batches = pack(lengths, 512, rng)
    assert sorted(np.concatenate(batches).tolist()) == list(range(2000))
    assert max(int(lengths[rows].max()) * len(rows) for rows in batches) <= 512
    many = Histories(np.concatenate([[0], np.cumsum(lengths)]), np.zeros(lengths.sum(), np.int32), 1)
    assert amount(many, 512)["padded_an_epoch"] < 0.05 * lengths.sum()
    assert len(windows(Histories(np.zeros(1, np.int64), np.empty(0, np.int32), 3), 2, rng)) == 0


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"writing": "fre"}, "writing = 'fre'.*'free'"),
        ({"history": "other"}, "history = 'other'"),
        ({"titles": 0}, "titles = 0"),
        ({"prompt": "Films:"}, "prompt is for a pretrained model"),
    ],
)
def test_wrong_settings(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        method(**params)


def test_too_small_a_vocabulary_and_a_wrong_width() -> None:
    ctx = Context(seed=0, items=catalogue())
    with pytest.raises(UserError, match="vocabulary = 100: expected 257"):
        method(vocabulary=100).fit(chain(), ctx)
    with pytest.raises(UserError, match="width = 30 is no multiple of heads = 4"):
        method(width=30, heads=4).fit(chain(), ctx)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_checkpoint_is_tuned_by_additions_of_low_rank(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    from tests.unit.lm_models import save_tiny

    folder = str(save_tiny(tmp_path, kind))
    fitted = method(model=folder, prompt="I liked:", title_tokens=16, epochs=1)
    ctx = Context(seed=0, items=catalogue())
    fitted.fit(chain(), ctx)
    assert 0 < ctx.counts["numbers_trained"] < 0.2 * ctx.counts["parameters_of_the_model"]
    assert ctx.models[folder].startswith("content:")
    users = Users(np.zeros(1, np.int32), Histories(np.array([0, 2]), np.array([1, 2], np.int32), len(WORDS)))
    assert set(fitted.generate(users, 20, True).items[0, :8].tolist()) == set(range(10)) - {1, 2}
