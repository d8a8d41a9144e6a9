"""The language model's instrument: each width's own words, and its own surprise."""

import json
import math
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models

from tests.explore.language import MERGES, PASSAGE, PROMPT, byte_tokenizer, language_model
from tests.explore.shown import control, numbers, tiles
from vsnn_lab import LanguageModel, Width, extract, joint_positions
from vsnn_lab.explore import TextExplorer, continuations
from vsnn_lab.explore.portable import portable_html, portable_state
from vsnn_lab.explore.tokens import TokenTexts
from vsnn_lab.measure.ablation import WidthSweep
from vsnn_lab.widths import width_controls

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

STEPS, LENGTH = 6, 12
OTHER = "another café"


@pytest.fixture(scope="module")
def model():
    return language_model(STEPS)


def text_explorer(model, **options) -> TextExplorer:
    made = {"prompt": PROMPT, "length": LENGTH} | options
    return TextExplorer(model, byte_tokenizer(), PASSAGE, **made)


@pytest.fixture(scope="module")
def explorer(model):
    return text_explorer(model)


def part(explorer: TextExplorer, kind: str) -> dict:
    return next(each for each in explorer.description["parts"] if each["type"] == kind)


def written(explorer: TextExplorer) -> list[list[int]]:
    """Return the numbers of the tokens that travel, by stop."""
    return [
        [token for token, _ in one] for one in part(explorer, "continuation")["by_width"]["tokens"]
    ]


def greedy(model, prompt: str, turn) -> list[int]:
    """Return the likeliest tokens of a submodel that is cut out, read anew for each of them."""
    cut, ids = extract(model, turn).eval(), byte_tokenizer().encode(prompt).ids
    start = len(ids)
    for _ in range(LENGTH):
        with torch.no_grad():
            ids.append(int(cut(torch.tensor([ids]))[0, -1].argmax()))
    return ids[start:]


def test_each_width_writes_what_its_cut_model_writes(explorer, model):
    found = written(explorer)
    assert found == [greedy(model, PROMPT, width) for width in range(1, STEPS + 1)]
    assert len({*map(tuple, found)}) > 1


def test_surprise_is_that_of_the_cut_models_and_the_first_token_has_none(explorer, model):
    ids = torch.tensor(byte_tokenizer().encode(PASSAGE).ids)
    sizes = [len(byte_tokenizer().decode([each]).encode()) for each in ids.tolist()]
    assert explorer.surprise.shape == (STEPS, len(ids))
    for width in range(1, STEPS + 1):
        with torch.no_grad():
            logits = extract(model, width).eval()(ids[None, :-1])[0]
        bits = F.cross_entropy(logits, ids[1:], reduction="none") / math.log(2)
        assert math.isnan(explorer.surprise[width - 1, 0])
        np.testing.assert_allclose(explorer.surprise[width - 1, 1:], bits, atol=1e-4)
        size = len(PASSAGE.encode()) - sizes[0]
        assert explorer.sweep.at(width) == pytest.approx(float(bits.sum()) / size, abs=1e-5)


def test_tokens_within_a_character_are_shown_with_its_end_and_no_bit_is_lost(explorer):
    shown, bits = part(explorer, "passage")["texts"], numbers(explorer, "surprise")
    assert "".join(shown) == PASSAGE
    assert [each for each in shown if not each.isascii()] == ["é", "ï", "東", "京", "🙂"]
    assert bits.shape == (STEPS, len(shown))
    np.testing.assert_allclose(np.nansum(bits, 1), np.nansum(explorer.surprise, 1), rtol=1e-5)
    assert np.isnan(bits[:, 0]).all()
    assert not np.isnan(bits[:, 1:]).any()


def test_any_bytes_are_shown_one_token_after_the_other():
    texts = TokenTexts(byte_tokenizer(), 256 + len(MERGES))
    ids = {bytes_: index for index, bytes_ in enumerate(texts.bytes)}
    spelled = [b"f\xc3", b"\xa9", b"\xff", b"\xf0", b"\x9f", b"\x99", b"a", b"\xe6"]
    tokens = [ids[each] for each in spelled]
    assert texts.texts(tokens) == ["f", "é", "�", "", "", "", "�a", "�"]
    assert texts.texts(tokens, whole=False)[-1] == ""
    for index, wanted in enumerate(texts.bytes):
        if wanted.isascii():
            assert texts.texts([index]) == [byte_tokenizer().decode([index])] == [wanted.decode()]


def test_the_same_numbers_are_drawn_at_every_width(model):
    first, again = (text_explorer(model, temperature=0.5, seed=3) for _ in range(2))
    assert written(first) == written(again) != written(text_explorer(model, temperature=0.5))
    # Where widths give every token the same share, they draw the same tokens.
    flat = language_model(STEPS)
    with torch.no_grad():
        flat.embed_tokens.weight.mul_(1e-6)
    assert len({*map(tuple, written(text_explorer(flat, temperature=1)))}) == 1


