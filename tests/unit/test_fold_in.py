"""Users unseen in training: methods that know users only from training are skipped, and say so."""

from types import SimpleNamespace

import numpy as np
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.errors import Skip
from llmrec.fitting import fit
from llmrec.records import Protocol, Status
from llmrec.split import make_split
from llmrec.worker import explain


@pytest.fixture(scope="module")
def held_out():
    sequences = [[int(i) for i in np.random.default_rng(u).permutation(20)[:10]] for u in range(50)]
    card = SimpleNamespace(name="by-hand", time="order", protocols=["user-holdout", "leave-one-out"], rating=None)
    data = SimpleNamespace(
        name="by-hand", card=card, interactions=toy.interactions(sequences, 20), items=toy.items(20), official=None
    )
    return {name: make_split(data, Protocol(name=name))[0] for name in card.protocols}


class FromTrainingOnly:
    folds_in = False

    def fit(self, split, ctx):
        self.fitted = True


def test_a_method_that_does_not_fold_in_is_skipped_before_it_is_fitted(held_out):
    context = Context(seed=0, items=toy.items(20))
    with pytest.raises(Skip, match="knows users only from training") as error:
        fit(FromTrainingOnly, held_out["user-holdout"], context, lambda *_: {}, early_stops=False)
    assert explain(error.value)[0] == Status.SKIPPED
    assert fit(FromTrainingOnly, held_out["leave-one-out"], context, lambda *_: {}, early_stops=False).fitted


@pytest.mark.parametrize("name", ["item-knn", "ease", "markov"])
def test_a_method_that_reads_histories_is_asked_with_what_is_given(held_out, name):
    split = held_out["user-holdout"]
    method = fit(load_method(name), split, Context(seed=0, items=toy.items(20)), lambda *_: {}, early_stops=False)
    users, targets = next(split.batches("test", 100))
    assert users.histories.lengths.tolist() == [8] * 5 and targets.counts.tolist() == [2] * 5
    scores = method.score(users)
    assert len({row.tobytes() for row in np.asarray(scores)}) > 1  # not the same for all strangers


def test_which_models_of_recbole_fold_in():
    pytest.importorskip("recbole")
    method = load_method("recbole")
    answers = {name: method(model=name).folds_in for name in ("BPR", "LightGCN", "CDAE", "MultiVAE", "SASRec", "Pop")}
    assert answers == {"BPR": False, "LightGCN": False, "CDAE": False, "MultiVAE": True, "SASRec": True, "Pop": True}
