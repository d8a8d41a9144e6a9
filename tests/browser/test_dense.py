"""Drawing on the pad in a real browser, and the dense network that runs there."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import vsnn_lab.explore
from tests.browser import lab
from vsnn_lab import MLP, Autoencoder, Width, at_width, data
from vsnn_lab.export.dense import pack_dense

pytestmark = pytest.mark.slow

FRONT = Path(vsnn_lab.explore.__file__).parent / "front"
PARTS = ("dom.js", "pictures.js", "dense.js", "sheet.js", "pad.js")
# What the pad asks of an instrument; `drawn` is what a kernel answered, at every width.
STUB = """
window.start = (spec, values, weights, live) => {
    const hearing = [];
    const bytes = weights && Uint8Array.from(atob(weights), each => each.charCodeAt(0));
    window.asked = [];
    window.drawn = null;
    window.stub = {
        live,
        control: () => ({ values }),
        array: () => bytes,
        has: () => window.drawn !== null,
        slice: (name, positions) => window.drawn[positions.width],
        onLive: callback => (stub.live ? callback() : hearing.push(callback)),
        ask: (kind, content, [sent]) => {
            window.asked.push([kind, [...sent]]);
            return new Promise(resolve => { window.answer = resolve; });
        },
        begin: () => { stub.live = true; hearing.forEach(callback => callback()); },
    };
    window.part = pad(spec, stub);
    document.body.replaceChildren(part.element);
    part.show({ width: 0 });
};
"""
PICTURES = {"type": "pad", "shape": [1, 28, 28], "by": "width", "mode": "pictures"}
CLASSES = PICTURES | {"mode": "classes", "classes": [f"digit {i}" for i in range(10)]}


def joined() -> str:
    """Return the parts as one classic script."""
    sources = [(FRONT / name).read_text() for name in PARTS]
    return re.sub(r"^import .*\n|^export ", "", "\n".join(sources), flags=re.MULTILINE)


@pytest.fixture(scope="module")
def page(chromium):
    wrong = []
    with lab.browser_page(chromium) as page:
        page.context.set_offline(True)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        css = "canvas { width: 100%; display: block; image-rendering: pixelated; }"
        css += "figure { margin: 0; } [hidden] { display: none !important; }"
        page.set_content("<!doctype html><title>pad</title><body></body>")
        page.add_style_tag(content=css + (FRONT / "instrument.css").read_text())
        page.add_script_tag(content=joined() + STUB)
        yield page
    assert wrong == []


@pytest.fixture(scope="module")
def digits():
    mnist = data.load("mnist", "test")
    return mnist.images[:512], mnist.labels[:512]


def trained(model: nn.Module, loss) -> nn.Module:
    """Train a little at several widths, so that outputs differ from one to the next."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        optimizer = torch.optim.Adam(model.parameters(), 2e-3)
        for step in range(40):
            with at_width(model, 2 + step % 7):
                batch = torch.randint(512, (64,))
                optimizer.zero_grad()
                loss(model, batch).backward()
                optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def classifier(digits):
    images, labels = digits
    width = Width(24)
    model = MLP(784, (width, width), 10, conditioned=True)
    return trained(model, lambda m, i: F.cross_entropy(m(images[i].flatten(1)), labels[i]))


@pytest.fixture(scope="module")
def autoencoder(digits):
    images, _ = digits
    model = Autoencoder((1, 28, 28), Width(12), hidden=(64,), activation=nn.GELU)
    return trained(model, lambda m, i: F.mse_loss(m(images[i]), images[i]))


def packed(model: nn.Module, x: torch.Tensor) -> tuple[dict, str]:
    spec, weights = pack_dense(model, x)
    return spec, base64.b64encode(weights).decode()


def start(page, spec, model=None, x=None, *, live=False, widths=(1, 3, 8)) -> None:
    """Show a pad; with a model, its network rides along."""
    network, weights = (None, None) if model is None else packed(model, x)
    arguments = json.dumps([spec | {"network": network}, list(widths), weights, live])
    page.evaluate(f"start(...{arguments})")


