"""The knowledge graph in RecBole's wheel, for the models that read vectors of entities (KSR, GRU4RecKG).

The wheel ships MovieLens-100K with the triples of KB4Rec (Zhao et al., Data Intelligence 2019: Freebase's facts about
the films) and the table that links films to entities, both plain text. The vectors that the two models read are not in
it; their authors learnt them with TransE (Bordes et al., NIPS 2013), and so do we.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llmrec.errors import UserError
from llmrec.recbole_models import need_no, recbole_folder

if TYPE_CHECKING:
    from llmrec.types import Floats, Int64, Items

FOLDER = Path("dataset_example") / "ml-100k"

SAME = 0.9
"""Share of the catalogue that must be in the wheel's table under the same id and title."""

EPOCHS, BATCH, LEARNING_RATE, MARGIN = 20, 16384, 0.03, 1.0


@dataclass(frozen=True)
class Graph:
    """Triples of a knowledge graph, and the entity of each item."""

    head: Int64  # [triples]
    relation: Int64  # [triples]
    tail: Int64  # [triples]
    n_entities: int
    relations: list[str]
    entity: Int64  # [n_items]; -1: not linked


@dataclass(frozen=True)
class Vectors:
    """What TransE has learnt: head + relation is near tail."""

    entities: Floats  # float32 [n_entities, size]
    relations: Floats  # float32 [n_relations, size]


def read_graph(items: Items, model: str) -> Graph:
    """The wheel's graph, linked to the items.

    Raises:
        UserError: the items are not MovieLens-100K's; the message begins with ``model``.
    """
    folder = recbole_folder() / FOLDER
    titles = {row[0]: row[1] for row in _rows(folder / "ml-100k.item")}
    raw_ids = items.frame["raw_id"].to_list()
    # other cards may number their items from 1, too, and titles come with and without the year
    pairs = zip(raw_ids, items.titles, strict=True)
    same = sum(bool(titles.get(raw)) and title.startswith(titles[raw]) for raw, title in pairs)
    if same < SAME * len(raw_ids):
        raise UserError(
            f"recbole:{model} reads the fields 'ent_id' and 'rel_id' (vectors of a knowledge graph), which this dataset"
            f" lacks: the one graph at hand is MovieLens-100K's, in RecBole's wheel. {need_no('knowledge graph')}"
        )
    triples = _rows(folder / "ml-100k.kg")
    link = {item: entity for item, entity in _rows(folder / "ml-100k.link")}
    relations = sorted({relation for _, relation, _ in triples})
    number = {name: i for i, name in enumerate(sorted({e for head, _, tail in triples for e in (head, tail)}))}
    order = {name: i for i, name in enumerate(relations)}
    return Graph(
        head=np.array([number[head] for head, _, _ in triples]),
        relation=np.array([order[relation] for _, relation, _ in triples]),
        tail=np.array([number[tail] for _, _, tail in triples]),
        n_entities=len(number),
        relations=relations,
        entity=np.array([number.get(link.get(raw, ""), -1) for raw in raw_ids]),
    )


def transe(graph: Graph, size: int, seed: int) -> Vectors:
    """Vectors by TransE: margin loss on the distance |head + relation - tail|, one corrupted end a triple, entities of
    length 1 (algorithm 1 of the paper, with Adam in place of its plain gradient steps)."""
    import torch
    from torch.nn.functional import normalize

    generator = torch.Generator().manual_seed(seed % 2**63)
    bound = 6 / size**0.5
    entities = torch.empty(graph.n_entities, size).uniform_(-bound, bound, generator=generator)
    relations = normalize(torch.empty(len(graph.relations), size).uniform_(-bound, bound, generator=generator))
    entities.requires_grad_()
    relations.requires_grad_()
    optimizer = torch.optim.Adam([entities, relations], lr=LEARNING_RATE)
    columns = [torch.as_tensor(column) for column in (graph.head, graph.relation, graph.tail)]
    n = len(columns[0])
    for _ in range(EPOCHS):
        for rows in torch.randperm(n, generator=generator).split(BATCH):
            head, relation, tail = (column[rows] for column in columns)
            other = torch.randint(graph.n_entities, (len(rows),), generator=generator)
            at_head = torch.rand(len(rows), generator=generator) < 0.5
            true, wrong = (head, tail), (torch.where(at_head, other, head), torch.where(at_head, tail, other))
            near, far = (
                (normalize(entities[start]) + relations[relation] - normalize(entities[end])).norm(dim=1)
                for start, end in (true, wrong)
            )
            loss = (MARGIN + near - far).clamp(min=0).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return Vectors(normalize(entities).numpy(), relations.numpy())


def _rows(path: Path) -> list[list[str]]:
    """The rows of one of RecBole's atomic files, without its head."""
    return [line.split("\t") for line in path.read_text("utf-8").splitlines()[1:]]
