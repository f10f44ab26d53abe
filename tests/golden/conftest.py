"""Public datasets for all golden tests: parsed once a session, into a cache of its own; split once a module."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def parsed(tmp_path_factory):
    """The cache that the datasets are parsed into."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def public(mirror, parsed):
    """``public(dataset)``: the loaded dataset. Skips where the mirror has no copy."""
    from llmrec.data import load

    loaded = {}

    def data(dataset: str):
        if not (mirror / dataset).is_dir():
            pytest.skip(f"no copy of {dataset} in {mirror}")
        if dataset not in loaded:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("LLMREC_MIRROR", str(mirror))
                patch.setenv("LLMREC_CACHE", str(parsed))
                loaded[dataset] = load(dataset)
        return loaded[dataset]

    return data


@pytest.fixture(scope="module")
def split_of(public):
    """``split_of(dataset, task, **protocol)``: split and items, as ``make_split`` gives them; each made once."""
    from llmrec.records import Protocol
    from llmrec.split import make_split

    made = {}

    def split(dataset: str, task: str = "topn", **protocol):
        key = (dataset, task, *sorted(protocol.items()))
        if key not in made:
            made[key] = make_split(public(dataset), Protocol(**protocol), task)
        return made[key]

    return split
