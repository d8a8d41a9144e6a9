"""One training: a method and a seed; its result is a file, and its model another."""

import time
from collections import deque
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vsnn_lab._basics import checkpoints
from vsnn_lab._basics.checks import check_choice
from vsnn_lab.data.text import TextSet, load_text
from vsnn_lab.measure import BitsPerByte, next_token_agreement, token_cross_entropy, width_sweep
from vsnn_lab.networks import LanguageModel, extract_view, speculative_continuation
from vsnn_lab.networks.plain_language_model import PlainLanguageModel
from vsnn_lab.train.by_position import by_position
from vsnn_lab.train.kept_runs import Result, made_with, read_or_make
from vsnn_lab.train.loop import seeded_rng
from vsnn_lab.train.recipes import SandwichDistilled
from vsnn_lab.train.training import fit
from vsnn_lab.widths import WidthControl

STEPS = 6  # positions of the knob
SIZES = {"layers": 3, "width": 192, "heads": 6, "ffn": 576, "head_dim": 32}
VOCABULARY = 1024
LENGTH, BATCH = 128, 8  # tokens of a window, windows of a step
# Chosen on validation text, for the plain model; all others train the same way.
SETTINGS: dict[str, Any] = {"lr": 2e-3, "schedule": "one-cycle", "clip": 1.0}
# Chosen there, too, among weights of 0.1 to 1 and shares of the labels of 0.5 and 0.3: narrow
# widths that count less in the end leave full width as good as a plain model.
RECIPES = {
    "fh": SandwichDistilled(labels=0.3, weight=0.5, final_weight=0.25),
    "fhd": SandwichDistilled(weight=0.3, wide_share=0.35),
}
_DEDICATED = [f"{kind}-{position}" for kind in RECIPES for position in (1, 2, 3)]
METHODS = ("plain", *RECIPES, *_DEDICATED)
"""
``fh``: heads and feed-forward network vary; ``fhd``: the model's width, too; ``fh-2``: a model of
the size that ``fh`` has at position 2, trained alone; ``plain``: of full size, trained alone.
"""
# Texts that drafts are counted on: how many, what they begin with in tokens, and drafts a call.
_PROMPTS, _PROMPT, _DRAFTS = 64, 32, (2, 3, 4)
_EPOCH = 100  # steps; an interrupted training goes on after the last of them
_TURNS, _TURN = 10, 12  # turns of two models whose steps are timed, and steps of each
_PACKAGES = ("torch", "tokenizers", "numpy")


class Run(NamedTuple):
    """A training that is asked for.

    Attributes:
        method: One of ``METHODS``.
        seed: Of weights, windows and widths.
        steps: Of the optimizer, a multiple of 100.
    """

    method: str
    seed: int
    steps: int = 1500

    def __str__(self) -> str:
        return f"{self.method}, seed {self.seed}, {self.steps} steps"

    def file(self, folder: Path) -> Path:
        """Return where its result is kept."""
        return folder / str(self.steps) / f"{self.method}-{self.seed}.json"

    def model_file(self, folder: Path) -> Path:
        """Return where its weights are kept."""
        return self.file(folder).with_suffix(".safetensors")

    def keep(self, folder: Path) -> Result:
        """Return the result, from its file if it is there; train, measure and write otherwise."""
        return read_or_make(self.file(folder), lambda: self.execute(folder))

    def execute(self, folder: Path) -> Result:
        """Train and measure; write the weights to a file."""
        check_choice("method", self.method, METHODS)
        torch.set_num_threads(1)
        text = load_text(vocabulary=VOCABULARY)
        ratio = step_ratio(self.method, text) if self.method in RECIPES else 1.0
        start = time.process_time()
        model = train(text, self.method, self.seed, self.steps, folder / "checkpoints")
        seconds = time.process_time() - start
        made_by = {
            "method": self.method,
            "seed": self.seed,
            "steps": self.steps,
            "command": "make language",
            **made_with(_PACKAGES),
        }
        header = {"sizes": SIZES, "vocabulary": VOCABULARY, "made_by": made_by}
        checkpoints.write(self.model_file(folder), model.state_dict(), header)
        return {
            **made_by,
            "settings": SETTINGS | {"recipe": repr(RECIPES.get(self.method))},
            "seconds": round(seconds, 1),
            "step_over_plain": round(ratio, 3),
            **measure(model, text),
            "drafts_accepted": accepted_drafts(model, text) if self.method in RECIPES else {},
        }


