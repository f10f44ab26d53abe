"""Our split in RecBole's terms, in memory: nothing goes through RecBole's files, filters or splits.

User u is RecBole's u + 1 and item i is i + 1, because RecBole keeps 0 for padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.errors import UserError
from llmrec.recbole_graph import Vectors, read_graph, transe
from llmrec.recbole_models import GRAPH_MODELS, need_no

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Histories, Int32, Interactions, Split


def train_data(config: Any, split: Split, ctx: Context) -> Any:
    """RecBole's loader of training batches over what the protocol lets a method fit on."""
    from recbole.data.utils import get_dataloader
    from recbole.sampler import RepeatableSampler, Sampler

    dataset = dataset_class(config)(config, split.fit, item_classes(config, ctx))
    if config["model"] in GRAPH_MODELS:
        add_graph(dataset, config, ctx)
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
            f"('class' is the items' categories; other fields are not handed to RecBole). {need_no('item categories')}"
        )
    return classes


def add_graph(dataset: Any, config: Any, ctx: Context) -> None:
    """Give the dataset what KSR and GRU4RecKG ask it for: vectors of the items' entities ('ent_id') and of the
    relations ('rel_id'), row 0 for padding, and how many of each there are. An item without an entity has zeros."""
    from recbole.utils import FeatureSource, FeatureType

    graph = read_graph(ctx.items, config["model"])
    size = config["kg_embedding_size"] or config["embedding_size"]
    vectors: Vectors = transe(graph, size, ctx.seed_for("initialisation"))
    of_items = np.zeros((len(graph.entity) + 1, size), np.float32)
    linked = np.flatnonzero(graph.entity >= 0)
    of_items[linked + 1] = vectors.entities[graph.entity[linked]]
    of_relations = np.vstack([np.zeros((1, size), np.float32), vectors.relations])
    dataset._preloaded_weight |= {"ent_id": of_items, "rel_id": of_relations}
    names = {
        config["ENTITY_ID_FIELD"]: ["[PAD]", *map(str, range(graph.n_entities))],
        config["RELATION_ID_FIELD"]: ["[PAD]", *graph.relations, "[UI-Relation]"],  # RecBole adds the last
    }
    for field, tokens in names.items():
        dataset.set_field_property(field, FeatureType.TOKEN, FeatureSource.KG, 1)
        dataset.field2id_token[field] = np.array(tokens)


def dataset_class(config: Any) -> Any:
    """RecBole's dataset class for the model, holding interactions that are in memory."""
    import torch
    from recbole.data import dataset as classes
    from recbole.data.interaction import Interaction
    from recbole.utils import FeatureSource, FeatureType, ModelType

    sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    base: Any = classes.SequentialDataset if sequential else classes.Dataset
    if config["model"] not in GRAPH_MODELS:  # whose own classes read files; see add_graph
        base = getattr(classes, config["model"] + "Dataset", base)

    class InMemory(base):  # type: ignore[misc]
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

        def _name_ids(self, name: str, source: Any, n: int) -> None:
            """Ids 1 to n, with 0 for padding, whether or not all of them occur in training."""
            self.set_field_property(name, FeatureType.TOKEN, source, 1)
            self.field2id_token[name] = np.array(["[PAD]", *map(str, range(n))])
            self.field2token_id[name] = {token: i for i, token in enumerate(self.field2id_token[name])}

        def _data_processing(self) -> None:
            """No filters, no renumbering, no missing values: the split is what it is."""
            self.feat_name_list = self._build_feat_name_list()

        def _dataframe_to_interaction(self, data: Any) -> Any:
            return data  # it is one already

    return InMemory


def question(config: Any, users: Int32, histories: Histories) -> Any:
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
    if config["model"] in ("SASRecCPR", "GRU4RecCPR"):  # need a target to answer, for its loss: any will do
        batch[config["ITEM_ID_FIELD"]] = torch.ones(len(users), dtype=torch.int64)
    if config["model"] == "DIEN":  # looks at its negatives when it answers, too, and does nothing with them
        batch[config["NEG_PREFIX"] + config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]] = torch.as_tensor(items)
    batch[config["ITEM_LIST_LENGTH_FIELD"]] = torch.as_tensor(np.maximum(kept, 1))  # 0 is no index; see score()
    if config["transform"] == "inverse_itemseq":  # the one transform that a model (SHAN) needs to answer, too
        batch = construct_transform(config)(None, batch)
    return batch
