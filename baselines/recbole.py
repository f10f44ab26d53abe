"""The adapter to RecBole: any of its general and sequential models, on our split, judged by our evaluator.

RecBole's own trainer trains; it validates through the harness (the same users, masks and ties as every other method)
and stops by its own rule. Nothing goes through files: the split is handed over in memory, user u as RecBole's u + 1 and
item i as i + 1, because RecBole keeps 0 for padding. Written against RecBole 1.2.1 (https://recbole.io).

What a model knows of a user when it is asked: sequential models read the newest MAX_ITEM_LIST_LENGTH items of the
history, autoencoders (MultiVAE, CDAE, RecVAE, ...) all of it; validation items are included at test time. The other
general models know a user only by what they were trained on, as in RecBole itself.
"""

from __future__ import annotations

import copy
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmrec import recbole_mend
from llmrec.errors import UserError, nearest
from llmrec.method import tune

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Interactions, Split, Users

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

STAGES = {"RaCT": ("actor_pretrain", "critic_pretrain", "finetune"), "S3Rec": ("pretrain", "finetune")}
"""Models that RecBole trains in stages, each from the checkpoint of the one before."""

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
    requires: ClassVar[tuple[str, ...]] = recbole_mend.IMPORTS

    model: str = "BPR"
    epochs: int = 100
    patience: int = 10  # validations without improvement
    learning_rate: float = tune(0.001, low=1e-4, high=1e-2, log=True)
    embedding_size: int | None = tune(None, choices=(32, 64, 128))  # None: RecBole's own for the model, mostly 64
    batch_size: int = 2048
    config: dict[str, Any] = field(default_factory=dict)  # RecBole's other settings, by RecBole's names

    def fit(self, split: Split, ctx: Context) -> None:
        """Train; leaves the model with the weights of its best validated epoch.

        Raises:
            UserError: unknown model or setting, a package or an item field that the model needs is missing.
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
                try:
                    self.net = cls(self.settings, data._dataset).to(self.settings["device"])
                except ModuleNotFoundError as error:
                    raise UserError(
                        f"recbole:{self.model} needs the package {error.name!r}: pip install {error.name}"
                    ) from None
                self.trainer = trainer_class(self.settings)(self.settings, self.net)
                self.trainer.attach(self, data, ctx, final=stage == stages[-1])
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
    """RecBole's model by its name."""
    from recbole.model import general_recommender, sequential_recommender

    models = {
        name: value
        for package in (general_recommender, sequential_recommender)
        for name, value in vars(package).items()
        if isinstance(value, type)
    }
    if name not in models:
        raise UserError(f"recbole:{name}: not a general or sequential model of RecBole.{nearest(name, models)}")
    if name in ("KSR", "GRU4RecKG"):
        raise UserError(f"recbole:{name} needs the field 'ent_emb' (knowledge-graph embeddings), which no dataset has.")
    return models[name]


def settings_file(name: str) -> dict[str, Any]:
    """One of RecBole's files of default settings; empty where it has none."""
    import recbole
    import yaml

    path = Path(recbole.__file__).parent / "properties" / name
    return yaml.load(path.read_text("utf-8"), yaml.FullLoader) or {} if path.exists() else {}


def seed_all(seed: int) -> None:
    """All of RecBole's random streams: it draws from the global generators."""
    from recbole.utils import init_seed

    init_seed(seed % 2**32, reproducibility=True)


def train_data(config: Any, split: Split, ctx: Context) -> Any:
    """RecBole's loader of training batches over what the protocol lets a method fit on."""
    from recbole.data.utils import get_dataloader
    from recbole.sampler import RepeatableSampler, Sampler

    dataset = dataset_class(config)(config, split.fit, item_classes(config, ctx))
    dataset._change_feat_format()  # for sequential models also: a row for each prefix of a history
    negatives, sampler = config["train_neg_sample_args"], None
    if negatives["distribution"] != "none":
        make, source = (RepeatableSampler, dataset) if config["repeatable"] else (Sampler, [dataset])
        sampler = make(["train"], source, negatives["distribution"], negatives["alpha"]).set_phase("train")
    return get_dataloader(config, "train")(config, dataset, sampler, shuffle=config["shuffle"])


