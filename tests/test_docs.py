"""The documentation: what it shows runs, what it names exists, and the site builds."""

import ast
import doctest
import inspect
import json
import os
import re
import subprocess
import sys
from graphlib import CycleError
from importlib import import_module
from itertools import combinations
from pathlib import Path
from statistics import fmean
from xml.etree.ElementTree import Element, fromstring

import numpy as np
import pytest
import torch
import yaml

import vsnn_lab
from docs.rooms import FILES, PACKAGE, room_imports
from vsnn_lab import samplers

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
BLOCK = re.compile(r"^```(\S*).*\n(?::.*\n)*((?:.*\n)*?)```$", re.MULTILINE)
# Fences of Sphinx and ours, a shell, a citation, and the reference's code before it was changed.
OURS = ("{drawing}", "{plot}", "{atlas}")
NOT_RUN = ("{eval-rst}", "{toctree}", "{include}", *OURS, "sh", "bibtex", "Before")


def named(paths: list[Path]) -> dict[str, object]:
    return {"argvalues": paths, "ids": [str(path.relative_to(DOCS)) for path in paths]}


def blocks(page: Path) -> list[tuple[str, int, str]]:
    """List a page's fenced blocks: language, line of the first line of code, and code."""
    text = page.read_text(encoding="utf-8")
    found = []
    for block in BLOCK.finditer(text):
        captions = re.findall(r"^:caption: (\w+)", block[0], re.MULTILINE)
        line = text[: block.start(2)].count("\n") + 1
        found.append(("Before" if "Before" in captions else block[1], line, block[2]))
    return found


def run_examples(code: str, scope: dict[str, object], page: Path, line: int) -> str:
    """Run lines with prompts; return what doctest says is wrong."""
    test = doctest.DocTestParser().get_doctest(code, scope, page.name, str(page), line - 1)
    test.globs = scope  # a copy otherwise, and the next block would not know its names
    complaints: list[str] = []
    doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(
        test, out=complaints.append, clear_globs=False
    )
    return "".join(complaints)


def run_page(page: Path) -> None:
    """Run every block of a page in one scope, in order."""
    scope: dict[str, object] = {"__name__": page.stem}
    for kind, line, code in blocks(page):
        if ">>> " in code:
            wrong = run_examples(code, scope, page, line)
            assert not wrong, wrong
        elif kind not in NOT_RUN:
            exec(compile("\n" * (line - 1) + code, page, "exec"), scope)


# Torch's own, while it exports to ONNX; tests/export/test_verification.py says more.
@pytest.mark.filterwarnings(
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning",
    "ignore:# The axis name. batch will not be used:UserWarning",
)
@pytest.mark.parametrize(
    "page", **named([page for page in PAGES if {"python", "pycon"} & {b[0] for b in blocks(page)}])
)
def test_every_block_of_code_runs_and_prints_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(page)


@pytest.mark.parametrize("page", **named(PAGES))
def test_every_block_is_code_that_runs_or_a_kind_that_cannot(page):
    for kind, line, _ in blocks(page):
        runs = ("python", "pycon", "{code-block}")
        assert kind in (*runs, *NOT_RUN), f"line {line}: {kind!r} would not run"


