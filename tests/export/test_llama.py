import pytest
import torch

from vsnn_lab import (
    LanguageModel,
    Width,
    WidthControl,
    at_width,
    condition,
    extract,
    joint_positions,
    to_transformers,
)

ids = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])


def model(**sizes):
    knob = WidthControl(3)
    axes = {"width": 12, "heads": knob.axis(3), "ffn": knob.axis(9)} | sizes
    made = LanguageModel(16, layers=2, head_dim=4, queries_per_head=2, **axes)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "gain" in name:
                parameter.normal_(std=0.2)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_llama_of_each_size_computes_what_the_model_does(dtype):
    pytest.importorskip("transformers", reason="the extra zoo is not installed")
    net = model().to(dtype)
    before = torch.get_rng_state()
    llamas = {width: to_transformers(net, width) for width in (1, 2, 3)}
    assert torch.equal(torch.get_rng_state(), before)
    for width, llama in llamas.items():
        with at_width(net, width), torch.no_grad():
            expected = net(ids)
            torch.testing.assert_close(llama(ids).logits, expected, rtol=0, atol=1e-5)
        assert llama.lm_head.weight is llama.model.embed_tokens.weight
        assert llama.config.num_attention_heads == 2 * llama.config.num_key_value_heads == 2 * width
    cut = to_transformers(extract(net, 2))
    assert torch.equal(cut(ids).logits, to_transformers(net, 2)(ids).logits)


@pytest.mark.slow
def test_a_llama_reads_on_with_its_own_cache(tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra zoo is not installed")
    net = model(width=WidthControl(3).axis(12))
    llama = to_transformers(net).eval()
    found = llama.generate(ids, max_new_tokens=6, do_sample=False, pad_token_id=0)
    expected = ids
    for _ in range(6):
        expected = torch.cat((expected, net(expected)[:, -1].argmax(-1, keepdim=True)), 1)
    assert torch.equal(found, expected)
    llama.save_pretrained(tmp_path)
    again = transformers.LlamaForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(again(ids).logits, llama(ids).logits)


@pytest.mark.slow
def test_a_head_with_weights_of_its_own_is_not_tied():
    pytest.importorskip("transformers", reason="the extra zoo is not installed")
    net = model(width=WidthControl(3).axis(12))
    condition(net)
    with torch.no_grad():
        for parameter in net.lm_head.own_weights.parameters():
            parameter.normal_(std=0.1)
    turn = joint_positions(net, 1)
    llama = to_transformers(net, turn)
    with at_width(net, turn), torch.no_grad():
        torch.testing.assert_close(llama(ids).logits, net(ids), rtol=0, atol=1e-5)
    assert llama.lm_head.weight is not llama.model.embed_tokens.weight


@pytest.mark.slow
def test_a_llama_that_computes_something_else_is_not_handed_over():
    pytest.importorskip("transformers", reason="the extra zoo is not installed")
    net = model()
    net.register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.raises(ValueError, match="model must compute what a Llama of its size does, got"):
        to_transformers(net, 2)


def test_what_is_no_llama_is_refused():
    with pytest.raises(TypeError, match="model must be a LanguageModel, got"):
        to_transformers(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="width must give all layers one size for a Llama, got"):
        to_transformers(model(ffn=[9, Width(3)]))
    with pytest.raises(ValueError, match=r"width must lie in 1\.\.3, got 4"):
        to_transformers(model(), 4)


def test_a_missing_package_is_named_with_what_brings_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install vsnn-lab\[zoo\] brings it"):
        to_transformers(model())
