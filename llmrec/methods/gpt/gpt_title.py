"""A language model reads the titles of what a user took and writes the next one (BIGRec: Bao et al., ACM TORS 2025,
arXiv 2308.08434; P5: Geng et al., RecSys 2022, whose items are words, too).

    constrained   only titles of the catalogue can be written: beam search in the trie of their tokens
    free          anything can be written; what is not a title to the letter is invalid, and then it is grounded: it
                  stands for the item whose text lies nearest to it (MiniLM), as BIGRec has it; what two beams stand for
                  counts once. Places that stay empty are filled with what lies nearest to the first title written

The language model is a small GPT made here, with a tokenizer of its own, which reads the training items' texts first
and then training histories, title after title, every token a target; or a pretrained one, fine-tuned by LoRA. A history
too long for the context loses its oldest titles, which is counted. Titles are made distinct by `llmrec.lm.titles`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmrec.bert.depth import trained
from llmrec.bert.stage import on_some_users
from llmrec.errors import UserError, nearest
from llmrec.gpt.descent import of_this_process
from llmrec.lm.bpe import learn_bpe
from llmrec.lm.finetune import Pace, Texts, amount, merged, stepper, to_depth, windows
from llmrec.lm.free import Grounding, write_freely
from llmrec.lm.loading import LanguageModel, load_language_model
from llmrec.lm.pretrain import learn_texts
from llmrec.lm.search import title_search, title_trie
from llmrec.lm.small import SMALL, small_model
from llmrec.lm.titles import title_tokens, unique_titles
from llmrec.method import tune
from llmrec.training import train
from llmrec.types import NO_ITEM, Generated, Histories

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Int32, Split, Users

WRITING = ("constrained", "free")
GROUNDING = ("embedding", "none")
HISTORY = ("own", "none", "shuffled")
USERS_AT_ONCE = 64


@dataclass
class GptTitle:
    """A language model writes the next item's title, within the catalogue or freely; small, or pretrained with LoRA."""

    family: ClassVar[str] = "gpt"
    early_stops: ClassVar[bool] = True
    needs_text: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {
        "vocabulary": 300, "width": 32, "layers": 1, "heads": 2, "dropout": 0.0, "titles": 3, "pretrain_epochs": 1,
        "epochs": 15, "patience": 1, "validate_every": 15, "learning_rate": 5e-3, "batch_tokens": 256, "at_once": 256,
        "beams": 10,
    }  # fmt: skip

    # titles
    title_tokens: int = tune(12, choices=(8, 12, 16, 24))  # longer ones are cut
    titles: int = tune(10, low=5, high=20)  # of the history that are read
    # the language model
    model: str = SMALL  # or a folder, a hub name, "SmolLM2-135M-Instruct"
    prompt: str = ""  # what a pretrained model reads before the titles
    vocabulary: int = 4000  # tokens, of the small model; as the next four
    layers: int = tune(2, low=1, high=6)
    heads: int = 4
    width: int = tune(128, choices=(64, 128, 256))
    dropout: float = tune(0.2, low=0.0, high=0.6)
    pretrain_epochs: int = 3  # on the items' texts; 0: none
    depth: str = tune("lora", choices=("last", "lora", "full"))  # of a pretrained model
    last: int = 2  # layers that depth "last" trains
    rank: int = 8  # of depth "lora"
    # training
    examples: int = 0  # windows of an epoch, drawn anew for each; 0: all
    epochs: int = 10  # the learning rate falls to 0 over them
    patience: int = 3  # validations without improvement
    validate_every: int = 1  # epochs
    validation_users: int = 1000  # drawn once; 0: all
    batch_tokens: int = 4096  # of a step
    at_once: int = 4096  # tokens computed together; fewer than batch_tokens: gradients are accumulated
    mixed: bool = False  # products in bfloat16 while training; made for GPUs
    learning_rate: float = tune(2e-3, low=1e-5, high=1e-2, log=True)
    warm_up: float = 0.05  # share of all steps
    weight_decay: float = tune(0.01, low=0.0, high=0.5)
    # answer
    writing: str = "constrained"  # one of WRITING
    beams: int = 20
    grounding: str = "embedding"  # of what is written freely; "none": what is no title is thrown away
    encoder: str = "all-MiniLM-L6-v2"
    nearest: float = 0.0  # least cosine to the nearest item's text; what lies farther names nothing in the catalogue
    history: str = "own"  # which is read for an answer: "none" or another user's ("shuffled") are controls

    def __post_init__(self) -> None:
        for name, known in (("writing", WRITING), ("grounding", GROUNDING), ("history", HISTORY)):
            if (given := getattr(self, name)) not in known:
                hint = nearest(str(given), known)
                raise UserError(f"gpt-title: {name} = {given!r}, expected one of {', '.join(known)}.{hint}")
        counted = ("title_tokens", "titles", "beams", "epochs", "batch_tokens", "at_once", "layers", "heads")
        if low := [name for name in counted if getattr(self, name) < 1]:
            raise UserError(f"gpt-title: {low[0]} = {getattr(self, low[0])}, expected a whole number from 1.")

        if self.prompt and self.model == SMALL:
            raise UserError("gpt-title: a prompt is for a pretrained model; the small one knows no words yet.")

    def fit(self, split: Split, ctx: Context) -> None:
        own = of_this_process(ctx)
        self.ctx, self.split, self.read = ctx, split, {"prompts": 0, "prompts_cut": 0, "titles_dropped": 0}
        self.answering, self.known = False, 0
        known = np.zeros(split.n_items, bool)
        known[split.fit.item] = True
        names, counts = unique_titles(ctx.items)
        ctx.counts |= counts
        texts = [text or name for text, name in zip(ctx.items.texts, names, strict=True)]
        self.lm = self._language_model([texts[item] for item in np.flatnonzero(known)], ctx)
        self._write_titles(names, ctx)
        if self.model == SMALL and self.pretrain_epochs:
            self._pretrain([texts[item] for item in np.flatnonzero(known)], own)
        self._train(split, own)
        ctx.chosen_epochs = own.chosen_epochs
        self.answering = True

    def _language_model(self, texts: list[str], ctx: Context) -> LanguageModel:
        if self.model != SMALL:
            lm = load_language_model(self.model, ctx.device)
            ctx.models[self.model] = lm.revision
            return lm
        return small_model(
            learn_bpe(texts, self.vocabulary),
            context=(self.titles + 1) * (self.title_tokens + 1) + 1, layers=self.layers, heads=self.heads,
            width=self.width, dropout=self.dropout, seed=ctx.seed_for("initialisation"), device=ctx.device,
        )  # fmt: skip

    def _write_titles(self, names: list[str], ctx: Context) -> None:
        """Every item's tokens and the trie of the candidates; what opens a prompt and what ends a title."""
        line = self._encode(["\n"])[0]
        ending = self.lm.tokenizer.eos_token_id
        if self.model != SMALL and len(line) == 1:  # titles line by line, as a pretrained model knows lists
            ending = line[0]
        if ending is None:
            raise UserError(f"gpt-title: the tokenizer of {self.model!r} has no token that could end a title.")
        self.end = int(ending)
        self.opening = [*self.lm.tokenizer(self.prompt)["input_ids"], self.end] if self.prompt else [self.end]
        raw = ctx.items.frame["raw_id"].to_list()
        tokens, counts = title_tokens(names, raw, self._encode, longest=self.title_tokens, never=self.end)
        unknown = self.lm.tokenizer.unk_token_id
        if unknown is not None and (many := sum(unknown in some for some in tokens)):
            counts["titles_with_unknown_tokens"] = many
        ctx.counts |= counts
        self.written = Texts.of(tokens, self.end)
        self.room = self.lm.context - len(self.opening) - max(map(len, tokens)) - 1
        if self.room < 0:
            raise UserError(f"gpt-title: {self.model!r} reads {self.lm.context} tokens, too few for prompt and title.")
        if self.writing == "constrained":
            self.trie = title_trie(tokens, self.end, self.split.candidates, ctx.device)
            return
        names = [" ".join(name.split()) for name in self.lm.tokenizer.batch_decode(tokens)]
        self.grounding_of = Grounding(
            names, self.split.candidates, None if self.grounding == "none" else ctx, self.encoder, self.nearest
        )

    def _encode(self, texts: list[str]) -> list[list[int]]:
        found: list[list[int]] = self.lm.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return found

    def _pretrain(self, texts: list[str], ctx: Context) -> None:
        most = self.lm.context - len(self.opening) - 1
        rows = Texts.of([tokens[:most] for tokens in self._encode(texts)], self.end).rows
        pace = dataclasses.replace(self._pace(), epochs=self.pretrain_epochs)
        found = learn_texts(self.lm.model, self.opening, rows, pace, ctx)
        ctx.counts |= {"tokens_of_texts": len(rows.items), "held_out_perplexity": round(found)}
        ctx.log("pretrain", held_out_perplexity=found)

    def _pace(self) -> Pace:
        return Pace(
            max(self.epochs, self.ctx.epochs or 0), self.learning_rate, self.warm_up, self.weight_decay,
            self.batch_tokens, self.at_once, self.mixed,
        )  # fmt: skip

    def _train(self, split: Split, ctx: Context) -> None:
        if self.model != SMALL:
            network = to_depth(self.lm.model, self.depth, self.last, self.rank)
            self.lm = dataclasses.replace(self.lm, model=network)
        self.network: Any = self.lm.model
        histories = split.fit.histories

        def documents(epoch: int) -> Histories:
            rng = ctx.rng("windows", epoch)
            some = windows(histories, self.titles + 1, rng)
            if 0 < self.examples < len(some):
                some = some.take(np.sort(rng.permutation(len(some))[: self.examples]))
            rows = self.written.documents(some)
            fits = np.flatnonzero(rows.lengths <= self.lm.context - len(self.opening))
            return rows if len(fits) == len(rows) else rows.take(fits)  # with titles of more tokens than a model reads

        optimizer, run_epoch = stepper(self.network, self.opening, documents, self._pace(), ctx, "order")
        validate = ctx.validate and on_some_users(ctx.validate, split, ctx, self.validation_users)
        own = dataclasses.replace(ctx, validate=validate)
        train(
            self, self.network, optimizer, run_epoch, own,
            epochs=self.epochs, patience=self.patience, validate_every=self.validate_every,
        )  # fmt: skip
        ctx.chosen_epochs = own.chosen_epochs
        ctx.counts |= {
            "parameters_of_the_model": self.lm.parameters, "numbers_trained": trained(self.network),
            "effective_batch_tokens": self.batch_tokens, **amount(documents(0), self.at_once),
        }  # fmt: skip
        self.network = merged(self.network).eval()
        self.lm = dataclasses.replace(self.lm, model=self.network)

    def generate(self, users: Users, k: int, exclude: bool) -> Generated:
        prompts = self._prompts(self._histories(users))
        barred = users.histories.last(int(users.histories.lengths.max(initial=0))) if exclude else None
        if self.writing == "free":
            return self._freely(prompts, k, barred)
        items = np.full((len(users), k), NO_ITEM, np.int32)
        scores = np.full((len(users), k), -np.inf, np.float32)
        for start in range(0, len(users), USERS_AT_ONCE):
            rows = slice(start, start + USERS_AT_ONCE)
            found, values = title_search(
                self.lm, self.trie, self.end, prompts[rows], beams=max(self.beams, k),
                excluded=None if barred is None else barred[rows],
            )  # fmt: skip
            items[rows], scores[rows] = found[:, :k], values[:, :k]
        none = np.zeros(len(users), np.int32)
        return Generated(items, scores, none, none, none, (items != NO_ITEM).sum(1).astype(np.int32))

    def _freely(self, prompts: list[list[int]], k: int, barred: Int32 | None) -> Generated:
        texts: list[list[str]] = []
        values: list[Floats] = []
        for start in range(0, len(prompts), USERS_AT_ONCE):
            rows = slice(start, start + USERS_AT_ONCE)
            some, found = write_freely(self.lm, prompts[rows], self.end, self.title_tokens, min(self.beams, k))
            texts += some
            values += found
        before = self.grounding_of.known
        answer = self.grounding_of.lists(texts, values, k, barred)
        if self.answering:  # titles of the user's own history, which stand for their neighbours
            self.known += self.grounding_of.known - before
            self.ctx.counts["known_titles_written"] = self.known
        return answer

    def _histories(self, users: Users) -> Histories:
        """What is read for each user: their own history, or, for a control, another's or nothing."""
        if self.history == "own" or not self.answering:
            return users.histories
        if self.history == "none":
            return Histories(np.zeros(len(users) + 1, np.int64), np.empty(0, np.int32), users.histories.n_items)
        histories = self.split.fit.histories
        others = self.ctx.rng("other users").permutation(len(histories))
        return histories.take(others[users.ids % len(histories)])

    def _prompts(self, histories: Histories) -> list[list[int]]:
        """The opening and the newest titles that there is room for, oldest first."""
        prompts = []
        for row in range(len(histories)):
            titles = self.written.rows.take(histories[row][-self.titles :])
            first = int(np.searchsorted(titles.indptr, titles.indptr[-1] - self.room))
            prompts.append([*self.opening, *titles.items[titles.indptr[first] :].tolist()])
            if self.answering:
                self.read["prompts"] += 1
                self.read["prompts_cut"] += first > 0
                self.read["titles_dropped"] += first
        if self.answering:
            self.ctx.counts |= self.read
        return prompts