def language_model(method: str, seed: int = 0) -> LanguageModel:
    """Return the untrained model of a method: variable, or of a single size."""
    position = check_choice("method", method, METHODS).partition("-")[2]
    sizes: dict[str, Any] = dict(SIZES)
    knob = WidthControl(STEPS)
    for name in varying(method):
        whole = sizes[name]
        sizes[name] = whole * int(position) // STEPS if position else knob.axis(whole)
    with seeded_rng(seed, torch.device("cpu")):
        return LanguageModel(VOCABULARY, **sizes)


def varying(method: str) -> list[str]:
    """Return the sizes that a method's knob turns, or that a model for one position has less of."""
    kind = check_choice("method", method, METHODS).partition("-")[0]
    return {"fh": ["heads", "ffn"], "fhd": ["heads", "ffn", "width"]}.get(kind, [])


def train(
    text: TextSet, method: str, seed: int, steps: int, checkpoint: Path | None = None
) -> LanguageModel:
    """Train the model of a method; an interrupted training goes on from its checkpoint."""
    model = language_model(method, seed)
    batches = text.batches(LENGTH, BATCH, min(_EPOCH, steps), seed)
    fit(
        model,
        batches,
        token_cross_entropy,
        epochs=-(-steps // _EPOCH),
        # A model of one size has nothing narrower to teach: then all of it is the full loss.
        recipe=RECIPES.get(method, SandwichDistilled()),
        validation=None,  # the rate ends at nothing, so that the last weights are the best
        seed=seed,
        checkpoint=checkpoint,
        progress=False,
        **SETTINGS,
    )
    return model.eval()


def measure(
    model: LanguageModel, text: TextSet, split: str = "test", limit: int | None = None
) -> dict[str, Any]:
    """Return bits per byte, agreement with full width, parameters and products, by position."""
    inputs, targets = text.windows(split, LENGTH, limit)
    metric = BitsPerByte(text.bytes_per_token(targets))
    sweep = width_sweep(model, metric, (inputs, targets), progress=False)
    assert sweep.parameters is not None
    assert sweep.macs is not None
    positions = sweep.widths.tolist()
    agreement = next_token_agreement(model, inputs)
    columns = {
        "bits_per_byte": [round(value, 5) for value in sweep.values.tolist()],
        "agreement": [round(agreement[position], 4) for position in positions],
        "parameters": sweep.parameters.tolist(),
        "macs_per_token": [count / LENGTH for count in sweep.macs.tolist()],
    }
    return by_position(positions, columns)


def accepted_drafts(
    model: LanguageModel, text: TextSet, split: str = "test", prompts: int = _PROMPTS
) -> dict[str, float]:
    """Return which share of position 1's drafts full width accepts, by drafts a call.

    Greedy text, from the beginnings of windows to as many tokens as the model has learned to read.
    """
    begun = text.windows(split, LENGTH, prompts)[0][:, :_PROMPT]
    narrow = extract_view(model, 1)
    return {
        str(drafts): round(accepted_share(model, narrow, begun, drafts, LENGTH - _PROMPT), 4)
        for drafts in _DRAFTS
    }


def accepted_share(
    model: PlainLanguageModel, draft: nn.Module, prompts: Tensor, drafts: int, tokens: int
) -> float:
    """Return which share of the drafts of greedy texts becomes text.

    Args:
        model: What checks them.
        draft: The language model that drafts.
        prompts: What each text begins with, shape (texts, time).
        drafts: Tokens drafted for each call of the model.
        tokens: Of each continuation.
    """
    assert isinstance(draft, PlainLanguageModel)
    texts = [speculative_continuation(model, each[None], draft, drafts=drafts) for each in prompts]
    for each in texts:
        deque(islice(each, tokens), maxlen=0)
    return sum(each.accepted for each in texts) / sum(each.drafted for each in texts)


def step_ratio(method: str, text: TextSet) -> float:
    """Return the mean time of a step over that of the plain model, both taken in turn."""
    seconds: dict[str, list[float]] = {"plain": [], method: []}
    models = {name: language_model(name) for name in seconds}
    for turn in range(_TURNS + 1):
        for name, model in models.items():
            batches = text.batches(LENGTH, BATCH, _TURN, turn)
            start = time.process_time()
            fit(
                model,
                batches,
                token_cross_entropy,
                epochs=1,
                recipe=RECIPES.get(name, SandwichDistilled()),
                validation=None,
                progress=False,
                seed=turn,
                **SETTINGS,
            )
            seconds[name].append(time.process_time() - start)
    # The first turn warms up. Of all others, since widths are drawn and some take longer.
    plain, other = (sum(each[1:]) for each in seconds.values())
    return other / plain
