"""The site: which pages there are, that they say what the records say, that every link leads somewhere, and that they
work in a browser."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from llmrec import stats
from llmrec.cli.site import site as command
from llmrec.errors import UserError
from llmrec.records import Status, read_record, write_record
from llmrec.report.compare import duels
from llmrec.report.evidence import gather
from llmrec.report.significance import Findings
from llmrec.site import catalogue, charts
from llmrec.site.board_views import board_pages, pair_pages
from llmrec.site.build import pages
from llmrec.site.catalogue import survey
from llmrec.site.names import slug
from llmrec.site.write import render, write_site

ODD = "<b>\"x\"</b> & 语言 'y'"
ROWS = ("random", "popularity", "markov", "ease", "als", "sasrec", "bert-biencoder", "gpt-semantic-id")


class Anchors(HTMLParser):
    """Where a page's links lead, which ids it has, and the text between its tags."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.text = [], set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("href", "src"):
                self.links.append(value)
            elif name == "id":
                assert value not in self.ids, f"two elements have the id {value}"
                self.ids.add(value)

    def handle_data(self, data):
        self.text += data


def broken_links(folder):
    """(page, link) of every link within a site that leads nowhere."""
    parsed = {path: Anchors(path.read_text("utf-8")) for path in sorted(folder.rglob("*.html"))}
    broken = []
    for path, page in parsed.items():
        for link in page.links:
            if link.startswith(("https://", "http://", "data:")):
                continue
            file, _, part = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            there = target.is_file() and (not part or target not in parsed or part in parsed[target].ids)
            if not there:
                broken.append((str(path.relative_to(folder)), link))
    return broken


def add_odd_row(lab):
    """A row whose label has everything that HTML, addresses and shells treat apart."""
    path = lab.folder / "demo.toml"
    label = json.dumps(ODD, ensure_ascii=False)
    path.write_text(
        path.read_text() + f'[[methods]]\nname = "ease"\nlabel = {label}\nparams = {{ encoder = "</script>" }}\n'
    )
    lab.write(replace(lab.plan(ODD), label="ease"))


def change(lab, label, seed=0, **changes):
    """Write the record of a run again with other fields."""
    folder = lab.folder_of(lab.plan(label, seed))
    write_record(read_record(folder).model_copy(update=changes), folder)


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    """A lab and its site, made once: some runs failed or are missing, one is stale, one row has an odd label."""
    from .conftest import Lab

    lab = Lab(tmp_path_factory.mktemp("site-lab"), users=90)
    lab.set_up()
    lab.keep(*ROWS)
    lab.fill()
    add_odd_row(lab)
    prints = read_record(lab.folder_of(lab.plan("popularity"))).fingerprints
    change(lab, "popularity", fingerprints={**prints, "code": "another"})
    found = survey([str(lab.folder / "demo.toml")], lab.results, lab.methods)
    out = lab.folder / "out"
    command([str(lab.folder / "demo.toml")], out, False, 1, lab.methods, None, lab.results)
    return lab, found, out


def board_of(found):
    return found.boards[0]


def test_every_link_leads_somewhere_and_every_page_is_there(labs):
    _, found, out = labs
    assert broken_links(out) == []
    finished = len(board_of(found).block.finished)
    kinds = {path.name: len(list(path.rglob("*.html"))) for path in out.iterdir() if path.is_dir()}
    assert kinds["boards"] == 1 and kinds["compare"] == 1 + finished * (finished - 1) // 2
    assert kinds["methods"] == 1 + len(ROWS) and kinds["datasets"] == 2
    assert kinds["runs"] == 1 + len(found.runs)
    assert not list(out.rglob("*.partial"))


def test_the_same_records_give_the_same_bytes(labs):
    lab, _, out = labs
    again = survey([str(lab.folder / "demo.toml")], lab.results, lab.methods)
    made = dict(render(pages(again)))
    assert made == {str(p.relative_to(out)): p.read_text("utf-8") for p in out.rglob("*.html")}


def test_odd_text_is_text_everywhere(labs):
    _, _, out = labs
    for path in out.rglob("*.html"):
        text = path.read_text("utf-8")
        assert '<b>"x"' not in text and '</script>"' not in text, path
    page = Anchors(next((out / "boards").glob("*.html")).read_text("utf-8"))
    assert ODD in page.text
    data = (out / "boards").glob("*.html").__next__().read_text("utf-8")
    told = data.partition('id="gains">')[2].partition("</script>")[0]
    assert ODD in json.loads(told)["figures"]


def test_what_is_stale_failed_or_missing_is_marked(labs):
    _, found, out = labs
    board = next((out / "boards").glob("*.html")).read_text("utf-8")
    row = board.partition('data-label="popularity"')[2].partition("</tr>")[0]
    assert "stale" in row
    failed = next(run for run, _ in found.runs.values() if run.record.status == Status.FAILED)
    page = (out / "runs" / f"{failed.spec.run_id}.html").read_text("utf-8")
    assert "matrix is singular &amp; the 100 % of it_s rows vanish" in page and "--retry" in page
    stale = next(run for run, _ in found.runs.values() if run.ok and not run.fresh)
    assert "--stale" in (out / "runs" / f"{stale.spec.run_id}.html").read_text("utf-8")
    assert "not yet run" in board


