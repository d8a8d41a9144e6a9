"""Every kind of instrument, small and quickly made: a notebook's cells, for every page to show."""

WIDTHS = 12  # that each knob has
# Trained a little, so that every width changes some pixels.
SETUP = f"""
import time
import torch
import torch.nn.functional as F
from vsnn_lab import MLP, Autoencoder, FullAndNarrow, Width, data, explore, fit, samplers
shown = data.load("fashion-mnist", "test")
train, images, labels = shown.images[:2000], shown.images[:50], shown.labels[:50]
named = {{"labels": labels, "class_names": shown.class_names}}
torch.manual_seed(0)
model = Autoencoder(tuple(images.shape[1:]), Width({WIDTHS}), hidden=(64,))
_ = fit(model, (train, train), F.mse_loss, recipe=FullAndNarrow(), epochs=3, lr=6e-3)
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
    "runs": f"""
        widths = range(1, {WIDTHS} + 1)
        explore.RunsExplorer({{f"run {{i}}": {{w: (i + 2) / w for w in widths}} for i in range(4)}})
        """,
}
# Names of runs that would be markup.
HOSTILE = """
evil = "<img src=x onerror='window.ran = 1'></script><script>window.ran = 1</script>"
explore.RunsExplorer({evil: {1: 2.0, 2: 1.0}, evil * 2: {1: 3.0, 2: 1.5}})
"""
# Not every instrument has pictures: of runs there are curves alone.
WITHOUT_PICTURES = {"runs"}
