"""What memory is free, by machine, control group and suite; and the methods that refuse what would not fit."""

import numpy as np
import pytest

from llmrec import memory, toy
from llmrec.closed_form import gram_matrix, item_weights
from llmrec.context import Context
from llmrec.discover import load_method

GIB = 2**30
SPLIT = toy.checkerboard(40)


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """`kernel(cgroup="0::/job")`: folders as the kernel's, with a machine of 64 GiB and no suite."""
    monkeypatch.delenv(memory.LIMIT_VARIABLE, raising=False)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: type("Told", (), {"available": 64 * GIB}))

    def made(cgroup):
        write(tmp_path / "proc" / "self", cgroup=cgroup)
        return tmp_path / "proc", tmp_path / "groups"

    return made


def test_a_machine_alone(kernel):
    assert memory.free(*kernel("0::/")) == (64 * GIB, "of this machine's memory")


def test_a_control_group_of_version_2(kernel):
    """The parent's limit holds too; "max" is none; pages that only cache files are free."""
    proc, groups = kernel("0::/jobs/one")
    stat = f"anon 5\ninactive_file {GIB}"
    write(groups / "jobs" / "one", memory__max="max", memory__current=3 * GIB, memory__stat=stat)
    assert memory.free(proc, groups)[0] == 64 * GIB
    write(groups / "jobs", memory__max=8 * GIB, memory__current=5 * GIB, memory__stat=stat)
    assert memory.free(proc, groups) == (4 * GIB, "within this process's control group")
    write(groups / "jobs" / "one", memory__max=3 * GIB)
    assert memory.free(proc, groups)[0] == 1 * GIB


def test_a_control_group_of_version_1(kernel):
    proc, groups = kernel("9:name=systemd:/\n4:cpu,memory:/one\n0::/")
    write(
        groups / "memory" / "one", memory__limit_in_bytes=4 * GIB, memory__usage_in_bytes=GIB,
        memory__stat="total_inactive_file 0",
    )  # fmt: skip
    assert memory.free(proc, groups)[0] == 3 * GIB


def test_the_suites_limit(kernel, monkeypatch):
    monkeypatch.setenv(memory.LIMIT_VARIABLE, "32.0")
    left, says = memory.free(*kernel("0::/"))
    assert left == pytest.approx(32 * GIB - memory.psutil.Process().memory_info().rss, abs=GIB / 10)
    assert says == "within the suite's limits.memory_gib = 32"
    monkeypatch.setenv(memory.LIMIT_VARIABLE, "0.001")
    assert memory.free(*kernel("0::/"))[0] == 0


DENSE = {
    "ease": (n := "ease with the Gram matrix of 20,000 items in float64 needs 3.7 GiB", "precision = 'float32'"),
    "ease-features": (n.replace("ease", "ease-features"), "precision = 'float32'"),
}


@pytest.mark.parametrize("name", DENSE)
def test_a_gram_matrix_that_does_not_fit_is_refused_at_once(name, monkeypatch):
    """Of a catalogue of 20,000 items, under a suite's limit that this process has reached; nothing is computed."""
    monkeypatch.setenv(memory.LIMIT_VARIABLE, "0.1")
    split = toy.leave_one_out([[0, 1, 2, 3], [1, 2, 3, 4]], 20_000)
    says, remedy = DENSE[name]
    with pytest.raises(MemoryError) as refusal:
        load_method(name)().fit(split, Context(seed=0, items=toy.items(5)))
    assert str(refusal.value).startswith(says + ", and 0.0 GiB are free (within the suite's limits.memory_gib = 0.1): ")
    assert remedy in str(refusal.value)


@pytest.mark.parametrize(("name", "remedy"), [("slim", "a smaller catalogue"), ("item-knn", "set neighbours")])
def test_a_full_matrix_of_dense_data_is_refused(name, remedy, monkeypatch):
    monkeypatch.setenv(memory.LIMIT_VARIABLE, "0.0")
    with pytest.raises(
        MemoryError, match=f"^{name} with the .* of .*40 items needs .* GiB, and 0.0 GiB are free.*{remedy}"
    ):
        load_method(name)().fit(SPLIT, Context(seed=0, items=toy.items(40)))


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_the_gram_matrix_in_parts_is_exact(precision, monkeypatch):
    """Dense and sparse products, blocks of a few columns: the same whole numbers."""
    import llmrec.closed_form as module

    rng = np.random.default_rng(0)
    sequences = [np.unique(rng.zipf(1.3, 30) % 60).tolist() for _ in range(200)]
    seen = toy.leave_one_out(sequences, 61).fit.matrix()
    full = seen.toarray().astype(np.float64)
    for steps in (1e-9, 5e6, 1e30):  # sparse products slow, as fast as dense ones, and free
        monkeypatch.setattr(module, "SPARSE_STEPS", steps)
        monkeypatch.setattr(module, "BLOCK", 7)
        monkeypatch.setattr(module, "DENSE_BYTES", 1000)
        gram = gram_matrix(seen, precision)
        assert gram.dtype == precision and gram.flags.f_contiguous
        assert (gram == full.T @ full).all()


@pytest.mark.parametrize("relaxed", [0.0, 0.2, 0.5])
def test_a_relaxed_diagonal(relaxed):
    """The weights are RLAE's: with multipliers for the diagonal, the gradient vanishes and the bound holds."""
    rng = np.random.default_rng(1)
    x = (rng.random((50, 12)) < rng.random(12)).astype(float)
    gram, l2 = x.T @ x, 4.0
    weights = item_weights(np.asfortranarray(gram.copy()), l2, relaxed)
    inverse = np.linalg.inv(gram + l2 * np.eye(12))
    free = 1 - l2 * np.diag(inverse)  # the diagonal without any bound
    k = np.where(free > relaxed, (1 - relaxed) / np.diag(inverse), l2)
    whole = np.eye(12) - inverse * k
    assert np.diag(whole) == pytest.approx(np.minimum(free, relaxed))
    # Each column of the regression: G B - G + l2 B is 0 off the diagonal, and there the bound's multiplier, at least 0.
    gradient = gram @ whole - gram + l2 * whole
    assert gradient - np.diag(np.diag(gradient)) == pytest.approx(np.zeros((12, 12)), abs=1e-9)
    assert (np.diag(gradient) <= 1e-9).all()
    np.fill_diagonal(whole, 0.0)
    assert weights == pytest.approx(whole, abs=1e-10)
