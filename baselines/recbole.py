"""The adapter to RecBole: any of its general and sequential models, on our split, judged by our evaluator.

RecBole's own trainer trains; it validates through the harness (the same users, masks and ties as every other method)
and stops by its own rule. The split is handed over in memory (llmrec.recbole_data). Written against RecBole 1.2.1
(https://recbole.io); what is mended so that it runs beside current libraries stands in llmrec.recbole_mend.

What a model knows of a user when it is asked: sequential models read the newest MAX_ITEM_LIST_LENGTH items of the
history, autoencoders (MultiVAE, CDAE, RecVAE, ...) all of it; validation items are included at test time. The other
general models know a user only by what they were trained on, as in RecBole itself.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmrec import recbole_mend
from llmrec.errors import UserError, nearest
from llmrec.method import tune
from llmrec.recbole_data import question, train_data
from llmrec.recbole_models import STAGES, check_name, settings_file
from llmrec.recbole_trainer import make_trainer, seed_all

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Split, Users

PARAMETER_OF = {
    "epochs": "epochs",
    "stopping_step": "patience",
    "learning_rate": "learning_rate",
    "train_batch_size": "batch_size",
    "embedding_size": "embedding_size",
}
"""RecBole's settings that have a parameter of their own here."""

HARNESS = (
    "model", "dataset", "seed", "reproducibility", "device", "gpu_id", "use_gpu", "data_path", "checkpoint_dir",
    "eval_args", "metrics", "topk", "valid_metric", "save_dataset", "save_dataloaders", "log_wandb", "show_progress",
    "train_stage", "pre_model_path", "benchmark_filename",
)  # fmt: skip
"""RecBole's settings that the harness decides."""

KNOWS_NO_USERS = ("Pop", "Random")
"""General models that answer everybody alike, strangers too."""

PAIRS_AT_ONCE = 400_000
"""How many (user, item) pairs models that score pair by pair see in one step."""