def draw(page, *points: tuple[float, float]) -> None:
    """Draw a stroke with the mouse, through points in shares of the pad."""
    box = page.locator("canvas").first.bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*at[0])
    page.mouse.down()
    for x, y in at[1:]:
        page.mouse.move(x, y, steps=5)
    page.mouse.up()


def last_asked(page) -> np.ndarray:
    """Return the pixels that were sent to the kernel last."""
    kind, pixels = page.evaluate("asked.at(-1)")
    assert kind == "draw"
    return np.array(pixels, np.uint8).reshape(-1, 28, 28)


def pixels_of(page, canvas: int) -> np.ndarray:
    """Return what a canvas of 28 by 28 shows, in grey."""
    read = "node => [...node.getContext('2d').getImageData(0, 0, 28, 28).data]"
    shown = page.locator("canvas").nth(canvas).evaluate(read)
    return np.reshape(shown, (28, 28, 4))[..., 0]


def line(start, end, radius: float, size: int = 280) -> np.ndarray:
    """Return a stroke with round ends, averaged down to 28 by 28, point for point."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    (x0, y0), (x1, y1) = start, end
    length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-12)
    along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0, 1)
    near = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)) <= radius
    return 255 * near.reshape(28, size // 28, 28, -1).mean((1, 3))


@pytest.mark.parametrize("shared", [True, False], ids=["all at once", "one by one"])
@pytest.mark.parametrize("name", ["classifier", "autoencoder"])
def test_the_network_in_the_page_equals_torch_at_every_width(name, shared, page, digits, request):
    model, x = request.getfixturevalue(name), digits[0][:12]
    rows = x if name == "autoencoder" else x.flatten(1)
    spec, weights = packed(model, rows)
    page.evaluate(
        """([spec, weights]) => {
            const bytes = Uint8Array.from(atob(weights), each => each.charCodeAt(0));
            window.network = denseNetwork(spec, bytes);
        }""",
        [spec, weights],
    )
    found = page.evaluate(
        """async ([rows, shared]) => Promise.all(rows.map(async row => {
            const x = Float32Array.from(row);
            const alone = width => network.run(x, width);
            const all = shared ? await network.runAll(x) : network.widths.map(alone);
            return all.map(each => [...each]);
        }))""",
        [rows.flatten(1).tolist(), shared],
    )
    found = torch.tensor(found)
    assert found.shape[1] == spec["steps"]
    for width in range(1, spec["steps"] + 1):
        with torch.no_grad(), at_width(model, width):
            expected = model(rows).flatten(1)
        shown = found[:, width - 1]
        if name == "classifier":
            assert torch.equal(shown.argmax(1), expected.argmax(1))
            shown, expected = shown.softmax(1), expected.softmax(1)
        torch.testing.assert_close(shown, expected, atol=1e-3, rtol=0)


def test_every_number_of_half_precision_is_decoded(page):
    halves = np.arange(2**16, dtype="<u2").view("<f2")
    halves = halves[np.isfinite(halves)]
    found = page.evaluate("bytes => [...decodeHalves(Uint8Array.from(bytes))]", [*halves.tobytes()])
    assert np.array_equal(found, halves.astype(float))


def test_activations_equal_those_of_torch(page):
    functions = {
        "relu": F.relu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "silu": F.silu,
        "gelu": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "leaky_relu": lambda x: F.leaky_relu(x, 0.3),
    }
    x = torch.cat([torch.linspace(-6, 6, 121), torch.tensor([-800.0, 800.0])])
    read = "x => Object.entries(ACTIVATIONS).map(([name, f]) => [name, x.map(one => f(one, 0.3))])"
    found = dict(page.evaluate(read, x.tolist()))
    assert {*found} == {*functions}
    for name, function in functions.items():
        torch.testing.assert_close(torch.tensor(found[name]), function(x), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("paper", [0, 255])
def test_a_stroke_of_the_mouse_is_what_the_model_gets(paper, page):
    start(page, PICTURES | {"paper": paper}, live=True)
    draw(page, (0.25, 0.3), (0.7, 0.6))
    expected = line((0.25, 0.3), (0.7, 0.6), 0.085 / 2)
    assert np.abs(last_asked(page)[0] - np.abs(paper - expected)).max() < 20
    assert np.array_equal(pixels_of(page, 1), last_asked(page)[0])


def test_a_click_leaves_a_dot_and_clear_takes_it_away(page):
    start(page, PICTURES, live=True)
    draw(page, (0.5, 0.5))
    assert np.abs(last_asked(page)[0] - line((0.5, 0.5), (0.5, 0.5), 0.085 / 2)).max() < 30
    page.get_by_role("button", name="Clear").click()
    draw(page, (0.2, 0.2))
    assert last_asked(page)[0, 14, 14] == 0


def test_an_unfinished_stroke_waits_for_the_answer_and_its_end_does_not(page):
    start(page, PICTURES, live=True)
    box = page.locator("canvas").first.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 60, steps=5)
    page.wait_for_function("asked.length === 1")
    page.mouse.move(box["x"] + 90, box["y"] + 60, steps=5)
    page.mouse.up()
    assert page.evaluate("asked.length") == 2


def test_a_finger_draws(page):
    start(page, PICTURES, live=True)
    box = page.locator("canvas").first.bounding_box()
    session = page.context.new_cdp_session(page)
    for kind, share in (("touchStart", 0.3), ("touchMove", 0.5), ("touchMove", 0.7)):
        at = {"x": box["x"] + share * box["width"], "y": box["y"] + 0.5 * box["height"]}
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [at]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function("asked.length")
    expected = line((0.3, 0.5), (0.7, 0.5), 0.085 / 2)
    assert np.abs(last_asked(page)[0] - expected).max() < 20


def test_drawings_are_scaled_and_centred_as_digits_of_mnist_are(page):
    start(page, CLASSES | {"center": True}, live=True)
    draw(page, (0.1, 0.1), (0.1, 0.35), (0.2, 0.35))
    image = last_asked(page)[0].astype(float)
    rows, columns = np.nonzero(image.max(1) > 10)[0], np.nonzero(image.max(0) > 10)[0]
    assert abs(max(np.ptp(rows), np.ptp(columns)) + 1 - 20) <= 1
    y, x = (np.mgrid[:28, :28] + 0.5) * image / image.sum()
    np.testing.assert_allclose((x.sum(), y.sum()), 14, atol=0.1)


def png(pixels: np.ndarray, name: str = "digit.png") -> dict:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return {"name": name, "mimeType": "image/png", "buffer": buffer.getvalue()}


def test_a_file_that_is_chosen_is_what_the_model_gets(page, digits):
    start(page, CLASSES | {"center": True}, live=True)
    pixels = (digits[0][0, 0] * 255).round().byte().numpy()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open an image").click()
    chooser.value.set_files(png(pixels))
    page.wait_for_function("asked.length")
    assert np.array_equal(last_asked(page)[0], pixels)


def test_a_coloured_file_that_is_dropped_keeps_its_shape_and_colours(page):
    start(page, PICTURES | {"shape": [3, 28, 28]}, live=True)
    pixels = np.zeros((60, 120, 3), np.uint8)
    pixels[:, :60] = (250, 40, 10)
    drop(page, png(pixels))
    found = last_asked(page)
    assert np.array_equal(found[:, 14, 5], (250, 40, 10))
    assert not found[:, :6].any()
    assert not found[:, :, 15:].any()


def drop(page, file: dict) -> None:
    page.evaluate(
        """([bytes, name, type]) => {
            const data = new DataTransfer();
            const content = Uint8Array.from(atob(bytes), each => each.charCodeAt(0));
            data.items.add(new File([content], name, { type }));
            const told = { dataTransfer: data, bubbles: true, cancelable: true };
            part.element.dispatchEvent(new DragEvent("dragover", told));
            part.element.dispatchEvent(new DragEvent("drop", told));
        }""",
        [base64.b64encode(file["buffer"]).decode(), file["name"], file["mimeType"]],
    )
    page.wait_for_function("asked.length || document.querySelector('[role=status]').textContent")


def test_a_file_that_is_no_image_is_named_as_text(page):
    start(page, PICTURES, live=True)
    drop(page, {"name": "<b>notes</b>.txt", "mimeType": "text/plain", "buffer": b"hello"})
    said = page.get_by_role("status").inner_text()
    assert said == "<b>notes</b>.txt is not an image that this browser can read"
    assert page.evaluate("asked.length") == 0
    draw(page, (0.5, 0.5))
    assert last_asked(page)[0, 14, 14] > 0


def test_without_a_kernel_the_slider_scrubs_what_the_network_gave(page, classifier, digits):
    images, _ = digits
    start(page, CLASSES, classifier, images[:32].flatten(1))
    pixels = (images[3, 0] * 255).round().byte().numpy()
    drop_and_wait(page, png(pixels))
    x = torch.from_numpy(pixels).flatten()[None] / 255
    for index, width in enumerate((1, 3, 8)):
        page.evaluate("index => part.show({ width: index })", index)
        with torch.no_grad(), at_width(classifier, width):
            expected = classifier(x).softmax(1)[0]
        order = expected.argsort(descending=True)[:5]
        rows = page.locator(".vsnn-drawn li").all_inner_texts()
        assert page.locator("[data-readout='drawn class']").inner_text() == f"digit {order[0]}"
        assert len(rows) == 5
        for row, digit in zip(rows, order, strict=True):
            name, share = re.fullmatch(r"(digit \d)\s+([\d.]+) %\s*", row).groups()
            assert name == f"digit {digit}"
            assert abs(float(share) / 100 - expected[digit]) < 2e-3


def drop_and_wait(page, file: dict) -> None:
    page.evaluate("document.querySelector('input').value = ''")
    page.locator("input").set_input_files(file)
    page.wait_for_function(
        "document.querySelector('[data-readout]').textContent"
        " && document.querySelector('[aria-busy]').getAttribute('aria-busy') === 'false'"
    )


def test_pictures_of_the_network_are_drawn_beside_the_pad(page, autoencoder, digits):
    images, _ = digits
    start(page, PICTURES, autoencoder, images[:32])
    pixels = (images[5, 0] * 255).round().byte().numpy()
    drop_and_wait(page, png(pixels))
    page.evaluate("part.show({ width: 2 })")
    with torch.no_grad(), at_width(autoencoder, 8):
        expected = autoencoder(torch.from_numpy(pixels)[None, None] / 255)[0, 0] * 255
    found = pixels_of(page, 2).astype(float)
    assert np.abs(found - expected.numpy()).max() <= 1
    error = ((found - pixels) ** 2).mean() / 255**2 * 1000
    assert page.locator("[data-readout='drawn MSE × 1000']").inner_text() == f"{error:.2f}"


def test_the_kernel_s_answer_is_shown_and_forgotten_with_the_drawing(page):
    start(page, CLASSES, live=True)
    draw(page, (0.3, 0.3), (0.6, 0.6))
    busy = page.locator("[aria-busy]")
    assert busy.get_attribute("aria-busy") == "true"
    page.evaluate(
        """() => {
            window.drawn = [0, 1, 2].map(i => Float32Array.from({ length: 10 }, (_, j) => i === j));
            part.show({ width: 1 });
            answer();
        }"""
    )
    page.wait_for_selector("[aria-busy=false]")
    assert page.locator("[data-readout='drawn class']").inner_text() == "digit 1"
    page.get_by_role("button", name="Clear").click()
    page.evaluate("part.show({ width: 2 })")
    assert page.locator("[data-readout='drawn class']").inner_text() == ""


def test_a_pad_that_nothing_answers_is_not_shown_until_a_kernel_does(page):
    start(page, PICTURES)
    assert page.locator(".vsnn-pad").is_hidden()
    page.evaluate("stub.begin()")
    assert page.locator(".vsnn-pad").is_visible()
