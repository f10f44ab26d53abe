"""Our splits beside those of other libraries and of the publishers, where the definitions meet.

RecBole's leave-one-out on ml-100k and Beauty, RecTools' split in time and pandas on ml-100k, the publisher's folds.
RecTools asks for an older NumPy than it needs here: `pip install --no-deps rectools==0.19.0 typeguard attrs`.
"""

import contextlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from llmrec import recbole_mend
from llmrec.records import Protocol
from llmrec.split import make_split


@pytest.fixture(scope="module")
def data(public):
    """Datasets by name."""
    return {name: public(name) for name in ("ml-100k", "amazon2014-beauty")}


def events(data) -> pd.DataFrame:
    """All events with the publisher's ids as text."""
    frame = data.interactions.frame
    return pd.DataFrame({
        "user": np.array(data.users)[frame["user"]], "item": np.array(data.items.frame["raw_id"])[frame["item"]],
        "time": frame["time"] if data.card.time == "exact" else frame["order"],
    })  # fmt: skip


def pairs(data, split, part) -> set[tuple[str, str]]:
    """A part's users and items by the publisher's ids."""
    raw = data.items.frame["raw_id"].to_list()
    return {(data.users[u], raw[split.canonical[i]]) for u, i in zip(part.user, part.item, strict=True)}


def untied(frame: pd.DataFrame) -> set[str]:
    """Users whose last three events are at three times: whatever the tie rule, it has nothing to say on them."""
    newest = frame.sort_values("time").groupby("user").tail(3)
    return set(newest.groupby("user")["time"].nunique().loc[lambda times: times == 3].index)


def recboles(frame: pd.DataFrame, folder) -> list[set[tuple[str, str]]]:
    """RecBole's own train, validation and test: its reader, its order, its split."""
    (folder / "same").mkdir()
    named = {"user": "user_id:token", "item": "item_id:token", "time": "timestamp:float"}
    frame.rename(columns=named).to_csv(folder / "same" / "same.inter", sep="\t", index=False)
    with recbole_mend.mended(folder), contextlib.redirect_stdout(None):
        from recbole.config import Config
        from recbole.data import create_dataset

        settings = {
            "data_path": str(folder), "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "seed": 0,
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        }  # fmt: skip
        dataset = create_dataset(Config("BPR", "same", config_dict=settings))
        parts = dataset.build()
        users, items = dataset.field2id_token["user_id"], dataset.field2id_token["item_id"]
        return [
            {(users[u], items[i]) for u, i in zip(part.inter_feat["user_id"], part.inter_feat["item_id"], strict=True)}
            for part in parts
        ]


@pytest.mark.filterwarnings("ignore:::recbole", "ignore:::numpy")
@pytest.mark.parametrize(
    ("name", "without_ties"), [("ml-100k", 344), ("amazon2014-beauty", 22_363)], ids=["ml-100k", "beauty"]
)
def test_leave_one_out_is_recboles(data, tmp_path, name, without_ties):
    pytest.importorskip("recbole")
    frame = events(data[name])
    clear = untied(frame)
    assert len(clear) == without_ties
    split = make_split(data[name], Protocol())[0]
    theirs = recboles(frame, tmp_path)
    for part, their in zip((split.train, split.valid, split.test), theirs, strict=True):
        ours = pairs(data[name], split, part)
        assert len(ours) == len(their)
        assert {pair for pair in ours if pair[0] in clear} == {pair for pair in their if pair[0] in clear}


def test_temporal_is_rectools(data):
    """RecTools cuts in whole days: each different time becomes a day, in order. It leaves out what was seen before."""
    splitters = pytest.importorskip("rectools.model_selection")
    from rectools import Columns
    from rectools.dataset import Interactions

    frame = events(data["ml-100k"])
    first, second = np.quantile(frame["time"], [0.8, 0.9], method="lower")
    days = np.unique(frame["time"])
    table = pd.DataFrame({
        Columns.User: frame["user"].astype(int), Columns.Item: frame["item"].astype(int), Columns.Weight: 1.0,
        Columns.Datetime: pd.Timestamp("1970-01-01") + pd.to_timedelta(np.searchsorted(days, frame["time"]), unit="D"),
    })  # fmt: skip
    until_second = frame["time"] <= second
    for part, rows, cut, cold in (
        ("test", table, second, False), ("valid", table[until_second], first, False),
        ("valid", table[until_second], first, True),
    ):  # fmt: skip
        end = frame["time"][rows.index].max()
        size = f"{((days > cut) & (days <= end)).sum()}D"
        splitter = splitters.TimeRangeSplitter(size, 1, filter_cold_users=cold, filter_cold_items=cold)
        interactions = Interactions(rows.reset_index(drop=True))
        _, tested, _ = next(iter(splitter.split(interactions)))
        theirs = interactions.df.iloc[tested]
        protocol = Protocol(name="temporal", candidates="train" if cold else "all")
        split = make_split(data["ml-100k"], protocol)[0]
        ours = pairs(data["ml-100k"], split, getattr(split, part))
        if cold:  # RecTools leaves such events out; here they stay in the part, and nobody is asked for them
            targets = split.targets(part)
            asked = SimpleNamespace(user=np.repeat(targets.users, targets.counts), item=targets.items)
            ours = pairs(data["ml-100k"], split, asked)
        assert ours == set(zip(theirs[Columns.User].astype(str), theirs[Columns.Item].astype(str), strict=True))


def test_temporal_is_what_pandas_cuts(data):
    """A witness that is always there: two comparisons of a column."""
    frame = events(data["ml-100k"])
    cuts = frame["time"].quantile([0.8, 0.9], interpolation="lower").to_list()
    split = make_split(data["ml-100k"], Protocol(name="temporal"))[0]
    theirs = (frame["time"] <= cuts[0], frame["time"].between(*cuts, inclusive="right"), frame["time"] > cuts[1])
    for part, rows in zip((split.train, split.valid, split.test), theirs, strict=True):
        assert pairs(data["ml-100k"], split, part) == set(zip(frame["user"][rows], frame["item"][rows], strict=True))
    before = set(frame["user"][frame["time"] <= cuts[1]]) & set(frame["user"][frame["time"] > cuts[1]])
    assert split.counts["test_users_with_history"] == len(before) == 90


def test_official_folds_are_the_publishers(data, mirror):
    def read(name):
        frame = pd.read_csv(mirror / "ml-100k" / "original" / name, sep="\t", header=None, dtype=str)
        return set(zip(frame[0], frame[1], strict=True))

    for fold in range(1, 6):
        split = make_split(data["ml-100k"], Protocol(name="official", fold=fold, fit_data="train+valid"))[0]
        for name, part in ((f"u{fold}.test", split.test), (f"u{fold}.base", split.fit)):
            assert pairs(data["ml-100k"], split, part) == read(name)
        assert pairs(data["ml-100k"], split, split.valid) == read(f"u{fold % 5 + 1}.test")
