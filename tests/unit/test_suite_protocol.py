"""What a suite says of its protocol before anything is run: for the task, for all rows, for a control row."""

import pytest

from llmrec.errors import UserError
from llmrec.suite import load_suite

SUITE = """
task = "{task}"
datasets = ["ml-100k"]
[protocol]
{protocol}
[[methods]]
name = "popularity"
[[methods]]
name = "item-knn"
control = true
protocol = {{ {control} }}
"""


def load(tmp_path, protocol='name = "leave-one-out"', control="candidates = 'train'", task="topn"):
    path = tmp_path / "mine.toml"
    path.write_text(SUITE.format(task=task, protocol=protocol, control=control))
    return load_suite(path)


def test_a_control_row_changes_the_protocol(tmp_path):
    protocols = {run.label: run.spec.protocol for run in load(tmp_path).runs()}
    assert (protocols["popularity"].candidates, protocols["item-knn"].candidates) == ("all", "train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": 'name = "leave-one-out"\nfold = 1'}, "protocol.fold = 1 has no effect"),
        ({"protocol": 'name = "temporal"\ncuts = [0.9, 0.8]'}, "0 < end of train < end of validation < 1"),
        ({"control": "cuts = [0.5, 0.6]"}, r"methods\[2\] \('item-knn'\).*protocol.cuts = .* has no effect"),
        ({"control": "repeats = 'target'"}, r"methods\[2\].*needs mask_history = false"),
        ({"protocol": 'name = "requests"'}, "asked under leave-one-out, temporal"),
    ],
)
def test_a_protocol_without_sense(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path, **changes)
