"""Tables of what there is: a broken file lists with its problem, the others as usual."""

from llmrec import doctor, inventory, template


def test_broken_files_list_with_their_problem(tmp_path):
    (tmp_path / "no_syntax.py").write_text("def fit(:\n")
    (tmp_path / "no_method.py").write_text("x = 1\n")
    template.write("my-method", tmp_path)
    rows = {row[0]: row for row in inventory.methods(tmp_path)}
    assert "SyntaxError" in rows["no-syntax"][2]
    assert "no method" in rows["no-method"][2]
    assert rows["my-method"][1:] == (
        "collaborative",
        "Who took this also took that: shrunk cosine similarity, summed over the items of the user's history.",
    )
    assert rows["ease"][1] == "collaborative"
    assert "yes" in next(row for row in doctor.methods(tmp_path) if row[0] == "my-method")


def test_a_missing_package_is_named_with_its_command(tmp_path):
    path = template.write("needy", tmp_path)
    text = path.read_text()
    path.write_text(
        text.replace("    seeded:", '    requires: ClassVar[tuple[str, ...]] = ("no_such_package",)\n    seeded:')
    )
    row = next(row for row in doctor.methods(tmp_path) if row[0] == "needy")
    assert row[1] == "no" and "pip install no_such_package" in row[2]


def test_doctor_knows_the_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMREC_RESULTS", str(tmp_path / "not" / "there"))
    row = next(row for row in doctor.folders() if row[0] == "results")
    assert row[1] == str(tmp_path / "not" / "there") and "GiB free" in row[2]


def test_datasets_are_listed():
    assert any(row[:4] == ("ml-100k", "943", "1,682", "100,000") for row in inventory.datasets())


def test_published_figures_are_listed_with_the_rows_held_against_them():
    rows = {row[0]: row for row in inventory.published()}
    assert rows["anchors/beauty-markov"][3].startswith("recall@5 0.0595") and rows["ease/ease"][4:] == ("memory", "-")
    assert rows["anchors/beauty-markov"][5] == "reproduce-anchors: markov"
