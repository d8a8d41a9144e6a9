"""Executed notebooks as pages: what they hold, what they leave out, and what is refused."""

import json
import re
from html.parser import HTMLParser

import nbformat
import pytest
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)

from vsnn_lab.explore import front
from vsnn_lab.headless.report import build_report

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

WIDGET = "application/vnd.jupyter.widget-view+json"
RECORD = "application/vnd.vsnn_lab.record+json"
PLOTLY = "application/vnd.plotly.v1+json"
SAVED = "application/vnd.vsnn_lab.instrument+json"


def display(data):
    return new_output("display_data", data=data)


def printed(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def write(path, *cells, metadata=None):
    """Write a notebook of cells; a code cell is a pair of source and outputs."""
    made = [
        new_markdown_cell(cell)
        if isinstance(cell, str)
        else new_code_cell(cell[0], outputs=list(cell[1]), metadata=cell[2] if cell[2:] else {})
        for cell in cells
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=made, metadata=metadata or {}), path)
    return path


def build(tmp_path, *cells, metadata=None):
    """Build the report of one notebook; return its front page and its own page."""
    path = write(tmp_path / "one.ipynb", *cells, metadata=metadata)
    front = build_report([path], tmp_path / "site")
    return front.read_text(), (tmp_path / "site" / "one.html").read_text()