def test_a_board_says_what_the_report_says(labs):
    _, found, _ = labs
    board = board_of(found)
    report = Findings(board.block)
    assert board.findings.sentences() == report.sentences()
    for metric in board.block.metrics:
        for line in board.block.finished:
            assert board.findings.interval(line, metric) == report.interval(line, metric)
    (values,) = [page.values for page in board_pages(found)]
    told = json.loads(str(values["gains"]).replace("\\u003c", "<"))
    signs = {"better": "+", "worse": "-", "not distinguishable": "="}
    for against in report.against_baseline:
        assert told["verdicts"][report.baseline.label][against.line.label] == signs[against.verdict]


def test_a_pair_is_compared_as_llmrec_compare_does(labs):
    _, found, _ = labs
    board = board_of(found)
    a, b = (next(line for line in board.block.finished if line.label == name) for name in ("random", "sasrec"))
    first = duels(a, b)[0]
    pair = next(page.values for page in pair_pages(found) if page.values.get("a") is a and page.values["b"] is b)
    assert pair["found"] == first.paired
    assert (pair["first"].wins, pair["first"].ties, pair["first"].losses) == (first.wins, first.ties, first.losses)
    assert pair["corrected"] >= pair["found"].p
    every = [board.findings.pairs[key].p for key in board.findings.pairs if key[0] < key[1]]
    keys = [key for key in board.findings.pairs if key[0] < key[1]]
    holm = dict(zip(keys, stats.holm(every), strict=True))
    assert pair["corrected"] == holm["random", "sasrec"]


def test_rows_of_several_suites_stand_in_one_table(labs, tmp_path):
    lab, _, _ = labs
    for path in ("methods", "results"):
        (tmp_path / path).symlink_to(lab.folder / path)
    text = (lab.folder / "demo.toml").read_text()
    (tmp_path / "demo.toml").write_text(text)
    other = text.replace("seeds = [0, 1, 2]", "seeds = [0]").replace('name = "markov"', 'name = "tfidf"\nlabel = "als"')
    other = other.replace('[[methods]]\nname = "als"\n', "").replace("Every family", "Another")
    (tmp_path / "other.toml").write_text(other)
    found = survey([str(tmp_path / name) for name in ("demo.toml", "other.toml")], lab.results, lab.methods)
    (board,) = found.boards
    assert board.suites == ["demo.toml", "other.toml"]
    assert [origin.suite for origin in board.origins["ease"]] == ["demo.toml", "other.toml"]
    assert "als · tfidf" in board.origins  # a label that is another method's name
    sasrec = next(line for line in board.block.lines if line.label == "sasrec")
    assert [run.spec.seed for run in sasrec.runs] == [0, 1, 2]


def test_mistakes_are_one_sentence_and_touch_nothing(labs, tmp_path):
    lab, _, _ = labs
    with pytest.raises(UserError, match=r"unknown suite 'quikstart'. Did you mean 'quickstart'"):
        survey(["quikstart"], lab.results)
    with pytest.raises(UserError, match=r"no records.*`llmrec run .*demo.toml` makes some"):
        survey([str(lab.folder / "demo.toml")], tmp_path / "nowhere", lab.methods)
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter.tex").write_text("years of work")
    with pytest.raises(UserError, match="something that `llmrec site` has not written"):
        write_site([], mine)
    assert [path.name for path in mine.iterdir()] == ["chapter.tex"]


def test_a_suite_that_cannot_be_read_keeps_no_other_from_being_shown(labs, monkeypatch):
    lab, _, _ = labs
    monkeypatch.setattr(catalogue, "suite_names", lambda: {"demo": lab.folder / "demo.toml", "worn": Path("worn.toml")})
    monkeypatch.setattr(catalogue, "load_suite", lambda name, extra: replace(lab.suite, name=name))

    def gathered(suite, root):
        if suite.name == "worn":
            raise UserError("worn.toml: its tuned parameters are for another space")
        return gather(suite, root=root)

    monkeypatch.setattr(catalogue, "gather", gathered)
    assert survey([], lab.results).broken == ["worn.toml: its tuned parameters are for another space"]
    with pytest.raises(UserError, match="another space"):
        survey(["demo", "worn"], lab.results)


def test_one_finished_row_and_none_are_shown_too(tmp_path):
    from .conftest import Lab

    lab = Lab(tmp_path, users=20)
    lab.set_up()
    lab.keep("ease", "tfidf")
    lab.write(lab.plan("tfidf"), Status.OOM, "16 GiB memory limit reached")
    for finished in (0, 1):
        found = survey([str(lab.folder / "demo.toml")], lab.results, lab.methods)
        write_site(pages(found), tmp_path / "out")
        assert broken_links(tmp_path / "out") == []
        assert len(board_of(found).block.finished) == finished
        assert not (tmp_path / "out" / "compare").exists()
        assert "16 GiB memory limit reached" in next((tmp_path / "out" / "boards").iterdir()).read_text("utf-8")
        lab.write(lab.plan("ease"))


