"""COCO, courses of Udemy, with the knowledge graph of the PEARLM authors.

valid.txt, test.txt   user, course, 1, unix time: plain tables ("table" reads them)
i2kg_map.txt          eid, pid (the course's id), name (the slug of its address), entity
kg_final.txt          entity_head, relation, entity_tail: numbers
e_map.txt             eid, name: what the tails are called
"""

from __future__ import annotations

import polars as pl

from llmrec.data.readers.given import Given
from llmrec.data.readers.scan import collect, scan
from llmrec.errors import nearest

CATEGORY, CONCEPT, LEVEL, LANGUAGE = "0", "1", "2", "3"
"""Relations of kg_final.txt, as r_map.txt names them; "4" are audiences, by the classes of a statistics office."""


def items(given: Given) -> pl.DataFrame:
    """Courses: raw_id, title (the slug, with spaces), categories, concepts, level, taught_in.

    ``also`` has ``facts`` (kg_final.txt) and ``names`` (e_map.txt).

    Raises:
        UserError: a column is missing; names file and column.
    """
    courses = _columns(given, "eid", "pid", "name")
    facts = _columns(given.also["facts"], "entity_head", "relation", "entity_tail")
    names = _columns(given.also["names"], "eid", "name")
    known = facts.join(names, left_on="entity_tail", right_on="eid", maintain_order="left")

    def of(relation: str) -> pl.DataFrame:
        some = known.filter(pl.col("relation") == relation)
        return some.group_by("entity_head").agg(pl.col("name").unique(maintain_order=True).alias(relation))

    for relation in (CATEGORY, CONCEPT, LEVEL, LANGUAGE):
        courses = courses.join(of(relation), left_on="eid", right_on="entity_head", how="left", maintain_order="left")
    return courses.select(
        pl.col("pid").alias("raw_id"),
        pl.col("name").str.replace_all("-", " ").str.strip_chars().alias("title"),
        pl.col(CONCEPT).list.join(", ").fill_null("").alias("concepts"),
        pl.col(LEVEL).list.join(", ").fill_null("").alias("level"),
        pl.col(LANGUAGE).list.join(", ").fill_null("").alias("taught_in"),
        pl.col(CATEGORY).fill_null([]).list.eval(pl.element().str.replace_all("-", " ")).alias("categories"),
    )


def _columns(given: Given, *names: str) -> pl.DataFrame:
    frame = collect(given, scan(given))
    for name in names:
        if name not in frame.columns:
            raise given.fault(f"no column {name!r}.{nearest(name, frame.columns)}", 1)
    return frame.select(names)