class Loaded(HTMLParser):
    """List what a page runs, and what it loads from elsewhere."""

    def __init__(self):
        super().__init__()
        self.found, self.scripts = [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        for name in ("src", "srcset", "data", "action", "poster"):
            self.found.append(attributes.get(name) or "")
        if tag == "link":
            self.found.append(attributes["href"])
        if tag == "script" and attributes.get("type") != "application/json":
            self.scripts.append(attributes.get("src"))
        self.found += [name for name in attributes if name.startswith("on")]


def loaded(page):
    parser = Loaded()
    parser.feed(page)
    return [each for each in parser.found if each and not each.startswith("data:")], parser.scripts


SOME = ("print(1)", [printed("1\n")])


def test_the_front_page_shows_question_lead_results_and_parameters(tmp_path):
    table = {"columns": ["w"], "data": [[7.5], [{"float": "nan"}]]}
    cells = [
        "# Does *more* help?\n\nWe **ask** it.\n\n## Data",
        ("EPOCHS = 10  # many\nNAMES = ['a', 'b']", [], {"tags": ["parameters"]}),
        ("record()", [display({RECORD: {"error": 0.123456, "units": 12000, "good": True}})]),
        ("record()", [display({RECORD: {"loss": {"float": "inf"}}})]),
        (
            "record()",
            [display({RECORD: {"table": table}})],
        ),
    ]
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python"}}
    metadata = kernel | {"papermill": {"parameters": {"EPOCHS": 3}}}
    front, page = build(tmp_path, *cells, metadata=metadata)
    for text in (">Does more help?</a>", "We <strong>ask</strong> it."):
        assert text in front
    pairs = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", front))
    assert pairs == {
        "error": "0.1235",
        "units": "12,000",
        "good": "yes",
        "loss": "inf",
        "EPOCHS": "3",
        "NAMES": "a, b",
    }
    assert "<caption>table</caption>" in page
    assert "<td>7.5</td>" in page
    assert "<td>–</td>" in page  # noqa: RUF001 - a dash: no value


def ran(seed, started, metric=None, lead="We **ask** it.", **values):
    """Return the cells and the metadata of a run that recorded values."""
    about = {RECORD: {"metric": metric}} if metric else {}
    shown = new_output("display_data", data={RECORD: values}, metadata=about)
    cells = f"# Does it help?\n\n{lead}", ("SEED = 0\nEPOCHS = 5", [], {"tags": ["parameters"]})
    metadata = {"papermill": {"parameters": {"SEED": seed}, "start_time": started}}
    return (*cells, ("record()", [shown])), metadata


def front_of(tmp_path, *runs):
    paths = [
        write(tmp_path / f"run{number}.ipynb", *cells, metadata=metadata)
        for number, (cells, metadata) in enumerate(runs)
    ]
    return build_report(paths, tmp_path / "site").read_text()


PERCENT = {"name": "test accuracy", "better": "higher", "unit": "%", "scale": 100}


def test_runs_of_one_notebook_share_its_introduction_and_have_their_dates(tmp_path):
    days = [f"2026-11-2{day}T09:30:00.123+00:00" for day in (7, 5, 6)]
    front = front_of(tmp_path, *(ran(seed, day, error=0.5) for seed, day in enumerate(days)))
    assert front.count("Does it help?") == front.count("We <strong>ask</strong> it.") == 1
    # In the order given.
    assert re.findall(r"<time [^>]*>(.*?)</time>", front) == [
        "2026-11-27 09:30 UTC",
        "2026-11-25 09:30 UTC",
        "2026-11-26 09:30 UTC",
    ]
    assert re.findall(r"<dt>SEED</dt><dd>(.*?)</dd>", front) == ["0", "1", "2"]
    assert re.findall(r"<dt>EPOCHS</dt><dd>(.*?)</dd>", front) == ["5"]
    assert "best" not in front


def test_runs_with_another_introduction_stand_apart(tmp_path):
    other = ran(1, "2026-11-27T10:00:00", lead="Another.", error=0.5)
    front = front_of(tmp_path, ran(0, None, error=0.5), other, ran(2, "soon", error=0.5))
    assert front.count("Does it help?") == 2
    assert front.index("run2") < front.index("run1")
    assert re.findall(r"<time [^>]*>(.*?)</time>", front) == ["2026-11-27 10:00"]


@pytest.mark.parametrize(
    ("better", "values", "best"),
    [
        ("higher", (0.5, 0.9, 0.7), [1]),
        ("lower", (0.5, 0.9, 0.7), [0]),
        ("lower", (0.5, 0.5, 0.7), [0, 1]),
        ("higher", ({"float": "nan"}, {"float": "-inf"}, 0.1), [2]),
    ],
)
def test_the_best_of_several_runs_is_marked_by_their_metric(tmp_path, better, values, best):
    metric = PERCENT | {"better": better}
    runs = [ran(seed, None, metric, accuracy=value) for seed, value in enumerate(values)]
    cards = front_of(tmp_path, *runs).split("<article")[1:]
    assert [number for number, card in enumerate(cards) if " of 3</dd>" in card] == best
    word = "highest" if better == "higher" else "lowest"
    assert f"best ({word}) of 3" in cards[best[0]]


def test_numbers_are_shown_in_the_unit_of_their_metric(tmp_path):
    front = front_of(tmp_path, ran(0, None, PERCENT, accuracy=0.90126, kind="dense", good=True))
    pairs = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", front))
    assert (pairs["accuracy"], pairs["kind"], pairs["good"]) == ("90.13 %", "dense", "yes")
    assert "90.13 %" in (tmp_path / "site" / "run0.html").read_text()


def test_a_result_without_metric_or_with_two_has_no_best(tmp_path):
    runs = [ran(0, None, error=0.5), ran(1, None, error=0.6)]
    assert "best (" not in front_of(tmp_path, *runs)
    runs = [ran(0, None, PERCENT, a=0.5), ran(1, None, PERCENT | {"better": "lower"}, a=0.6)]
    assert "best (" not in front_of(tmp_path, *runs)


def test_a_page_shows_text_tables_pictures_and_figures(tmp_path):
    figure = {"data": [{"y": [1, 2], "name": "</script><script>bad()"}], "layout": {"width": 5}}
    table = "<style>p {}</style><table><tr><td>cell</td></tr></table>"
    _, page = build(
        tmp_path,
        "| a | b |\n|---|---|\n| 1 | 2 < 3 |",
        ("1 < 2", [printed("step 1\rstep "), printed("2\n\x1b[31mred\x1b[0m <b>\n")]),
        ("table", [display({"text/html": table, "text/plain": "not this"})]),
        ("picture", [display({"image/png": "aGk=\n", "text/plain": "not this"})]),
        ("figure", [display({PLOTLY: figure, "text/html": "not this"})]),
        ("text", [display({"text/plain": "a < b"})]),
        ("warn", [printed("careful\n", "stderr")]),
    )
    assert "<td>2 &lt; 3</td>" in page
    assert ">step 2\nred &lt;b&gt;</pre>" in page
    assert "<table><tr><td>cell</td></tr></table>" in page.replace("<tbody>", "").replace(
        "</tbody>", ""
    )
    assert 'src="data:image/png;base64,aGk="' in page
    assert ">a &lt; b</pre>" in page
    assert "<summary>Messages</summary><pre>careful</pre>" in page
    assert stored(page, "data-figure") == [figure]
    assert "not this" not in page
    assert "p {}" not in page


def test_nothing_of_a_notebook_runs_or_comes_from_elsewhere(tmp_path):
    nasty = (
        '<script src="https://x.org/a.js">bad()</script><ScRiPt>bad()</sCrIpT><p onclick="bad()">'
        '<img src="https://x.org/a.png"><img src=x onerror=bad()><iframe src="http://x.org">'
        '<a href="javascript:bad()">link</a><svg onload=bad()></svg><style>@import "http://x.org"'
        '</style><link rel=stylesheet href="https://x.org/a.css"><script>bad()'
    )
    front, page = build(
        tmp_path,
        f"# A <script>bad()</script> question\n\n{nasty}",
        ("'<script>bad()</script>'", [display({"text/html": nasty}), printed(nasty)]),
        ("x", [display({"text/markdown": nasty})]),
        ("x", [display({"application/javascript": "bad()", "text/plain": ""})]),
        ("x", [display({RECORD: {"<script>bad()</script>": "<script>bad()</script>"}})]),
    )
    for text in (front, page):
        found, scripts = loaded(text)
        assert set(found) == {"report.js", "report.css"}
        assert scripts == ["report.js"]
        assert 'href="javascript' not in text


def test_only_links_lead_to_other_sites(tmp_path):
    front, page = build(tmp_path, "# A\n\n[paper](https://arxiv.org/abs/2205.01235)", SOME)
    assert '<a href="https://arxiv.org/abs/2205.01235">' in page
    for text in (front, page):
        for match in re.finditer(r"https?://", text):
            assert text[: match.start()].endswith('<a href="')
    for name in ("report.js", "report.css"):
        assert "//" not in re.sub(
            r"^\s*//.*|; // .*", "", (tmp_path / "site" / name).read_text(), flags=re.M
        )


def test_a_link_to_a_file_that_is_not_in_the_site_is_text(tmp_path):
    links = (
        "[guide](../docs/your_own.md) [own](one.html#data) [all](index.html) [below](#data) "
        "[other](two.html) [root](/one.html) [odd](java%0Ascript:x) [mail](mailto:a@x.org)"
    )
    shown = display({"text/html": '<a href="table.csv" title="t">table</a> <a href="">self</a>'})
    _, page = build(tmp_path, f"# A\n\n{links}", ("x", [shown]))
    for text in ("guide", "other", "root", "odd", "self"):
        assert f"<a>{text}</a>" in page
    assert '<a title="t">table</a>' in page
    for text, target in (("own", "one.html#data"), ("all", "index.html"), ("below", "#data")):
        assert f'<a href="{target}">{text}</a>' in page
    assert '<a href="mailto:a@x.org">mail</a>' in page


STATE = {"description": {"kind": "x", "label": "</script><b>"}, "arrays": {}, "width": 5}


def saved(state, **others):
    """Return the output of an instrument as a notebook holds it."""
    text = state if isinstance(state, str) else json.dumps(state).replace("<", "\\u003c")
    return display(
        {"text/html": f'<script type="{SAVED}">{text}</script><script>1</script>'} | others
    )


def stored(page, name):
    """Return what a page holds for a script of ours to draw."""
    pattern = f'{name}><script type="application/json">(.*?)</script>'
    return [json.loads(text) for text in re.findall(pattern, page)]


def test_an_instrument_is_drawn_by_our_own_program_from_what_the_notebook_saved(tmp_path):
    program = {"_esm": "bad()", "_css": "bad {}"}
    live = {WIDGET: {"model_id": "gone"}, PLOTLY: {"data": [], "layout": {}}}
    front_page, page = build(tmp_path, "# A", ("x", [saved(STATE | program, **live)]))
    assert stored(page, "data-vsnn-state") == [STATE]
    assert stored(page, "data-figure") == []
    assert "bad" not in page
    assert loaded(page)[1] == ["instrument.js", "report.js"]
    assert loaded(front_page)[1] == ["report.js"]
    site = tmp_path / "site"
    assert (site / "instrument.js").read_text() == front.classic_script()
    assert (site / "instrument.css").read_text() == front.style()
    assert not (site / "plotly.min.js").exists()


def test_a_figure_or_a_picture_stands_for_a_notebook_with_an_instrument(tmp_path):
    figure = {"data": [{"y": [1]}], "layout": {}}
    shown = ("x", [saved(STATE), display({"image/png": "aGk="}), display({PLOTLY: figure})])
    front_page, _ = build(tmp_path, "# A", shown)
    assert stored(front_page, "data-figure") == [figure]
    assert loaded(front_page)[1] == ["plotly.min.js", "report.js"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", '{"description": {}}', '{"description": [], "arrays": {}}'),
        *('{"description": {"a": NaN}, "arrays": {}}', "[" * 100_000),
    ],
)
def test_an_instrument_that_is_damaged_says_so(tmp_path, text):
    _, page = build(tmp_path, "# A", ("x", [saved(text), printed("after")]))
    assert "This instrument is damaged: run the notebook again." in page
    assert "data-vsnn-state" not in page
    assert ">after</pre>" in page


