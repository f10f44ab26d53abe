"""Pair scoring: what is read, what is refused, how deep it is trained, and problems whose answer is known."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.errors import Skip, UserError
from llmrec.evaluate import validate
from llmrec.parts import scores_of
from llmrec.tasks import impressions as task
from llmrec.tasks import rating
from llmrec.types import Histories, Items, Split, Users

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from llmrec import encoders  # noqa: E402
from llmrec.batches import in_batches  # noqa: E402
from llmrec.bert.base import best_weight  # noqa: E402
from llmrec.bert.classifier import load_classifier  # noqa: E402
from llmrec.bert.depth import trained  # noqa: E402
from llmrec.bert.first_token import first_token_alone  # noqa: E402
from llmrec.bert.int8 import in_int8  # noqa: E402
from llmrec.bert.pairs import Pairs, forward, pair_scores  # noqa: E402
from llmrec.bert.scorer import PairScorer  # noqa: E402
from llmrec.bert.tune import Groups, fine_tune, rates_of, schedule  # noqa: E402
from tests.unit.bert_models import SPECIAL, save_bert  # noqa: E402

WORDS = (("cat", "dog", "horse"), ("hammer", "saw", "drill"))
VOCABULARY = [*SPECIAL, ";", ":", *"12345", *WORDS[0], *WORDS[1]]
SMALL: dict[str, Any] = {
    "window": 18, "item_tokens": 4, "negatives": 1, "batch_size": 32, "at_once": 32, "learning_rate": 1e-2,
    "head_factor": 1.0, "warm_up": 0.3, "epochs": 4, "patience": 4, "examples": 0,
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: Any) -> Path:
    """A BERT of one layer with random weights and a vocabulary of 18, saved as its authors would."""
    return save(tmp_path_factory.mktemp("tiny"))


def save(folder: Path, **changes: Any) -> Path:
    shape = {"initializer_range": 0.1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return save_bert(folder, VOCABULARY[len(SPECIAL) :], **shape, **changes)


def catalogue(texts: list[str]) -> Items:
    ids = [str(i) for i in range(len(texts))]
    return Items(pl.DataFrame({"raw_id": ids, "title": texts, "text": texts, "categories": [[] for _ in texts]}))


def kinds(n: int, rng: np.random.Generator) -> list[str]:
    """Texts of two words; even items are of one kind, odd ones of the other."""
    return [" ".join(rng.choice(WORDS[i % 2], 2)) for i in range(n)]


def shown(rng: np.random.Generator, n: int, n_items: int) -> Any:
    """Impressions of users who like one kind: one item of each kind is shown, theirs is clicked."""
    rows = []
    for user in range(n):
        own, other = rng.permutation(n_items // 2) * 2 + user % 2, rng.permutation(n_items // 2) * 2 + 1 - user % 2
        pair = [int(own[3]), int(other[0])]
        rows.append((user, own[:2].tolist(), pair if user % 3 else pair[::-1], [pair[0]]))
    return toy.impressions(rows, n_items)


def clicked(n: int = 200, n_items: int = 30) -> Split:
    rng = np.random.default_rng(0)
    parts = {name: shown(rng, size, n_items) for name, size in (("fit", n), ("valid", 40), ("test", 40))}
    return dataclasses.replace(toy.leave_one_out([[0, 2, 4]] * n, n_items), impressions=parts)


def auc_of(split: Split, texts: list[str], tiny: Path) -> float:
    method = load_method("bert-crossencoder")(encoder=str(tiny), base={}, **SMALL)
    ctx = Context(seed=0, items=catalogue(texts), watched="auc", validate=lambda m: task.validate(m, split))
    method.fit(split, ctx)
    return float(task.measure(task.answer(method, split, "test"), split, ctx.items).metrics["auc"])


def test_who_likes_one_kind_clicks_on_it_and_shuffled_texts_say_nothing(tiny: Path) -> None:
    split, texts = clicked(), kinds(30, np.random.default_rng(1))
    assert auc_of(split, texts, tiny) > 0.97
    mixed = [texts[i] for i in np.random.default_rng(2).permutation(30)]
    assert 0.25 < auc_of(split, mixed, tiny) < 0.75


def test_untrained_it_stands_where_its_base_does(tiny: Path) -> None:
    """The output begins at 0; the base's weight is that under which the clicks are most probable."""
    split, texts = clicked(), kinds(30, np.random.default_rng(1))
    base = {"method": "tfidf", "params": {}}
    method = load_method("bert-crossencoder")(encoder=str(tiny), base=base, **SMALL | {"learning_rate": 0.0})
    ctx = Context(seed=0, items=catalogue(texts), epochs=1)
    method.fit(split, ctx)
    tfidf = load_method("tfidf")()
    tfidf.fit(split, Context(seed=0, items=catalogue(texts)))
    asked = split.impressions["test"]
    scores = scores_of(tfidf, asked.users)[asked.shown.rows, asked.shown.items]
    assert method.under.weight > 0
    assert np.allclose(method.rerank(asked.users, asked.shown), method.under.weight * scores, rtol=1e-5)