@dataclass
class RecBole:
    """A general or sequential model of RecBole by name, e.g. recbole:LightGCN, trained by RecBole's own trainer.

    The family says "collaborative" for all of them, sequential models too.
    """

    family: ClassVar[str] = "collaborative"
    seeded: ClassVar[bool] = True
    early_stops: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = (
        "colorlog", "colorama", "texttable", "pandas", "yaml", "tqdm", "torch",
    )  # fmt: skip
    quick: ClassVar[dict[str, Any]] = {
        "epochs": 6, "learning_rate": 0.03, "batch_size": 128, "config": {"MAX_ITEM_LIST_LENGTH": 10},
    }  # fmt: skip

    model: str = "BPR"
    epochs: int = 100
    patience: int = 10  # validations without improvement
    learning_rate: float = tune(0.001, low=1e-4, high=1e-2, log=True)
    embedding_size: int | None = tune(None, choices=(None, 32, 64, 128))  # None: RecBole's own for the model, mostly 64
    batch_size: int = 2048
    config: dict[str, Any] = field(default_factory=dict)  # RecBole's other settings, by RecBole's names

    @property
    def folds_in(self) -> bool:
        """Whether the model answers from a history, and so users unseen in training: sequential models, and those
        autoencoders that have no weights of a user's own (CDAE has)."""
        with recbole_mend.mended():
            from recbole.model.abstract_recommender import AutoEncoderMixin, SequentialRecommender

            cls = model_class(self.model)
            reads_all = issubclass(cls, AutoEncoderMixin) and self.model != "CDAE" and not self.config.get("time-aware")
            return issubclass(cls, SequentialRecommender) or reads_all or self.model in KNOWS_NO_USERS

    def fit(self, split: Split, ctx: Context) -> None:
        """Train; leaves the model with the weights of its best validated epoch.

        Raises:
            UserError: unknown model or setting; an item field that the model reads is missing; RecBole cannot be had.
        """
        with tempfile.TemporaryDirectory() as folder, recbole_mend.mended(Path(folder)):
            cls = model_class(self.model)
            self.popularity = np.bincount(split.fit.item, minlength=split.n_items)
            self.answer_seed = ctx.seed_for("sampling")
            stages, checkpoint = STAGES.get(self.model, ("",)), ""
            for stage in stages:
                self.settings = self._settings(cls, ctx, folder, stage, checkpoint)
                seed_all(ctx.seed_for("initialisation"))
                data = train_data(self.settings, split, ctx)
                self.net = cls(self.settings, data._dataset).to(self.settings["device"])
                self.trainer = make_trainer(self, self.settings, self.net, data, ctx, final=stage == stages[-1])
                self.trainer.run()
                checkpoint = self.trainer.saved_model_file

    def score(self, users: Users) -> np.ndarray:
        """Scores, float32 [b, n_items]. Sequential models know nothing of a user without a history: popularity."""
        import torch

        with recbole_mend.mended(), torch.no_grad():
            from recbole.model.abstract_recommender import AbstractRecommender, AutoEncoderMixin, SequentialRecommender

            self.net.eval()
            seed_all(self.answer_seed)  # a few models (Random, DiffRec) draw numbers while they answer
            by_pair = type(self.net).full_sort_predict is AbstractRecommender.full_sort_predict
            step = max(1, PAIRS_AT_ONCE // len(self.popularity)) if by_pair else len(users)
            reads_history = isinstance(self.net, AutoEncoderMixin) and not self.settings["time-aware"]
            parts = []
            for start in range(0, len(users), step):
                rows = np.arange(start, min(start + step, len(users)))
                histories = users.histories.take(rows)
                if reads_history:
                    binary = torch.zeros(len(rows), len(self.popularity) + 1, device=self.settings["device"])
                    binary[:, 1:] = torch.as_tensor(histories.matrix().toarray())
                    self.net.get_rating_matrix = lambda user, binary=binary: binary
                batch = question(self.settings, users.ids[rows], histories)
                # RecBole's own scoring of all items, the one that its evaluation ranks; column 0 is the padding item
                scores = self.trainer._full_sort_batch_eval((batch, None, None, None))[1][:, 1:]
                parts.append(scores.float().cpu().numpy())
            if reads_history:
                del self.net.get_rating_matrix
            answer = np.concatenate(parts)
            if isinstance(self.net, SequentialRecommender):
                answer[users.histories.lengths == 0] = self.popularity
            return answer

    def _settings(self, cls: type, ctx: Context, folder: str, stage: str, checkpoint: str) -> Any:
        """RecBole's Config: its own defaults for the model, the suite's ``config``, our parameters, the harness's."""
        from recbole.config import Config
        from recbole.utils import ModelType

        for key in self.config:
            if key in PARAMETER_OF:
                raise UserError(f"recbole:{self.model}: config.{key}: set the parameter {PARAMETER_OF[key]!r} instead.")
            if key in HARNESS:
                raise UserError(f"recbole:{self.model}: config.{key}: decided by the suite's protocol; leave it out.")
        sequential, cuda = cls.type == ModelType.SEQUENTIAL, ctx.device.startswith("cuda")
        values = {
            **self.config,
            "epochs": self.epochs if ctx.validate or not ctx.epochs else ctx.epochs,
            "stopping_step": self.patience - 1,  # RecBole stops after more than so many
            "learning_rate": self.learning_rate,
            "train_batch_size": self.batch_size,
            "seed": ctx.seed_for("order") % 2**32,
            "repeatable": sequential,  # negatives: RecBole's sequential models avoid the target only
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
            "metrics": ["NDCG"],
            "topk": [10],
            "valid_metric": "NDCG@10",
            "use_gpu": cuda,
            "gpu_id": os.environ.get("CUDA_VISIBLE_DEVICES", "0") if cuda else "",
            "checkpoint_dir": folder,
            "data_path": folder,
            "show_progress": False,
            "train_stage": stage,
            "pre_model_path": checkpoint,
        }
        own = settings_file(f"model/{self.model}.yaml")
        defaults = settings_file("overall.yaml") | settings_file("dataset/sample.yaml") | own
        for key in self.config:
            if key not in defaults:
                raise UserError(f"recbole:{self.model}: config.{key}: no such setting.{nearest(key, defaults)}")
        if sequential and not hasattr(cls, "input_type") and (own | self.config).get("loss_type") == "CE":
            values["train_neg_sample_args"] = None  # cross-entropy over all items: RecBole refuses negatives
        if self.embedding_size is not None:
            sizes = [name for name in ("embedding_size", "hidden_size") if name in own]
            if not sizes:
                raise UserError(f"recbole:{self.model} has no embedding_size; set its own sizes in config.")
            values[sizes[0]] = self.embedding_size
        if stage:  # hand on what the last epoch has made
            values["save_step"] = values.get("pretrain_epochs", own["pretrain_epochs"])
        return Config(cls, "ours", config_dict=values)


def model_class(name: str) -> Any:
    """RecBole's model by its name.

    Raises:
        UserError: RecBole has no general or sequential model of that name.
    """
    check_name(name)
    from recbole.model import general_recommender, sequential_recommender

    return vars(general_recommender).get(name) or vars(sequential_recommender)[name]