def item_classes(config: Any, ctx: Context) -> list[list[str]] | None:
    """The items' categories for models that read RecBole's item field 'class', else None."""
    fields = {*(config["selected_features"] or ()), *filter(None, [config["item_attribute"]])}
    if not fields:
        return None
    classes = ctx.items.categories
    lacking = fields - {"class"} or (set() if any(classes) else fields)
    if lacking:
        raise UserError(
            f"recbole:{config['model']} reads the item field {sorted(lacking)[0]!r}, which this dataset lacks "
            "('class' is the items' categories; other fields are not handed to RecBole)."
        )
    return classes


def dataset_class(config: Any) -> Any:
    """RecBole's dataset class for the model, holding interactions that are in memory."""
    import torch
    from recbole.data import dataset as classes
    from recbole.data.interaction import Interaction
    from recbole.utils import FeatureSource, FeatureType, ModelType

    sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    base = getattr(classes, config["model"] + "Dataset", classes.SequentialDataset if sequential else classes.Dataset)

    class InMemory(base):
        def __init__(self, config: Any, interactions: Interactions, item_classes: list[list[str]] | None) -> None:
            self.ours, self.item_classes = interactions, item_classes
            super().__init__(config)

        def _load_data(self, token: str, dataset_path: str) -> None:
            self._name_ids(self.uid_field, FeatureSource.USER_ID, self.ours.n_users)
            self._name_ids(self.iid_field, FeatureSource.ITEM_ID, self.ours.n_items)
            columns = {
                self.uid_field: torch.tensor(self.ours.user, dtype=torch.int64) + 1,
                self.iid_field: torch.tensor(self.ours.item, dtype=torch.int64) + 1,
            }
            numbers = {self.time_field: "order"} if sequential else {self.config["RATING_FIELD"]: "value"}
            for name, ours in numbers.items():  # "order": ties in time are settled in it
                columns[name] = torch.tensor(self.ours.frame[ours].to_numpy(), dtype=torch.float32)
                self.set_field_property(name, FeatureType.FLOAT, FeatureSource.INTERACTION, 1)
            self.inter_feat, self.user_feat, self.item_feat = Interaction(columns), None, None
            if self.item_classes is not None:
                names = sorted({name for some in self.item_classes for name in some})
                number = {name: i for i, name in enumerate(names, start=1)}
                rows = [[], *([number[name] for name in some] for some in self.item_classes)]
                width = max(map(len, rows))
                padded = torch.tensor([row + [0] * (width - len(row)) for row in rows])
                self.item_feat = Interaction({self.iid_field: torch.arange(len(rows)), "class": padded})
                self._name_ids("class", FeatureSource.ITEM, len(names))
                self.set_field_property("class", FeatureType.TOKEN_SEQ, FeatureSource.ITEM, width)

        def _name_ids(self, name: str, source: FeatureSource, n: int) -> None:
            """Ids 1 to n, with 0 for padding, whether or not all of them occur in training."""
            self.set_field_property(name, FeatureType.TOKEN, source, 1)
            self.field2id_token[name] = np.array(["[PAD]", *map(str, range(n))])
            self.field2token_id[name] = {token: i for i, token in enumerate(self.field2id_token[name])}

        def _data_processing(self) -> None:
            """No filters, no renumbering, no missing values: the split is what it is."""
            self.feat_name_list = self._build_feat_name_list()

        def _dataframe_to_interaction(self, data: Interaction) -> Interaction:
            return data  # it is one already

    return InMemory


def question(config: Any, users: np.ndarray, histories: Any) -> Any:
    """What RecBole is asked: user ids [b] and, for sequential models, their newest items, left-aligned [b, length]."""
    import torch
    from recbole.data.interaction import Interaction
    from recbole.data.transform import construct_transform
    from recbole.utils import ModelType

    batch = Interaction({config["USER_ID_FIELD"]: torch.as_tensor(users.astype(np.int64) + 1)})
    if config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
        return batch
    length = config["MAX_ITEM_LIST_LENGTH"]
    kept = np.minimum(histories.lengths, length)
    newest = histories.last(length).astype(np.int64) + 1  # right-aligned; NO_ITEM becomes 0, RecBole's padding
    column = np.arange(length) + (length - kept)[:, None]
    items = np.where(column < length, np.take_along_axis(newest, np.minimum(column, length - 1), axis=1), 0)
    batch[config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]] = torch.as_tensor(items)
    if config["model"] == "DIEN":  # looks at its negatives when it answers, too, and does nothing with them
        batch[config["NEG_PREFIX"] + config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]] = torch.as_tensor(items)
    batch[config["ITEM_LIST_LENGTH_FIELD"]] = torch.as_tensor(np.maximum(kept, 1))  # 0 is no index; see score()
    if config["transform"] == "inverse_itemseq":  # the one transform that a model (SHAN) needs to answer, too
        batch = construct_transform(config)(None, batch)
    return batch