def test_a_build_that_fails_leaves_the_old_site(labs, tmp_path):
    out = tmp_path / "site"
    write_site([], out)
    before = sorted(path.name for path in out.rglob("*"))

    def broken():
        raise UserError("a record is corrupt")
        yield

    with pytest.raises(UserError, match="corrupt"):
        write_site(broken(), out)
    assert sorted(path.name for path in out.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


@pytest.mark.parametrize("text", ["ease", "recbole:BPR", "BPR", "bpr", "语言", "", "a/b", "..", "a" * 300, ODD])
def test_slugs_are_file_names(text):
    name = slug(text)
    assert name and len(name) < 100 and name == name.lower()
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-") and not name.startswith(".")
    assert slug("BPR") != slug("bpr") and slug("ease") == "ease"


def test_charts_are_well_formed_and_hold_odd_names():
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(50), rng.random(50)
    points = [
        charts.Point(ODD, family, 10.0 ** (n - 3), 0.1 * n, "x.html") for n, family in enumerate(charts.FAMILY_STYLE)
    ]
    drawn = [
        charts.histogram(ours - theirs, ODD, "b", "ndcg@10", "users"),
        charts.histogram(np.zeros(5), "a", "b", "ndcg@10", "users"),
        charts.bubbles(ours, theirs, ODD, "b", "ndcg@10", "users"),
        charts.outcome(3, 0, 0, "users"),
        charts.bars([(ODD, [charts.Bar("low", 0.1, 0.2), charts.Bar("cold", None)])], "ndcg@10", ODD),
        charts.cost_scatter(points, "ndcg@10", 1, "cost (CPU seconds, log scale)"),
        charts.cost_scatter(points[:1], "rmse", -1, "cost (CPU seconds, log scale)"),
        charts.curve([(1.0, 0.1), (2.0, 0.3)], "epoch", "ndcg@10", 1),
    ]
    for svg in drawn:
        root = ElementTree.fromstring(str(svg))
        assert root.get("aria-label") and "nan" not in str(svg)


def test_ticks_are_round_and_within():
    assert charts.ticks(0, 0.1) == [0, 0.02, 0.04, 0.06, 0.08, 0.1]
    assert charts.ticks(-1, 1) == [-1, -0.5, 0, 0.5, 1]


def labels(page):
    rows = page.locator("#board tbody tr[data-label]:visible")
    return rows.evaluate_all("rows => rows.map(row => row.dataset.label)")


def test_in_a_browser_tables_sort_filter_and_show_gains(labs, browser):
    _, found, out = labs
    page, wrong = browser.quiet_page()
    page.goto((out / "boards" / f"{board_of(found).key}.html").as_uri())
    heading = page.locator("#board th[data-key='ndcg@10']")
    assert heading.get_attribute("aria-sort") == "descending"  # a leaderboard starts out ranked
    order = labels(page)
    figures = json.loads(page.locator("#gains").text_content())["figures"]
    values = [figures[label]["ndcg@10"] for label in order]
    assert values == sorted(values, reverse=True)
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [figures[label]["ndcg@10"] for label in labels(page)] == values[::-1]
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") is None and page.locator("tr.family:visible").count() > 3

    page.get_by_label("Search").fill("语言")
    assert labels(page) == [ODD] and page.locator("output").text_content() == "1 row"
    page.get_by_label("Search").fill("")
    page.get_by_label("Family").select_option("sequential")
    assert set(labels(page)) == {"markov", "sasrec"}
    page.get_by_label("Family").select_option("")
    page.get_by_label("rows without figures").check()
    assert "bert-biencoder" in labels(page)

    page.get_by_label("Gain over").select_option("random")
    gain = page.locator("tr[data-label='sasrec'] .gain")
    expected = 100 * (figures["sasrec"]["ndcg@10"] / figures["random"]["ndcg@10"] - 1)
    assert float(gain.get_attribute("data-v")) == pytest.approx(expected)
    assert page.locator("tr[data-label='random'] .gain").text_content() == "baseline"
    assert wrong == []


@pytest.mark.slow
def test_in_a_browser_every_kind_of_page_is_quiet_and_fits_a_phone(labs, browser):
    _, _, out = labs
    page, wrong = browser.quiet_page(width=390)
    kinds = ["index.html", *(f"{kind}/index.html" for kind in ("methods", "datasets", "runs"))]
    for folder in ("boards", "compare", "methods", "datasets", "runs"):
        kinds += [str(path.relative_to(out)) for path in sorted((out / folder).rglob("*.html"))[:2]]
    for kind in dict.fromkeys(kinds):
        page.goto((out / kind).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, kind
        assert page.locator("h1").count() == 1
    page.goto((out / "runs" / "index.html").as_uri())
    page.get_by_label("Find a run").fill("sasrec")
    assert page.locator("#runs tbody tr:visible").count() == 3
    assert wrong == []


@pytest.mark.slow
def test_the_site_of_all_committed_suites(tmp_path):
    root = Path(__file__).resolve().parents[3] / "results"
    found = survey([], root)
    assert write_site(pages(found), tmp_path / "site") > 100
    assert broken_links(tmp_path / "site") == []