class Kernel:
    """A kernel as a page meets it: it answers messages."""

    def __init__(self, explorer: TextExplorer, monkeypatch) -> None:
        self.explorer, self.answers = explorer, []
        monkeypatch.setattr(
            explorer, "send", lambda content, buffers=None: self.answers.append(content)
        )

    def ask(self, prompt: str, widths: list[int], have: list[int]) -> list:
        asked = {"id": 5, "type": "continue", "prompt": prompt, "widths": widths, "have": have}
        self.explorer._hear(self.explorer, asked, [])
        answer = self.answers[-1]
        assert (answer["id"], answer["prompt"], answer["widths"]) == (5, prompt, widths)
        assert json.loads(json.dumps(answer)) == answer
        return answer["tokens"]

    def read(self, prompt: str, widths: list[int]) -> list[list[int]]:
        """Ask until all is there; return the numbers of the tokens of each width."""
        found: list[list] = [[] for _ in widths]
        while any(len(each) < LENGTH for each in found):
            before = [len(each) for each in found]
            for one, more in zip(found, self.ask(prompt, widths, before), strict=True):
                one += more
            assert sum(map(len, found)) > sum(before)
        return [[token for token, _ in each] for each in found]


def test_a_page_is_given_a_few_tokens_at_a_time_until_all_are_there(model, monkeypatch):
    monkeypatch.setattr("vsnn_lab.explore.text._BURST", 0.0)
    kernel = Kernel(text_explorer(model), monkeypatch)
    for count in range(1, LENGTH + 1):
        found = kernel.ask(OTHER, [2, STEPS], [0, 0])
        assert [len(each) for each in found] == [count] * 2
    full = greedy(model, OTHER, STEPS)
    assert [[token for token, _ in each] for each in found] == [greedy(model, OTHER, 2), full]
    assert kernel.ask(OTHER, [STEPS, STEPS], [LENGTH, 10]) == [[], found[1][10:]]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_what_was_left_for_another_width_goes_on_where_it_stopped(model, monkeypatch, temperature):
    monkeypatch.setattr("vsnn_lab.explore.text._BURST", 0.0)
    whole = Kernel(text_explorer(model, temperature=temperature), monkeypatch)
    expected = whole.read(OTHER, [1, 4, STEPS])
    explorer = text_explorer(model, temperature=temperature)
    kernel = Kernel(explorer, monkeypatch)
    for width in (1, 4, 1, 4, 4, 1):
        kernel.ask(OTHER, [width, STEPS], [0, 0])
    held = explorer._continuations._by_width
    assert [width for width in sorted(held) if held[width].rest is not None] == [1, STEPS]
    assert kernel.read(OTHER, [1, 4, STEPS]) == expected


def test_full_width_s_continuation_is_computed_once_a_prompt(model, monkeypatch):
    kernel = Kernel(text_explorer(model), monkeypatch)
    (knob,) = width_controls(model)
    read = []
    hook = model.register_forward_pre_hook(
        lambda _, args: read.append((knob.position, args[0].shape[1]))
    )
    try:
        for width in range(1, STEPS + 1):
            kernel.read(OTHER, [width, STEPS])
        for width in range(1, STEPS + 1):
            kernel.read(OTHER, [width, STEPS])
    finally:
        hook.remove()
    size = len(byte_tokenizer().encode(OTHER).ids)
    for width in range(1, STEPS + 1):
        assert [count for at, count in read if at == width] == [size] + [1] * (LENGTH - 1)


def test_another_prompt_replaces_the_one_before_and_none_writes_nothing(model, monkeypatch):
    kernel = Kernel(text_explorer(model), monkeypatch)
    for prompt in (OTHER, PROMPT, OTHER):
        assert kernel.read(prompt, [3]) == [greedy(model, prompt, 3)]
    assert kernel.ask("", [3, STEPS], [0, 0]) == [[], []]
    assert kernel.read(OTHER, [3]) == [greedy(model, OTHER, 3)]


def test_a_model_in_training_is_left_as_it_was(monkeypatch):
    model = language_model(STEPS).train()
    (knob,) = width_controls(model)
    kernel = Kernel(text_explorer(model), monkeypatch)
    kernel.read(OTHER, [2])
    assert knob.position == STEPS
    assert all(module.training for module in model.modules())
    assert not any(each.grad is not None for each in model.parameters())


