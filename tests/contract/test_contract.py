"""Every method that is found holds the contract; methods that cannot run here are skipped with the reason."""

import pytest

from llmrec.contract import CHECKS
from llmrec.discover import find_methods
from llmrec.provenance import missing_package
from llmrec.subject import NotApplicable, Subject, subject

MODELS = {"recbole": ["recbole:BPR", "recbole:SASRec"]}
"""An adapter is examined through some of its models: a general and a sequential one."""

FILES = find_methods()
NAMES = [name for file in FILES for name in MODELS.get(file, [file])]


@pytest.fixture(scope="session")
def subjects() -> dict[str, Subject]:
    return {}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in NAMES])
def test_contract(name, check, subjects):
    file = FILES[name.split(":")[0]]
    assert file.problem is None
    if reason := missing_package(file):
        pytest.skip(f"{name} {reason}")
    if name not in subjects:
        subjects.clear()  # one method's fits at a time
        subjects[name] = subject(name)
    try:
        check(subjects[name])
    except NotApplicable as reason:
        pytest.skip(f"{name}: {reason}")