def test_the_mean_of_the_tokens_leaves_padding_out(tiny: Path) -> None:
    texts = kinds(30, np.random.default_rng(1))
    _, pairs, ctx = loaded(tiny, texts)
    scorer = PairScorer(
        load_method("bert-crossencoder")(encoder=str(tiny), window=18, item_tokens=4, pooling="mean"), ctx
    )
    lefts, _ = pairs.histories(rows([0, 1, 4], [5]))
    scores = scorer.scores(lefts, np.array([0, 1]), np.array([3, 8], np.int32))
    small = in_int8(scorer.model)
    for left, item, score in zip(lefts, (3, 8), scores, strict=True):
        batch = pairs.batch([left], [pairs.items[item]], "cpu")
        with torch.inference_mode():
            mean = scorer.model.bert(**batch).last_hidden_state.mean(1)
            assert scorer.model.classifier(mean).item() == pytest.approx(score, abs=1e-5)
            assert forward(small, batch).item() == pytest.approx(score, abs=0.1)
    with pytest.raises(UserError, match="Did you mean 'mean'"):
        PairScorer(load_method("bert-crossencoder")(encoder=str(tiny), window=18, item_tokens=4, pooling="meam"), ctx)


def test_the_weight_of_a_base_by_hand() -> None:
    """Two of three groups have the right one ahead by 1: softmax gives it 2 / 3 where the weight is ln 2."""
    scores = np.array([1, 0, 3, 2, 0, 1], np.float32)
    assert best_weight(scores, 2) == pytest.approx(np.log(2), abs=1e-3)
    assert best_weight(-scores, 2) == 0 and best_weight(np.ones(6, np.float32), 2) == 0


def rated() -> Split:
    """Everyone gives the items of one kind 5 stars, those of the other 1."""
    rng = np.random.default_rng(0)
    rows = [(u, int(i), 1.0 if i % 2 else 5.0) for u in range(60) for i in rng.permutation(20)[:9]]
    parts = [[r for n, r in enumerate(rows) if n % 9 in some] for some in (range(6), (6,), (7, 8))]
    return toy.rated(*parts, 60, 20)


def errors_of(split: Split, texts: list[str], tiny: Path) -> dict[str, float]:
    settings = {k: v for k, v in SMALL.items() if k != "negatives"}
    method = load_method("bert-rating")(encoder=str(tiny), base={}, **settings)
    ctx = Context(seed=1, items=catalogue(texts), watched="rmse", better=-1)
    ctx.validate = lambda m: rating.validate(m, split)
    method.fit(split, ctx)
    first = method._read(np.array([0], np.int32))[0]
    newest = split.fit.frame.filter(pl.col("user") == 0)["value"][-1]
    assert [VOCABULARY[t] for t in first[:2]] == [f"{newest:g}", ":"]  # it reads how the user rated
    return rating.measure(rating.answer(method, split, "test"), split, ctx.items).metrics


def test_one_kind_is_rated_high_and_equal_texts_say_nothing(tiny: Path) -> None:
    texts = kinds(20, np.random.default_rng(1))
    figures = errors_of(rated(), texts, tiny)
    assert figures["rmse"] < 0.4 and figures["auc"] > 0.97  # the mean: 2 and .5
    words = ["bird"] * 20  # one text for all, unknown
    assert errors_of(rated(), words, tiny)["rmse"] > 1.6  # who gave one kind more often has more of the other left