def test_a_failure_is_answered_and_the_next_question_works(model, monkeypatch):
    explorer = text_explorer(model)
    kernel = Kernel(explorer, monkeypatch)

    def fail(*_, **__):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(continuations, "continuation", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            kernel.ask(OTHER, [2], [0])
    assert kernel.answers[-1] == {"id": 5, "error": "out of memory"}
    assert kernel.read(OTHER, [2]) == [greedy(model, OTHER, 2)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": 3}, "prompt must be a string, got 3"),
        ({"prompt": "a" * 1001}, r"prompt must have 0\.\.1000 characters, got 1001"),
        ({"widths": [7]}, r"width must lie in 1\.\.6, got 7"),
        ({"have": [-1]}, "have must be at least 0, got -1"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_with_what_is_wrong(
    model, monkeypatch, changes, message
):
    kernel = Kernel(text_explorer(model), monkeypatch)
    asked = {"prompt": OTHER, "widths": [1], "have": [0]} | changes
    with pytest.raises((TypeError, ValueError), match=message):
        kernel.ask(**asked)
    assert "error" in kernel.answers[-1]


def test_several_knobs_turn_together(monkeypatch):
    model = language_model(STEPS, knobs=2)
    assert len(width_controls(model)) == 2
    explorer = text_explorer(model)
    wanted = [greedy(model, PROMPT, joint_positions(model, width)) for width in range(1, STEPS + 1)]
    assert written(explorer) == wanted


def test_of_many_widths_the_slider_stops_at_those_of_the_log2_scale_or_where_it_is_told():
    model = language_model(40, knobs=2)
    stops = text_explorer(model, length=1).widths
    assert stops[:6] == [1, 2, 3, 4, 5, 6]
    assert stops[-1] == 40
    assert len(stops) < 32
    some = text_explorer(model, length=1, widths=[3, 17])
    assert control(some, "width")["values"] == some.widths == [3, 17, 40]
    assert [len(each) for each in tiles(some)["parameters"].values() if isinstance(each, list)] == [
        3,
        3,
    ]


def test_read_outs_say_what_a_width_is_worth_and_costs(explorer, model):
    said = tiles(explorer)
    assert said["width"]["values"] == [f"{width}" for width in range(1, STEPS + 1)]
    assert said["bits per byte"]["values"] == [f"{v:.3f}" for v in explorer.sweep.values]
    assert said["bits per byte"]["notes"] == "of the passage"
    full = explorer.sweep.at(STEPS)
    assert said["against full width"]["values"][0] == f"{explorer.sweep.at(1) / full - 1:+.1%}"
    sizes = [sum(p.numel() for p in extract(model, w).parameters()) for w in range(1, STEPS + 1)]
    assert said["parameters"]["values"] == [f"{size:,}" for size in sizes]
    assert all(float(v.replace(",", "")) > 0 for v in said["tokens a second"]["values"])


def test_a_sweep_and_other_models_stand_beside_each_other(model):
    bits = np.linspace(3, 2, STEPS)
    sweep = WidthSweep("bits_per_byte", np.arange(1, STEPS + 1), bits, STEPS)
    explorer = text_explorer(model, sweep=sweep, dedicated={1: [3.5, 4.0], 3: 2.25}, plain=1.5)
    assert tiles(explorer)["bits per byte"]["values"][0] == "3.000"
    graph = part(explorer, "curve")
    own, plain, dedicated = graph["series"]
    assert numbers(explorer, "curve").tolist() == bits.astype(np.float32).tolist()
    assert (plain["level"], dedicated["y"]) == (1.5, [3.75, 2.25])
    low, high = graph["y"]["range"]
    assert 1 < low < 1.5, "bits per byte lie close together, and the axis shows that part alone"
    assert 4 < high < 4.5
    assert own["follow"]


def test_the_figure_shows_the_words_of_the_width_and_of_the_prompt_that_was_set(model):
    explorer = text_explorer(model)
    seen = set()
    for prompt in (PROMPT, OTHER):
        for width in (1, STEPS):
            explorer.width, explorer.prompt = width, prompt
            _, lines, letters = explorer.static_figure().data[:3]
            assert f"<i>{prompt}</i>" in letters.text
            assert f"<b>at this width, {width}</b>" in letters.text
            assert (lines.x is None or len(lines.x) == 0) == (width == STEPS)
            seen.add("".join(letters.text))
    assert len(seen) == 4


def test_a_page_without_a_kernel_has_the_first_prompt_s_words_at_every_width_left_to_it(explorer):
    fewer = portable_state(explorer, most=1)
    kept = fewer["description"]["controls"][0]["values"]
    assert kept == [1, STEPS]
    (talk,) = (each for each in fewer["description"]["parts"] if each["type"] == "continuation")
    assert [[t for t, _ in one] for one in talk["by_width"]["tokens"]] == [
        written(explorer)[width - 1] for width in kept
    ]
    assert fewer["arrays"]["surprise"]["shape"][0] == 2


def test_what_stands_in_a_passage_or_is_written_is_no_markup(explorer):
    assert "<b>then" not in portable_html(explorer)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_models_of_other_dtypes_are_shown(dtype):
    explorer = text_explorer(language_model(STEPS).to(dtype), length=2)
    assert explorer.sweep.values == pytest.approx(
        text_explorer(language_model(STEPS)).sweep.values, rel=0.1
    )


def other_tokenizers() -> dict[str, Tokenizer]:
    lossy = byte_tokenizer()
    from tokenizers import normalizers

    lossy.normalizer = normalizers.Lowercase()
    strange = Tokenizer(models.BPE({f"東{i}": i for i in range(256 + len(MERGES))}, []))
    return {"few": byte_tokenizer([]), "lossy": lossy, "strange": strange}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": torch.nn.Linear(2, 2)}, TypeError, "model must be a LanguageModel, got <class"),
        (
            {"model": LanguageModel(262, layers=1, width=8, heads=2, ffn=4, gains=None)},
            ValueError,
            "model must have a variable axis, got none",
        ),
        ({"tokenizer": "gpt2"}, TypeError, "tokenizer must be a tokenizers.Tokenizer, got 'gpt2'"),
        ({"tokenizer": "few"}, ValueError, "must have the 262 tokens of the model, got 256"),
        ({"tokenizer": "strange"}, ValueError, "must be byte-level, got the token '東"),
        ({"tokenizer": "lossy", "passage": "Ab"}, ValueError, "passage must come back .* got 'ab'"),
        ({"passage": 3}, TypeError, "passage must be a string, got 3"),
        ({"passage": "a"}, ValueError, r"passage must have 2\.\.1024 tokens, got 1"),
        ({"passage": "a\ud800"}, ValueError, "passage must be text of whole characters"),
        ({"passage": "ab" * 600}, ValueError, r"passage must have 2\.\.1024 tokens, got 1200"),
        ({"prompt": ""}, ValueError, r"prompt must have 1\.\.1000 characters, got 0"),
        ({"prompt": "a" * 1001}, ValueError, r"prompt must have 1\.\.1000 characters, got 1001"),
        ({"prompt": None}, TypeError, "prompt must be a string, got None"),
        ({"length": 0}, ValueError, r"length must lie in 1\.\.512, got 0"),
        ({"temperature": -1}, ValueError, "temperature must be a finite number of at least 0"),
        ({"temperature": 1e-9}, ValueError, r"temperature must be 0 or at least 0\.01, got 1e-09"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"widths": [7]}, ValueError, r"each of widths must lie in 1\.\.6, got 7"),
        ({"widths": 3}, TypeError, "widths must be a sequence of widths, got 3"),
        ({"sweep": [1.0]}, TypeError, r"sweep must be a WidthSweep, got \[1\.0\]"),
        (
            {"sweep": WidthSweep("bits_per_byte", np.arange(1, 5), np.ones(4), 6)},
            ValueError,
            r"sweep must hold each width of the slider, of 6, lacks \[5, 6\]",
        ),
        (
            {"sweep": WidthSweep("bits_per_byte", np.arange(1, 7), np.zeros(6), 6)},
            ValueError,
            "sweep must hold bits per byte in 0.*, above 0, got 0",
        ),
        ({"dedicated": {7: 1.0}}, ValueError, r"each width of dedicated must lie in 1\.\.6, got 7"),
        (
            {"dedicated": {1: -1.0}},
            ValueError,
            "dedicated must hold bits per byte in 0.*, above 0, got -1",
        ),
        ({"plain": "2"}, TypeError, "plain must be a finite number of at least 0, got '2'"),
        ({"plain": 0}, ValueError, "plain must hold bits per byte in 0.*, above 0, got 0"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(monkeypatch, changes, error, message):
    model = changes.get("model", language_model(STEPS))
    model.register_forward_pre_hook(lambda *_: pytest.fail("it ran"))
    given = {"tokenizer": byte_tokenizer(), "passage": PASSAGE} | changes | {"model": model}
    given["tokenizer"] = other_tokenizers().get(str(given["tokenizer"]), given["tokenizer"])
    with pytest.raises(error, match=message):
        TextExplorer(**given)


def test_weights_that_are_not_finite_are_named(model):
    broken = language_model(STEPS)
    with torch.no_grad():
        broken.layers[0].mlp.up_proj.weight[-1, 0] = torch.nan
    with pytest.raises(ValueError, match=r"model must return finite .* at width 6"):
        text_explorer(broken)


def test_a_width_of_one_s_own_is_a_knob_too():
    model = LanguageModel(262, layers=1, width=8, heads=2, ffn=Width(3))
    assert text_explorer(model, length=2).widths == [1, 2, 3]


def test_without_the_package_it_is_named(monkeypatch, model):
    tokenizer = byte_tokenizer()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"pip install vsnn-lab\[text\]"):
        TextExplorer(model, tokenizer, PASSAGE)
