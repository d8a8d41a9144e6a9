"""Text with drafts is the text without, token for token, whatever drafts it."""

import copy
import math
from functools import cache
from itertools import islice, takewhile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vsnn_lab import (
    LanguageModel,
    Width,
    WidthControl,
    at_width,
    continuation,
    extract,
    joint_positions,
    speculative_continuation,
)

VOCABULARY, STEPS = 17, 3


def heads_and_ffn(knob):
    return {"width": 12, "heads": knob.axis(3), "ffn": knob.axis(9)}


def everything(knob):
    return heads_and_ffn(knob) | {"width": knob.axis(12)}


def by_layer(knob):
    return heads_and_ffn(knob) | {"ffn": [knob.axis(9), WidthControl(STEPS).axis(6)]} | {
        "heads": [3, Width(3)]
    }  # fmt: skip


SIZES = {"heads and ffn": heads_and_ffn, "everything": everything, "by layer": by_layer}
# What units beyond the narrowest width add, over what they would: with little of it most drafts
# are right, with all of it few are.
SHARES = (0.05, 1.0)


@cache
def language_model(sizes="heads and ffn", share=1.0):
    """Return a model that says something else at every token, and the same in every test."""
    model = LanguageModel(VOCABULARY, layers=2, head_dim=4, **SIZES[sizes](WidthControl(STEPS)))
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 0.2 * share if "gain" in name else 0.5
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * spread)
            if name.endswith("norm.weight"):
                parameter.add_(1)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter[:, parameter.shape[1] // STEPS :] *= share
    return model.double().eval()


def prompts(rows=1, length=4, seed=0):
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def read_anew_for_each_token(model, ids, count):
    start = ids.shape[1]
    for _ in range(count):
        ids = torch.cat((ids, model(ids)[:, -1].argmax(-1, keepdim=True)), 1)
    return ids[:, start:]


def first(text, count):
    return torch.stack([*islice(text, count)], 1)


@given(
    sizes=st.sampled_from([*SIZES]),
    share=st.sampled_from(SHARES),
    stands=st.integers(1, STEPS),
    width=st.integers(1, STEPS),
    drafts=st.integers(1, 6),
    rows=st.integers(1, 3),
    length=st.integers(1, 9),
    seed=st.integers(0, 1000),
    count=st.integers(1, 25),
)
def test_text_with_drafts_is_the_text_without(
    sizes, share, stands, width, drafts, rows, length, seed, count
):
    model, ids = language_model(sizes, share), prompts(rows, length, seed)
    with at_width(model, joint_positions(model, stands)):
        text = speculative_continuation(model, ids, joint_positions(model, width), drafts=drafts)
        found = first(text, count)
        assert torch.equal(found, read_anew_for_each_token(model, ids, count))
        assert torch.equal(found, first(continuation(model, ids), count))
    assert text.calls + text.accepted >= count
    assert text.drafted == text.draft_calls == drafts * text.calls
    assert 0 <= text.accepted <= text.drafted


@pytest.mark.parametrize("drafts", [1, 2, 5])
def test_text_ends_where_it_would_whatever_is_drafted_past_the_end(drafts):
    model, ids = language_model(share=0.05), prompts(seed=3)
    whole = read_anew_for_each_token(model, ids, 40)[0].tolist()
    for end in {*whole}:
        text = speculative_continuation(model, ids, 1, drafts=drafts)
        said = [int(token) for token in takewhile(lambda token, end=end: token != end, text)]
        assert said == whole[: whole.index(end)]


def test_drafts_of_these_models_are_both_right_and_wrong():
    shares = []
    for share in SHARES:
        text = speculative_continuation(language_model(share=share), prompts(), 1, drafts=3)
        said = first(text, 60)
        assert len(said.unique()) > 3
        shares.append(text.accepted_share)
    assert shares[0] > 0.5
    assert 0 < shares[1] < shares[0]


@pytest.mark.parametrize("drafts", [1, 2, 4])
def test_a_model_that_drafts_for_itself_says_every_token_right(drafts):
    model = language_model()
    for draft in (STEPS, extract(model, STEPS), model):
        text = speculative_continuation(model, prompts(), draft, drafts=drafts)
        first(text, 23)
        assert text.calls == math.ceil(23 / (drafts + 1))
        assert text.accepted_share == 1


def test_what_drafts_the_least_likely_token_costs_calls_and_nothing_else():
    model, ids = language_model(), prompts(2)
    wrong = copy.deepcopy(extract(model, STEPS))
    with torch.no_grad():
        wrong.norm.weight.neg_()
    text = speculative_continuation(model, ids, wrong, drafts=2)
    assert math.isnan(text.accepted_share)
    assert torch.equal(first(text, 9), read_anew_for_each_token(model, ids, 9))
    assert (text.calls, text.draft_calls, text.accepted_share) == (9, 18, 0)


def test_counts_are_those_of_a_draft_that_is_written_down_by_hand():
    """Drafts and checks without a cache: the first drafts that are what full width says."""
    model, ids, drafts = language_model(share=0.05), prompts(), 3
    cut = extract(model, 1)
    text = speculative_continuation(model, ids, 1, drafts=drafts)
    calls = accepted = 0
    for _ in range(8):
        drafted = read_anew_for_each_token(cut, ids, drafts)[0].tolist()
        said = read_anew_for_each_token(model, ids, drafts + 1)[0].tolist()
        right = [a == b for a, b in zip(drafted, said, strict=False)]
        kept = right.index(False) if False in right else drafts
        calls, accepted = calls + 1, accepted + kept
        ids = torch.cat((ids, first(text, kept + 1)), 1)
        assert ids[0, -kept - 1 :].tolist() == said[: kept + 1]
        assert (text.calls, text.accepted) == (calls, accepted)
    assert 0 < accepted < drafts * calls


def shares_of_pairs(model, ids, temperature):
    """Return how likely each pair of next tokens is, by the chain rule."""
    with torch.no_grad():
        first_token = (model(ids)[0, -1] / temperature).softmax(-1)
        after = torch.cat((ids.expand(VOCABULARY, -1), torch.arange(VOCABULARY)[:, None]), 1)
        return first_token[:, None] * (model(after)[:, -1] / temperature).softmax(-1)


@pytest.mark.parametrize(("rows", "share"), [(1, 1.0), (2, 1.0), (2, 0.05)])
def test_tokens_are_drawn_as_likely_as_the_model_says(rows, share, generator):
    model, temperature, draws = language_model(share=share), 3.0, 1200
    ids = prompts().expand(rows, -1)
    draft, kept, drafted = extract(model, 1), 0, 0
    counts = torch.zeros(VOCABULARY, VOCABULARY)
    for _ in range(draws // rows):
        text = speculative_continuation(
            model, ids, draft, drafts=2, temperature=temperature, generator=generator
        )
        one, two = islice(text, 2)
        counts.index_put_((one, two), torch.ones(rows), accumulate=True)
        kept, drafted = kept + text.accepted, drafted + text.drafted
    expected = shares_of_pairs(model, prompts(), temperature)
    # Of a count's standard deviation; the generator is seeded, so that the draws never change.
    for found, share_of in (
        (counts, expected), (counts.sum(1), expected.sum(1)), (counts.sum(0), expected.sum(0))
    ):  # fmt: skip
        mean = draws * share_of
        assert ((found - mean).abs() / (mean + 1).sqrt()).max() < 5
    assert 0.1 < kept / drafted < 0.99


def test_a_model_that_drafts_for_itself_is_never_refused_when_it_draws(generator):
    model = language_model()
    text = speculative_continuation(
        model, prompts(2), extract(model, STEPS), temperature=1.0, generator=generator
    )
    first(text, 40)
    assert text.accepted_share == 1
    again = speculative_continuation(
        *(model, prompts(2), STEPS), temperature=1.0, generator=torch.Generator().manual_seed(0)
    )
    other = speculative_continuation(
        *(model, prompts(2), STEPS), temperature=1.0, generator=torch.Generator().manual_seed(1)
    )
    assert not torch.equal(first(again, 40), first(other, 40))


def test_in_single_precision_texts_part_only_where_two_tokens_are_as_likely():
    model = copy.deepcopy(language_model(share=0.05)).float()
    for seed in range(8):
        ids = prompts(seed=seed)
        text, apart = [*islice(continuation(model, ids), 20)], 20
        for at in range(20):
            with torch.no_grad():
                best, second = model(torch.cat((ids[0], *text[:at]))[None])[0, -1].topk(2).values
            if best - second < 1e-4:
                apart = at
                break
        found = first(speculative_continuation(model, ids, 1), 20)[0].tolist()
        assert found[:apart] == torch.cat(text).tolist()[:apart]


def test_between_tokens_gradients_are_recorded_and_the_knob_stands_where_it_stood():
    model = language_model()
    with at_width(model, 2):
        text = speculative_continuation(model, prompts(), 1)
        next(text)
        assert model(prompts()).requires_grad
        torch.testing.assert_close(model(prompts()), extract(model, 2)(prompts()))


def test_a_knob_that_is_turned_between_tokens_is_refused_and_turned_back_goes_on():
    model, ids = language_model(), prompts()
    expected = read_anew_for_each_token(model, ids, 12)
    text = speculative_continuation(model, ids, 1, drafts=2)
    found = [next(text)]
    with (
        at_width(model, 2),
        pytest.raises(ValueError, match="cache must be this model's at the width"),
    ):
        found += text
    found += islice(text, 12 - len(found))
    assert torch.equal(torch.stack(found, 1), expected)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": torch.nn.Linear(2, 2)}, TypeError, "model must be a LanguageModel, got <class"),
        ({"tokens": [[1]]}, TypeError, "tokens must be a tensor, got list"),
        ({"tokens": torch.zeros(3)}, ValueError, r"tokens must be integers of shape \(batch, time"),
        ({"drafts": 0}, ValueError, "drafts must be at least 1, got 0"),
        ({"drafts": 1.0}, TypeError, "drafts must be an integer at least 1, got 1.0"),
        ({"temperature": -1}, ValueError, "temperature must be a finite number of at least 0, got"),
        ({"generator": 3}, TypeError, "generator must be a torch.Generator or None, got 3"),
        ({"draft": 4}, ValueError, r"draft must be a width of .*: width must lie in 1\.\.3, got 4"),
        ({"draft": "1"}, TypeError, "draft must be a width of .*: width must be"),
        ({"draft": None}, TypeError, "draft must be a width of .*: width must be"),
        ({"draft": LanguageModel(5, layers=1, width=4, heads=1, ffn=2)}, ValueError,
         "draft must have the model's 17 tokens, got 5"),
    ],
)  # fmt: skip
def test_what_cannot_draft_is_refused_before_anything_is_read(change, error, message):
    arguments = {"model": language_model(), "tokens": prompts(), "draft": 1, "drafts": 2} | change
    with pytest.raises(error, match=message):
        speculative_continuation(**arguments)


def test_a_model_without_a_knob_needs_another_to_draft():
    cut = extract(language_model(), 2)
    with pytest.raises(ValueError, match="model must have a variable axis, got none"):
        speculative_continuation(cut, prompts(), 1)
    text = speculative_continuation(cut, prompts(), extract(language_model(), 1))
    assert torch.equal(first(text, 9), read_anew_for_each_token(cut, prompts(), 9))