def test_base_and_correction_add_up(tiny: Path) -> None:
    split, items = rated(), catalogue(kinds(20, np.random.default_rng(1)))
    method = load_method("bert-rating")(encoder=str(tiny), window=32, item_tokens=4, epochs=1, examples=32)
    method.fit(split, Context(seed=0, items=items, epochs=1))
    users, asked = np.array([3, 3, 8], np.int32), np.array([1, 2, 1], np.int32)
    base = load_method("user-item-bias")()
    base.fit(split, Context(seed=0, items=items))
    moved = method.predict(users, asked) - base.predict(users, asked)
    assert (np.abs(moved) > 0).all()
    with torch.no_grad():
        method.scorer.model.classifier.weight.zero_()
        method.scorer.model.classifier.bias.zero_()
    assert np.allclose(method.predict(users, asked), base.predict(users, asked))


def loaded(tiny: Path, texts: list[str], seed: int = 0, window: int = 18, **changes: Any) -> tuple[Any, Pairs, Context]:
    settings = load_method("bert-crossencoder")(encoder=str(tiny), **changes)
    ctx = Context(seed=seed, items=catalogue(texts))
    found = load_classifier(settings, ctx)
    return found, Pairs.of(found, texts, window, 4), ctx


def rows(*histories: list[int], n_items: int = 30) -> Histories:
    indptr = np.cumsum([0, *map(len, histories)])
    return Histories(indptr, np.array([i for h in histories for i in h], np.int32), n_items)


def test_a_pair_is_what_the_tokenizer_makes_of_it_and_scores_do_not_depend_on_the_batch(tiny: Path) -> None:
    texts = kinds(30, np.random.default_rng(1))
    found, pairs, _ = loaded(tiny, texts)
    histories = rows([0, 1], [], [5], [7, 3])
    lefts, _ = pairs.histories(histories)
    left_of, items = np.repeat(np.arange(4), 30), np.tile(np.arange(30, dtype=np.int32), 4)
    scores = pair_scores(found.model, pairs, lefts, left_of, items, "cpu")
    said = [" ".join(f"{texts[i]} ;" for i in histories[r][::-1]) for r in range(4)]
    with torch.inference_mode():
        for j in (0, 17, 40, 65, 119):
            given = found.tokenizer(said[left_of[j]], texts[items[j]], return_tensors="pt")
            assert scores[j] == pytest.approx(found.model(**given).logits.item(), abs=1e-5)
    order = np.random.default_rng(0).permutation(120)
    again = [pair_scores(found.model, pairs, lefts, left_of[[j]], items[[j]], "cpu")[0] for j in order]
    assert np.allclose(scores[order], again, atol=1e-5)
    assert pair_scores(found.model, pairs, lefts, left_of[:0], items[:0], "cpu").shape == (0,)


def test_the_last_layer_at_the_first_token_alone_says_the_same(tmp_path: Path) -> None:
    texts = kinds(30, np.random.default_rng(1))
    found, pairs, _ = loaded(save(tmp_path, num_hidden_layers=2), texts)
    lefts, _ = pairs.histories(rows([0, 1], [], [5, 2, 9]))
    batch = pairs.batch(lefts, [pairs.items[i] for i in (3, 4, 5)], "cpu")
    last = found.model.bert.encoder.layer[-1]
    with torch.inference_mode():
        whole = forward(found.model, batch)
        with first_token_alone(found.model):
            assert found.model.bert.encoder.layer[-1] is not last
            assert torch.allclose(forward(found.model, batch), whole, atol=1e-6)
    assert found.model.bert.encoder.layer[-1] is last


def test_batches_are_sorted_and_never_hold_more_tokens() -> None:
    sizes = np.array([9, 1, 5, 5, 2, 100])
    found = [b.tolist() for b in in_batches(sizes, 16)]
    assert sorted(row for batch in found for row in batch) == list(range(6)) and found[-1] == [5]
    assert all(len(b) * sizes[b[-1]] <= 16 for b in found[:-1])


def test_the_newest_history_is_kept_and_what_is_left_out_is_counted(tiny: Path) -> None:
    texts = ["cat cat", "dog dog", "saw saw saw saw saw", "", "   "]
    _, pairs, _ = loaded(tiny, texts)
    assert pairs.counts == {"items_without_text": 2, "items_cut": 1}
    assert pairs.items[3].tolist() == [VOCABULARY.index("[UNK]")]
    lefts, left_out = pairs.histories(rows([0, 1, 0, 1, 2, 3], [0], n_items=5))
    assert pairs.room == 11 and len(lefts[0]) == 11 and left_out == 2
    assert lefts[0][:2].tolist() == [VOCABULARY.index(word) for word in ("[UNK]", ";")]  # the newest comes first
    with pytest.raises(UserError, match="window = 33: this encoder reads 32"):
        loaded(tiny, texts, window=33)
    with pytest.raises(UserError, match="leaves no room"):
        loaded(tiny, texts, window=10)


