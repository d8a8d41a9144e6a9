"""Every kind of instrument, small and quickly made: a notebook's cells, for every page to show."""

WIDTHS = 12  # that each knob has
# Trained a little, so that every width changes some pixels.
SETUP = f"""
import time
import torch
import torch.nn.functional as F
from vsnn_lab import MLP, Autoencoder, Distilled, Width, data, explore, fit, samplers
shown = data.load("fashion-mnist", "test")
train, images, labels = shown.images[:2000], shown.images[:50], shown.labels[:50]
named = {{"labels": labels, "class_names": shown.class_names}}
torch.manual_seed(0)
model = Autoencoder(tuple(images.shape[1:]), Width({WIDTHS}), hidden=(64,))
narrow = Distilled(samplers.LogUniform())
_ = fit(model, (train, train), F.mse_loss, recipe=narrow, epochs=3, lr=6e-3)
classifier = MLP(784, (Width({WIDTHS}),), 10)
"""
# What makes an instrument of each kind; the first is called explorer.
CELLS = {
    "autoencoder": "explorer = explore.AutoencoderExplorer(model, images)\nexplorer",
    "comparison": "explore.WidthComparison(model, images, **named)",
    "codes": "explore.CodeExplorer(model, images, **named)",
    "classifier": """
        rows = {"inputs": images.flatten(1), "class_names": shown.class_names}
        explore.ClassifierExplorer(classifier, images, labels, **rows)
        """,
    "masks": f"""
        drawn = {{"triangular": samplers.Triangular(), "uniform": samplers.Uniform()}}
        explore.MaskExplorer(drawn, {WIDTHS})
        """,
    "policy": f"""
        import numpy as np
        from gymnasium import spaces
        from vsnn_lab import policies
        box, two = spaces.Box(-1, 1, (4,)), spaces.Discrete(2)
        policy = policies.VariablePolicy(box, two, lambda _: 0.0, net_arch=[{WIDTHS}, {WIDTHS}])
        # A single frame: what plays by itself would differ at each look.
        frame = np.arange(24 * 32 * 3).reshape(1, 24, 32, 3) // 16
        strips = {{w: np.uint8(frame + 5 * w) for w in range(1, {WIDTHS} + 1)}}
        returns = {{w: [10.0 * w, 12.0 * w] for w in strips}}
        trained = policies.TrainedPolicy(policy, "CartPole-v1")
        explore.PolicyExplorer(trained, returns=returns, strips=strips)
        """,
    "runs": f"""
        widths = range(1, {WIDTHS} + 1)
        explore.RunsExplorer({{f"run {{i}}": {{w: (i + 2) / w for w in widths}} for i in range(4)}})
        """,
    "text": f"""
        from tokenizers import Tokenizer, models, pre_tokenizers
        from vsnn_lab import LanguageModel, WidthControl
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        tokens = {{letter: place for place, letter in enumerate(letters)}}
        tokenizer = Tokenizer(models.BPE(tokens, []))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        knob = WidthControl({WIDTHS})
        axes = dict(width=knob.axis(24), heads=knob.axis({WIDTHS}), ffn=knob.axis(24))
        words = LanguageModel(256, layers=1, head_dim=2, gains=None, **axes)
        with torch.no_grad():
            words.embed_tokens.weight *= 20  # so that widths disagree
        passage = '<b>the café</b>, "naïve" as the 東京 of then & now \\n\\n' * 6
        explore.TextExplorer(words, tokenizer, passage, length=40)
        """,
}
# Names of runs that would be markup.
HOSTILE = """
evil = "<img src=x onerror='window.ran = 1'></script><script>window.ran = 1</script>"
explore.RunsExplorer({evil: {1: 2.0, 2: 1.0}, evil * 2: {1: 3.0, 2: 1.5}})
"""
# Not every instrument has pictures: of runs there are curves alone.
WITHOUT_PICTURES = {"runs"}