def test_a_wrong_output_and_a_failing_line_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\na = 1\n```\n\n```pycon\n>>> a\n2\n```\n")
    with pytest.raises(AssertionError, match=r"line 6(.|\n)*Expected:\s+2\s+Got:\s+1"):
        run_page(page)
    page.write_text("```{code-block} python\n:caption: After\n\n1 / 0\n```\n")
    with pytest.raises(ZeroDivisionError):
        run_page(page)


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", **named(PAGES))
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    for target in re.findall(r"\]\(([^)]+)\)", BLOCK.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = target.partition("#")
        if not target.startswith("https://"):
            found = (page.parent / path).resolve()
            assert found.is_file(), target
            assert not anchor or anchor in anchors(found.read_text(encoding="utf-8")), target


def table(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its head."""
    text = (DOCS / page).read_text(encoding="utf-8").split(f"# {heading}\n")[1]
    rows = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)[0].splitlines()
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]


def code_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def expressions() -> list[str]:
    """List our code in the right column of the table for users of the reference."""
    cells = [row[1] for row in table("from_the_reference.md", "What is called what")]
    found = [code for cell in cells for code in code_in(cell)]
    return [code for code in found if not code.startswith("torch.")]


def names_in(code: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("code", expressions())
def test_the_table_for_users_of_the_reference_names_what_exists(code):
    own = names_in(code) - {"net", "n", "x", "fn", "knob"}
    assert own <= set(vsnn_lab.__all__)
    scope = {name: getattr(vsnn_lab, name) for name in own}
    hidden = vsnn_lab.Width(16)
    scope |= {"net": vsnn_lab.MLP(3, (hidden, hidden), 2), "x": torch.ones(2, 3)}
    scope |= {"n": 4, "fn": lambda share: share, "knob": vsnn_lab.WidthControl(3)}
    eval(code, scope)


MODES = "mask_mode=-1 mask_mode=-2 mask_mode=-2.25 mask_mode=n mask_mode=0.5 mask_mode=None"
OTHERS = (
    "mask_mode=fn diagonal=2 axis=1 net.getStaticSubnet(n) examples/mlp/match_static_network.py"
)


@pytest.mark.parametrize("code", [*MODES.split(), *OTHERS.split(), "masker.base = 3"])
def test_the_table_for_users_of_the_reference_covers_each_of_its_modes(code):
    asked = [row[0] for row in table("from_the_reference.md", "What is called what")]
    assert any(code in code_in(cell) for cell in asked)


def test_the_table_of_samplers_lists_each_once_with_arguments_that_it_has():
    cells = [row[0] for row in table("choosing_a_sampler.md", "Choosing a sampler")]
    listed = [re.findall(r"\w+", cell) for cell in cells]
    assert sorted(name for name, *_ in listed) == sorted(set(samplers.__all__) - {"Sampler"})
    for name, *arguments in listed:
        assert set(arguments) <= set(inspect.signature(getattr(samplers, name)).parameters)


def test_attention_of_weights_that_a_function_applies_stays_as_the_page_says():
    from vsnn_lab.data._torchvision import models

    page = (DOCS / "reference" / "make-variable.md").read_text(encoding="utf-8")
    assert "`swin_*`" in page
    model = models.SwinTransformer([4, 4], 16, [1, 1], [2, 4], [4, 4]).eval()
    net = vsnn_lab.make_variable(model, torch.randn(2, 3, 64, 64), verify=False)
    stays = [layer for layer in vsnn_lab.explain(net).rows if layer.share == 0]
    assert any("attn" in layer.name for layer in stays)


def test_every_path_that_says_how_to_contribute_exists():
    text = BLOCK.sub("", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    paths = [
        code for code in code_in(text) if re.fullmatch(r"[\w./]*(/[\w.]*|\.(md|py|ipynb))", code)
    ]
    assert len(paths) > 40
    for path in paths:
        assert (ROOT / path).exists(), path
    for room in re.findall(r"room `(\w+)`", text):
        assert (PACKAGE / room / "__init__.py").is_file()


def test_hosted_ci_runs_every_check_and_builds_the_documentation():
    path = ROOT / ".github" / "workflows" / "ci.yml"
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"push", "pull_request"} <= set(workflow[True])  # YAML reads `on` as true
    (job,) = workflow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == [".ci/run", "make docs"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.fixture(scope="module")
def drawings():
    """Return what draws pictures of the package."""
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    return import_module("docs.drawings")


def elements(svg: str, kind: str, name: str) -> list[Element]:
    """List the elements of a picture of a kind and a class."""
    found = fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{kind}")
    return [element for element in found if name in element.get("class", "").split()]


def boxes(svg: str) -> dict[str, list[float]]:
    """Return where each room is drawn: left, top, right and bottom."""
    groups = elements(svg, "g", "room")
    found = {}
    for group in groups:
        x, y, width, height = (float(group[0].get(key)) for key in ("x", "y", "width", "height"))
        found[group.get("data-room")] = [x, y, x + width, y + height]
    assert len(found) == len(groups)
    return found


def reached(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Add to pairs those that one comes to over several."""
    found = {(a, c) for a, b in arrows for other, c in arrows if b == other} | arrows
    return found if found == arrows else reached(found)


def test_the_picture_of_the_rooms_has_every_room_and_none_over_another(drawings):
    svg = drawings.rooms_picture(room_imports())
    found = boxes(svg)
    assert {*found} == {path.relative_to(PACKAGE).parts[0] for path in FILES}
    for (left, top, right, bottom), (x, y, end, floor) in combinations(found.values(), 2):
        assert right < x or end < left or bottom < y or floor < top
    _, _, width, height = map(float, fromstring(svg).get("viewBox").split())
    for left, top, right, bottom in found.values():
        assert min(left, top) >= 0
        assert right <= width
        assert bottom <= height


def test_every_arrow_of_that_picture_points_down_from_a_room_to_one_it_rests_on(drawings):
    imports = room_imports()
    svg = drawings.rooms_picture(imports)
    found, arrows = boxes(svg), set()
    for arrow in elements(svg, "path", "import"):
        parts = re.findall(r"([MCV])([\d. ]+)", arrow.get("d"))
        heights = [y for kind, at in parts for y in at.split()[0 if kind == "V" else 1 :: 2]]
        heights = [float(y) for y in heights]
        upper, lower = arrow.get("data-from"), arrow.get("data-to")
        assert heights == sorted(heights)
        assert heights[0] == found[upper][3]
        assert found[lower][1] - 10 < heights[-1] <= found[lower][1]
        arrows.add((upper, lower))
    assert reached(arrows) == reached({(a, b) for a, below in imports.items() for b in below})


def test_a_circle_of_rooms_is_no_picture(drawings, monkeypatch):
    monkeypatch.setattr("docs.rooms.imported_rooms", lambda path: {"widths", "train"})
    with pytest.raises(CycleError, match="nodes are in a cycle"):
        room_imports()


def test_calls_lead_to_the_right_from_a_room_to_one_that_it_imports(drawings):
    imports = room_imports()
    for calls in drawings.CALLS.values():
        svg = drawings.calls_picture(calls, imports)
        drawn = elements(svg, "g", "call")
        for call in drawn:
            assert call.get("data-to") in imports[call.get("data-from")]
            start, _, end = re.findall(r"[\d.]+", call.find("{*}path").get("d"))
            assert float(start) < float(end)
        assert len(drawn) == len(calls)


def test_a_call_against_the_imports_is_refused(drawings):
    call = drawings.Call("widths", "fit", "batch", "trains")
    with pytest.raises(ValueError, match="widths must import from train to call fit"):
        drawings.calls_picture([call], room_imports())


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Build the site as `make docs` does."""
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    done = subprocess.run(
        [*command, "-d", folder / "doctrees", DOCS, folder / "html"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(site):
    assert (site / "index.html").is_file()


@pytest.mark.slow
def test_every_public_name_has_a_place_in_the_reference(site):
    from sphinx.util.inventory import InventoryFile

    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    places = {
        name: item.uri
        for kind, items in inventory.data.items()
        if kind.startswith("py:")
        for name, item in items.items()
    }
    for name in vsnn_lab.__all__:
        place = places[f"vsnn_lab.{name}"]
        page, _, anchor = place.partition("#")
        assert page.startswith("reference/"), place
        html = (site / page).read_text(encoding="utf-8")
        assert f'id="{anchor.replace("$", f"vsnn_lab.{name}")}"' in html, place


@pytest.mark.slow
def test_the_site_asks_no_other_site_for_what_it_shows(site):
    for page in site.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(https?:[^"]+)"', html)
        assert not loaded, page.name


@pytest.fixture
def plots():
    """Return what draws tracked results."""
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    return import_module("docs.plots")


@pytest.mark.parametrize("name", ["autoencoders", "classifiers", "top", "vgg"])
def test_a_plot_draws_the_means_of_the_tracked_runs(plots, name):
    runs = json.loads((DOCS / "results" / f"{name}.json").read_text(encoding="utf-8"))["runs"]
    column, scale = ("mse", 1000) if name == "autoencoders" else ("accuracy", 100)
    curves = [
        run[column]
        for run in runs
        if run["method"] == "variable" and run.get("task", "fashion-mnist") == "fashion-mnist"
    ]
    means = [scale * fmean(curve[at] for curve in curves) for at in curves[0]]
    drawn = [trace.y for trace in plots.PLOTS[name]().data if len(trace.y) == len(means)]
    assert any(np.allclose(each, means) for each in drawn)


@pytest.mark.slow
def test_the_site_shows_every_plot(site, plots):
    html = (site / "measurements.html").read_text(encoding="utf-8")
    for name in plots.PLOTS:
        assert f'id="plot-{name}"' in html
    assert "Plotly" in (site / "_static" / "plotly.min.js").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_site_has_the_atlas_its_table_and_its_page(site):
    from docs.atlas import files, fragment, rows, tasks

    html = (site / "width_atlas.html").read_text(encoding="utf-8")
    known = tasks.summarise(rows.read_rows())
    data = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1]
    expected = fragment.page_data(known, tasks.slider_stops(known))
    assert json.loads(data) == json.loads(json.dumps(expected))
    for address in re.findall(r'(?:src|href)="(_static/[\w.]*(?:atlas|plotly)[\w.]*)"', html):
        assert (site / address).is_file(), address
    assert f'href="_static/{files.CSV}" download' in html
    table = (site / "_static" / files.CSV).read_text(encoding="utf-8")
    assert table == files.csv_text(rows.read_rows())


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_atlas_moves_in_the_site_offline_and_its_slider_stays_in_sight(site, chromium):
    from tests.browser import lab

    small = {"width": 390, "height": 800}
    with lab.browser_page(chromium, offline=True, viewport=small) as page:
        page.goto((site / "width_atlas.html").as_uri())
        page.locator("[data-shown]").wait_for()
        page.get_by_role("heading", name="Language model").scroll_into_view_if_needed()
        slider = page.get_by_label("share of full width")
        last = slider.get_attribute("max")
        for key, stop in (("Home", "0"), ("End", last)):
            slider.press(key)
            page.locator(f"[data-shown='width {stop}']").wait_for()
            assert 0 < slider.bounding_box()["y"] < 200
            texts = page.locator("[data-row=language-fh] td").all_text_contents()
            assert texts[0].split() == ["1" if key == "Home" else "6", "of", "6"]
        assert page.evaluate("document.documentElement.scrollWidth") == 390
