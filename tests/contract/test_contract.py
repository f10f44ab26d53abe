"""Every method that is found holds the contract; methods that cannot run here are skipped with the reason."""

import pytest

from llmrec import contract, contract_rating
from llmrec.discover import find_methods
from llmrec.examination import one_round
from llmrec.provenance import missing_package
from llmrec.subject import NotApplicable, Subject, subject

MODELS = {"recbole": ["recbole:BPR", "recbole:SASRec"]}
"""An adapter is examined through some of its models: a general and a sequential one."""

FILES = find_methods()
CASES = [
    pytest.param(name, verb, check, marks=pytest.mark.xdist_group(name), id=f"{name}-{verb}-{check.__name__}")
    for file, found in FILES.items()
    for name in MODELS.get(file, [file])
    for verb in found.verbs
    for check in (contract_rating.CHECKS if verb == "predict" else contract.CHECKS)
]


@pytest.fixture(scope="session")
def subjects() -> dict[tuple[str, str], Subject]:
    return {}


@pytest.mark.parametrize(("name", "verb", "check"), CASES)
def test_contract(name, verb, check, subjects):
    file = FILES[name.split(":")[0]]
    assert file.problem is None
    if reason := missing_package(file):
        pytest.skip(f"{name} {reason}")
    if (name, verb) not in subjects:
        fits = {verb: one for (of, verb), one in subjects.items() if of == name}
        subjects.clear()  # one method's fits at a time
        subjects[name, verb] = one_round(next(iter(fits.values()), None) or subject(name), verb)[0]
    try:
        check(subjects[name, verb])
    except NotApplicable as reason:
        pytest.skip(f"{name}: {reason}")