@pytest.mark.parametrize(
    ("kind", "drawn"),
    [("scattergl", "scatter"), ("scatterpolargl", "scatterpolar"), ("bar", "bar")],
)
def test_points_drawn_by_webgl_are_drawn_without_it(tmp_path, kind, drawn):
    figure = {"data": [{"type": kind, "y": [1]}], "layout": {}}
    _, page = build(tmp_path, "# A", ("x", [display({PLOTLY: figure})]))
    assert stored(page, "data-figure")[0]["data"] == [{"type": drawn, "y": [1]}]


@pytest.mark.parametrize(
    "kind", ["parcoords", "splom", "choroplethmap", "scattergeo", "densitymap"]
)
def test_a_figure_that_needs_more_than_a_page_has_says_so(tmp_path, kind):
    figure = {"data": [{"y": [1]}, {"type": kind}], "layout": {}}
    _, page = build(tmp_path, "# A", ("x", [display({PLOTLY: figure})]))
    assert f"This figure ({kind}) needs code or maps that a page on its own is not allowed." in page
    assert "data-figure" not in page


def test_every_page_has_a_policy_that_lets_nothing_run_but_our_own_files(tmp_path):
    for page in build(tmp_path, "# A", SOME):
        head, rest = page.split("<title>")
        policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', head)[1]
        parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert parts["default-src"] == parts["form-action"] == parts["base-uri"] == "'none'"
        assert parts["script-src"] == "'self'"
        assert parts["img-src"] == "data: blob:"
        assert parts.keys() <= {"default-src", "script-src", "style-src", "img-src"} | {
            "form-action",
            "base-uri",
        }
        # It goes before all that it is there for.
        assert "src=" not in head.split("Content-Security-Policy")[0]
        assert "<script" in rest