def trainer_class(config: Any) -> Any:
    """RecBole's trainer for the model, which validates through the harness and can be resumed exactly."""
    import torch
    from recbole.utils import get_trainer

    class Trainer(get_trainer(config["MODEL_TYPE"], config["model"])):
        def attach(self, method: RecBole, data: Any, ctx: Context, final: bool) -> None:
            self.method, self.data, self.ctx, self.final = method, data, ctx, final
            self.tot_item_num = data._dataset.item_num
            self.item_tensor = data._dataset.get_item_feature().to(self.device)
            self.best: Any = None
            self.best_epoch = self.epochs
            self.file = ctx.folder / "checkpoint.pt" if ctx.folder and final and self.epochs > 1 else None

        def run(self) -> None:
            self._resume()
            self.began, self.first = time.monotonic(), self.start_epoch
            self.fit(self.data, valid_data=self.ctx.validate, verbose=False, saved=self.final)
            if self.best is not None:
                self.model.load_state_dict(self.best[0])
                self.model.load_other_parameter(self.best[1])
            if self.final:
                self.ctx.chosen_epochs = self.best_epoch

        def _train_epoch(self, train_data: Any, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
            if self.file is not None and epoch_idx > self.first:
                self._keep(epoch_idx)
            seed = self.ctx.seed_for("order", epoch_idx)
            seed_all(seed)
            train_data.generator.manual_seed(seed)
            self.epoch = epoch_idx
            loss = super()._train_epoch(train_data, epoch_idx, *args, **kwargs)
            if not (self.final and self.ctx.validate):
                self._log(sum(loss) if isinstance(loss, tuple) else loss)
            return loss

        def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> tuple[float, dict[str, float]]:
            metrics = self.ctx.validate(self.method)
            if metrics["ndcg@10"] >= self.best_valid_score:
                self.best_epoch = self.epoch + 1
            self._log(self.train_loss_dict[self.epoch], **{"ndcg@10": metrics["ndcg@10"]})
            return metrics["ndcg@10"], metrics

        def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
            """RecBole saves the best epoch to a file and reads it again; here it stays in memory."""
            if self.ctx.validate and self.epochs > 1:
                self.best = copy.deepcopy((self.model.state_dict(), self.model.other_parameter()))

        def _log(self, loss: float, **metrics: float) -> None:
            epochs = self.epochs if self.final else self.pretrain_epochs
            left = (time.monotonic() - self.began) / (self.epoch + 1 - self.first) * (epochs - self.epoch - 1)
            values = {"epoch": self.epoch + 1, "epochs": epochs, "loss": loss / len(self.data), **metrics}
            self.ctx.log("fit" if self.final else "pretrain", **values, left_s=round(left, 1))

        def _optimizers(self) -> dict[str, Any]:
            return {name: value for name, value in vars(self).items() if isinstance(value, torch.optim.Optimizer)}

        def _keep(self, epoch: int) -> None:
            """Write all that the epochs from ``epoch`` on depend on; their random streams follow from the seed."""
            plain = {  # counters and tables that RecBole's models keep outside the state dict
                name: {k: v for k, v in vars(module).items() if type(v) in (int, float) or _is_dense(v)}
                for name, module in self.model.named_modules()
            }
            state = {
                "epoch": epoch,
                "model": self.model.state_dict(),
                "plain": plain,
                "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers().items()},
                "best": self.best,
                "early_stopping": (self.cur_step, float(self.best_valid_score), self.best_epoch),
            }
            partial = self.file.with_suffix(".partial")
            torch.save(state, partial)
            partial.replace(self.file)

        def _resume(self) -> None:
            if self.file is None or not self.file.exists():
                return
            state = torch.load(self.file, map_location=self.device, weights_only=True)
            self.start_epoch, self.best = state["epoch"], state["best"]
            self.cur_step, self.best_valid_score, self.best_epoch = state["early_stopping"]
            self.model.load_state_dict(state["model"])
            for name, module in self.model.named_modules():
                vars(module).update(state["plain"][name])
            for name, optimizer in self._optimizers().items():
                optimizer.load_state_dict(state["optimizers"][name])
            self.ctx.log("fit", resumed_at=self.start_epoch, epochs=self.epochs)

    def _is_dense(value: Any) -> bool:
        return isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.requires_grad

    return Trainer