def test_reranks_what_the_first_stage_lists_and_counts_its_ceiling(tiny: Path) -> None:
    split, items = toy.checkerboard(), catalogue(kinds(50, np.random.default_rng(1)))
    method = load_method("bert-crossencoder")(
        encoder=str(tiny),
        first_stage={"method": "item-knn", "params": {}, "k": 5},
        base={"method": "tfidf", "params": {}},
        **SMALL | {"examples": 32, "epochs": 1},
    )
    ctx = Context(seed=0, items=items, validate=lambda m: validate(m, split))
    method.fit(split, ctx)
    assert ctx.counts["first_stage_targets"] == 50 and 0 < ctx.counts["first_stage_found"] <= 50
    users = Users(np.arange(4, dtype=np.int32), split.known("test").histories.take(np.arange(4)))
    written, listed = method.generate(users, 20, True), method.stage.lists(users)
    assert [sorted(r) for r in written.items.tolist()] == [sorted(r) for r in listed.tolist()]
    scores = method.rerank(users, Histories(np.arange(5) * 5, written.items.reshape(-1), 50)).reshape(4, 5)
    assert np.allclose(scores, written.scores, atol=1e-5) and (np.diff(written.scores) <= 0).all()
    with pytest.raises(UserError, match="another task"):
        load_method("bert-crossencoder")(
            encoder=str(tiny), first_stage={"method": "biased-mf"}, window=18, item_tokens=4
        ).fit(split, ctx)


def test_a_killed_run_ends_as_if_nothing_had_been(tiny: Path, cut_off: Any) -> None:
    split = clicked(24, 50)
    whole, resumed = cut_off(lambda: load_method("bert-crossencoder")(encoder=str(tiny), base={}, **SMALL), split)
    asked = split.impressions["test"]
    assert np.array_equal(whole.rerank(asked.users, asked.shown), resumed.rerank(asked.users, asked.shown))


def groups_of(pairs: Pairs, n: int = 8) -> Groups:
    lefts, _ = pairs.histories(rows(*[[i] for i in range(n)]))
    return Groups(lefts, [pairs.items[i] for g in range(n) for i in (g + 2, g + 1)], 2)


def test_accumulated_gradients_are_those_of_the_whole_batch(tiny: Path) -> None:
    texts, weights = kinds(30, np.random.default_rng(1)), []
    for at_once in (16, 4):
        found, pairs, ctx = loaded(tiny, texts)
        settings = load_method("bert-crossencoder")(batch_size=16, at_once=at_once, epochs=2, learning_rate=1e-3)
        fine_tune(settings, settings, found, pairs, ctx, lambda epoch, pairs=pairs: groups_of(pairs))
        # A softmax over a group's scores gives their common bias no gradient but rounding, which Adam makes a step of.
        named = [p for name, p in found.model.named_parameters() if name != "classifier.bias"]
        weights.append(torch.cat([p.detach().flatten() for p in named]))
        assert ctx.counts["effective_batch"] == 16
    assert torch.allclose(*weights, atol=1e-4)


def test_how_deep_it_is_trained(tmp_path: Path) -> None:
    deep, texts = save(tmp_path, num_hidden_layers=3), kinds(30, np.random.default_rng(1))
    numbers = {d: trained(loaded(deep, texts, depth=d, last=1)[0].model) for d in ("frozen", "last", "full")}
    layer = sum(p.numel() for p in loaded(deep, texts)[0].model.bert.encoder.layer[0].parameters())
    assert numbers["frozen"] == 32 * 32 + 32 + 33 and numbers["last"] == numbers["frozen"] + layer
    assert numbers["full"] > numbers["frozen"] + 3 * layer
    found, _, _ = loaded(deep, texts, layers=2)
    assert len(found.model.bert.encoder.layer) == 2 and found.fresh == 33  # the checkpoint has a pooler
    settings = load_method("bert-crossencoder")(learning_rate=1.0, layer_decay=0.5, head_factor=10.0)
    rates = {group["lr"] for group in rates_of(loaded(deep, texts)[0].model, settings)}
    assert rates == {10.0, 1.0, 0.5, 0.25, 0.125}
    assert schedule(0.0, 0.1) < 0.02 and schedule(0.1, 0.1) == 0.9 and schedule(1.0, 0.1) == 0