def test_a_live_widget_without_its_kernel_is_left_out(tmp_path):
    bundle = {WIDGET: {"model_id": "gone"}, "text/plain": "VBox(children=())"}
    _, page = build(tmp_path, "# A", ("widget", [display(bundle)]), SOME)
    assert "VBox" not in page


NEEDS = "This instrument needs a kernel: open the notebook in JupyterLab."


def test_an_instrument_without_a_portable_form_says_that_it_needs_a_kernel(tmp_path):
    boxed = {WIDGET: {"model_id": "gone"}, "text/plain": "VBox(children=(WidthComparison(chi"}
    front, page = build(tmp_path, "# A", ("both", [display(boxed)]))
    assert page.count(f'<p class="note">{NEEDS}</p>') == 1
    assert NEEDS not in front
    assert "children" not in page


def test_a_progress_bar_and_an_instrument_that_is_shown_need_no_such_note(tmp_path):
    bar = {WIDGET: {"model_id": "gone"}, "text/plain": "  0%|          | 0/2110 [00:00<?, ?it/s]"}
    live = {WIDGET: {"model_id": "gone"}, "text/plain": "AutoencoderExplorer(children=())"}
    _, page = build(tmp_path, "# A", ("fit()", [display(bar)]), ("x", [saved(STATE, **live)]))
    assert NEEDS not in page


def test_a_page_above_3_mb_is_told_by_name_and_size_once_all_are_written(tmp_path):
    heavy = write(tmp_path / "heavy.ipynb", "# A", ("x", [printed("x" * 3_000_000)]))
    light = write(tmp_path / "light.ipynb", "# A", ("x", [printed("x" * 2_900_000)]))
    with pytest.warns(UserWarning, match=r"heavy\.html takes 3\.0 MB, more than 3 MB") as told:
        build_report([heavy, light], tmp_path / "site")
    assert len(told) == 1
    assert (tmp_path / "site" / "index.html").exists()


def test_a_failure_is_shown_on_both_pages(tmp_path):
    error = new_output(
        "error", ename="ValueError", evalue="a < b", traceback=["\x1b[31mTraceback\x1b[0m", "line"]
    )
    marker = ("# An Exception", [], {"tags": ["papermill-error-cell-tag"]})
    front, page = build(tmp_path, marker, "# Why?", ("fail()", [error]))
    assert "stopped by ValueError" in front
    assert ">Why?</a>" in front
    assert "<p>a &lt; b</p>" in page
    assert "Traceback\nline" in page
    assert "An Exception" not in front + page


def test_a_run_that_was_killed_says_so(tmp_path):
    ran = ({"papermill": {"status": status}} for status in ("completed", "pending"))
    front, _ = build(tmp_path, "# A", *(("x = 1", [], metadata) for metadata in ran))
    assert "stopped by an interruption" in front


def test_notebooks_of_one_name_have_pages_of_their_own(tmp_path):
    paths = [tmp_path / folder / "run.ipynb" for folder in ("mnist", "faces")]
    paths.append(tmp_path / "index.ipynb")
    for path in paths:
        write(path, f"# In {path.parent.name}", SOME)
    front = build_report(paths, tmp_path / "site", title="All <runs>")
    pages = {path.name for path in (tmp_path / "site").glob("*.html")}
    assert pages == {
        "index.html",
        "mnist-run.html",
        "faces-run.html",
        f"{tmp_path.name}-index.html",
    }
    assert "In faces" in (tmp_path / "site" / "faces-run.html").read_text()
    assert "<h1>All &lt;runs&gt;</h1>" in front.read_text()


def test_kept_runs_have_pages_named_by_notebook_and_run(tmp_path):
    runs = "00_quickstart/1a2b", "00_quickstart/3c4d", "01_masks/1a2b"
    paths = [write(tmp_path / run / "notebook.ipynb", "# A", SOME) for run in runs]
    build_report(paths, tmp_path / "site")
    pages = {path.stem for path in (tmp_path / "site").glob("*.html")}
    assert pages == {"index", *(run.replace("/", "-") for run in runs)}


def test_a_report_can_be_built_again_over_itself(tmp_path):
    first = build(tmp_path, "# A", SOME)
    assert build(tmp_path, "# A", SOME) == first
    files = {path.name for path in (tmp_path / "site").iterdir()}
    assert files == {"index.html", "one.html", "report.css", "report.js"}


@pytest.mark.parametrize(
    ("notebooks", "error", "message"),
    [
        (["gone.ipynb"], FileNotFoundError, r"no such notebook: .*gone\.ipynb"),
        (["text.ipynb"], ValueError, r"must be Jupyter notebooks, got .*text\.ipynb"),
        (["stripped.ipynb"], ValueError, r"executed ones, got .*stripped\.ipynb without outputs"),
        (
            ["good.ipynb", "good.ipynb"],
            ValueError,
            r"differ from each other, got .*good\.ipynb twice",
        ),
        (["good.ipynb", "gone.ipynb"], FileNotFoundError, "no such notebook"),
        ([], ValueError, "notebooks must hold at least one executed notebook, got none"),
    ],
)
def test_what_is_no_executed_notebook_is_refused_before_anything_is_written(
    tmp_path, notebooks, error, message
):
    write(tmp_path / "good.ipynb", "# A", SOME)
    write(tmp_path / "stripped.ipynb", "# A", ("x", []), (*SOME, {"tags": ["keep_output"]}))
    (tmp_path / "text.ipynb").write_text("no json")
    with pytest.raises(error, match=message):
        build_report([tmp_path / name for name in notebooks], tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_one_path_in_place_of_several_is_refused(tmp_path):
    with pytest.raises(TypeError, match="notebooks must be a sequence of paths"):
        build_report("one.ipynb", tmp_path)