def test_lora_trains_little_and_scores_as_the_whole_does_before(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    deep, texts = save(tmp_path, num_hidden_layers=2), kinds(30, np.random.default_rng(1))
    plain, lora = loaded(deep, texts), loaded(deep, texts, depth="lora", rank=2)
    assert trained(lora[0].model) == 2 * 2 * 2 * 2 * 32 + (32 * 32 + 32 + 33)
    lefts, _ = plain[1].histories(rows([0, 1]))
    which, items = np.zeros(30, np.int64), np.arange(30, dtype=np.int32)
    scores = [pair_scores(f.model, p, lefts, which, items, "cpu") for f, p, _ in (plain, lora)]
    assert np.allclose(*scores, atol=1e-6)
    fine_tune(  # it can be trained, and kept
        s := load_method("bert-crossencoder")(epochs=1), s, lora[0], lora[1], lora[2], lambda epoch: groups_of(lora[1])
    )
    assert not np.allclose(pair_scores(lora[0].model, lora[1], lefts, which, items, "cpu"), scores[1])


def test_lora_without_its_package_is_skipped(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(Skip, match="pip install peft"):
        loaded(tiny, ["cat"], depth="lora")


def test_checkpointing_and_int8_change_little(tiny: Path) -> None:
    texts = kinds(30, np.random.default_rng(1))
    found, pairs, _ = loaded(tiny, texts)
    batch = pairs.batch(*(groups_of(pairs).lefts, [pairs.items[i] for i in range(8)]), "cpu")
    whole = forward(found.model, batch)
    saving, _, _ = loaded(tiny, texts, checkpointing=True)
    saving.model.train()
    assert torch.allclose(forward(saving.model, batch), whole, atol=1e-6)
    forward(saving.model, batch).sum().backward()
    assert saving.model.bert.embeddings.word_embeddings.weight.grad is not None
    assert torch.allclose(forward(in_int8(found.model), batch), whole, atol=0.05)


def test_out_of_memory_says_which_batch_and_what_to_do(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmrec.records import Status
    from llmrec.worker import explain

    found, pairs, _ = loaded(tiny, kinds(30, np.random.default_rng(1)))

    def full(**batch: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(found.model, "forward", full)
    lefts, _ = pairs.histories(rows([0, 1]))
    with pytest.raises(torch.OutOfMemoryError) as error:
        pair_scores(found.model, pairs, lefts, np.zeros(3, np.int64), np.arange(3, dtype=np.int32), "cpu")
    status, message = explain(error.value)
    assert status == Status.OOM and "3 pairs of 11 tokens" in message and "at_once" in message


def test_what_is_refused(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def nowhere(*_: Any, **__: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", nowhere)
    monkeypatch.setattr(encoders, "available", lambda: ["all-MiniLM-L6-v2", "bert-base-uncased"])
    with pytest.raises(UserError, match=r"not found here .*Here already: .*Did you mean 'bert-base-uncased'"):
        loaded(Path("bert-base-uncase"), ["cat"])
    with pytest.raises(UserError, match="Did you mean 'lora'"):
        loaded(tiny, ["cat"], depth="laro")
    with pytest.raises(UserError, match="has 1; 0 takes all"):
        loaded(tiny, ["cat"], layers=2)
    with pytest.raises(UserError, match="leave width at 0"):
        loaded(tiny, ["cat"], width=8)
    with pytest.raises(UserError, match="has 1 layers"):
        loaded(tiny, ["cat"], depth="last", last=2)

    broken = save(tmp_path)
    weights, config = broken / "model.safetensors", json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "mine.Model"}}))
    with pytest.raises(UserError, match="code of its own"):
        loaded(broken, ["cat"])
    (broken / "config.json").write_text(json.dumps({**config, "vocab_size": 7}))
    with pytest.raises(UserError, match="do not belong together"):
        loaded(broken, ["cat"])
    (broken / "config.json").write_text(json.dumps(config))
    weights.rename(broken / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pickled \(pytorch_model.bin\)"):
        loaded(broken, ["cat"])


def test_a_checkpoint_without_a_pooler_gets_a_new_one_and_says_so(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save(tmp_path)
    kept = {k: v for k, v in load_file(folder / "model.safetensors").items() if "pooler" not in k}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    assert loaded(folder, ["cat"])[0].fresh == 33 + 32 * 32 + 32
    save_file({k: v for k, v in kept.items() if "attention" not in k}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lack .* tensors of the encoder itself"):
        loaded(folder, ["cat"])
