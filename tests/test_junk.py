"""Junk in any argument of anything public is refused by name, before anything is done.

Every argument of every call meets every piece of junk; Hypothesis adds pairs and values of its own.
"""

import contextlib
import copy
import inspect
import io
import itertools
import os
import re
import shutil
import traceback
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from ipywidgets import Widget
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image
from torch import nn

import vsnn_lab
from tests.explore.language import byte_tokenizer
from tests.explore.policies import coloured, untrained
from tests.notebooks import FOLDER
from vsnn_lab import (
    MLP,
    Autoencoder,
    Full,
    Latency,
    Stratified,
    Triangular,
    TriangularDropout,
    Uniform,
    VariableBatchNorm1d,
    VariableLinear,
    Width,
    WidthControl,
    data,
    explore,
    figures,
)
from vsnn_lab._basics.checkpoints import digest
from vsnn_lab.data.fetch import DataUnavailable
from vsnn_lab.headless import report, runs, sweeps
from vsnn_lab.measure.ablation import WidthSweep
from vsnn_lab.train import compiled
from vsnn_lab.train.recipes import Step
from vsnn_lab.widths import geometric_widths, width_controls

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ipywidgets"),
    # The metric's word on junk that fits well enough.
    pytest.mark.filterwarnings("ignore:Using a target size:UserWarning"),
]


class Anything:
    """A class that can be made of anything."""

    def __init__(self, *_, **__):
        pass


def net() -> nn.Module:
    return MLP(4, (Width(6),), 2)


def two_knobs() -> nn.Module:
    first, second = Width(6), Width(3)
    layers = VariableLinear(4, first), VariableLinear(first, second), VariableLinear(second, 2)
    return nn.Sequential(*layers)


def conditioned() -> nn.Module:
    made = net()
    vsnn_lab.condition(made)
    return made


def normed() -> nn.Module:
    code = Width(6)
    layers = VariableLinear(4, code), VariableBatchNorm1d(code), VariableLinear(code, 2)
    return nn.Sequential(*layers)


def autoencoder() -> nn.Module:
    return Autoencoder((1, 2, 2), Width(3), hidden=(5,))


def words() -> nn.Module:
    return vsnn_lab.LanguageModel(7, layers=1, width=4, heads=1, ffn=Width(3))


def x() -> torch.Tensor:
    return torch.linspace(-1, 1, 20).reshape(5, 4)


def y() -> torch.Tensor:
    return torch.linspace(0, 1, 10).reshape(5, 2)


def images() -> torch.Tensor:
    return torch.linspace(0, 1, 24).reshape(6, 1, 2, 2)


def rows() -> torch.Tensor:
    return images().flatten(1)


def pictures() -> np.ndarray:
    return np.zeros((3, 4, 4, 1), np.uint8)


def errors() -> dict[str, dict[int, Any]]:
    return {"variable": {1: 0.5, 2: 0.3}, "dedicated": {2: [0.2, 0.3]}}


def sweep(steps: int = 6) -> WidthSweep:
    widths = np.arange(1, steps + 1)
    return WidthSweep("mse_loss", widths, 1 / widths, steps, widths, widths, 1.0 * widths)


JUNK: dict[str, Callable[[], Any]] = {
    **{repr(value): lambda value=value: value for value in (None, True, -1, 0, 1, 3, 1.5, 0.5, 1j)},
    **{repr(value): lambda value=value: value for value in (2**70, -(2**70), 1e308, 1e-320)},
    **{repr(value): lambda value=value: value for value in (np.nan, np.inf, -np.inf, ...)},
    **{repr(value): lambda value=value: value for value in ("", "junk", "a\0b", "cpu", "cuda:9")},
    **{repr(value): lambda value=value: value for value in (b"x", range(3), range(1, 3))},
    "huge range": lambda: range(2**40),
    "count": lambda: itertools.count(1),
    "iterator": lambda: iter(()),
    "list of itself": lambda: [itself := [], itself.append(itself)][0],
    "generator": lambda: (letter for letter in "ab"),
    "slice": lambda: slice(None),
    "[]": list,
    "()": tuple,
    "{}": dict,
    "set()": set,
    "(1, 'a')": lambda: (1, "a"),
    "(nan,)": lambda: (np.nan,),
    "[[1]]": lambda: [[1]],
    "[None]": lambda: [None],
    "[1, 2]": lambda: [1, 2],
    "{'junk': None}": lambda: {"junk": None},
    "{1: 'x'}": lambda: {1: "x"},
    "{1: nan}": lambda: {1: np.nan},
    "{(): []}": lambda: {(): []},
    "mixed keys": lambda: {1: 2.0, "a": 3.0},
    "strange knob": lambda: {WidthControl(3): 1},
    "object": object,
    "class": lambda: Anything,
    "exception": lambda: ValueError,
    "module of Python": lambda: os,
    "lambda of None": lambda: lambda *_, **__: None,
    "lambda of text": lambda: lambda *_, **__: "junk",
    "lambda of nan": lambda: lambda *_, **__: np.nan,
    "lambda of tensors": lambda: lambda *_, **__: torch.zeros(2, 3),
    "fraction": lambda: Fraction(1, 3),
    "np.int64": lambda: np.int64(3),
    "np.float32": lambda: np.float32(0.5),
    "np.bool": lambda: np.bool_(True),
    "np.datetime64": lambda: np.datetime64("2020-01-01"),
    "empty array": lambda: np.array([]),
    "array of text": lambda: np.array(["a"]),
    "array 2x2": lambda: np.zeros((2, 2)),
    "array of no dimension": lambda: np.array(2),
    "array of objects": lambda: np.array([None, {}], dtype=object),
    "empty tensor": lambda: torch.empty(0),
    "scalar of ints": lambda: torch.tensor(2),
    "scalar of floats": lambda: torch.tensor(2.0),
    "scalar of bools": lambda: torch.tensor(True),
    "vector of bools": lambda: torch.tensor([True, False]),
    "vector of ints": lambda: torch.tensor([1, 2]),
    "vector of uint8": lambda: torch.tensor([1, 2], dtype=torch.uint8),
    "vector of uint16": lambda: torch.tensor([1, 2], dtype=torch.uint16),
    "vector of complex": lambda: torch.tensor([1j, 2]),
    "vector of nan": lambda: torch.full((2,), np.nan),
    "2x3": lambda: torch.zeros(2, 3),
    "2x4 of ints": lambda: torch.ones(2, 4, dtype=torch.long),
    "2x4 of halves": lambda: torch.zeros(2, 4, dtype=torch.half),
    "2x4 of complex": lambda: torch.zeros(2, 4, dtype=torch.complex64),
    "2x4 of nan": lambda: torch.full((2, 4), np.nan),
    "0x4": lambda: torch.zeros(0, 4),
    "3x0": lambda: torch.zeros(3, 0, dtype=torch.long),
    "images": lambda: torch.zeros(2, 1, 2, 2),
    "parameter": lambda: nn.Parameter(torch.zeros(3)),
    "pair of unlike rows": lambda: (torch.zeros(2, 4), torch.zeros(3, 2)),
    "pair of scalars": lambda: (torch.tensor(1.0), torch.tensor(2.0)),
    "pair without targets": lambda: (torch.zeros(2, 4), None),
    "pair of nothing": lambda: (torch.zeros(0, 4), torch.zeros(0, 2)),
    "pair of ints": lambda: (torch.zeros(2, 4, dtype=torch.long), torch.zeros(2, 2)),
    "list pair": lambda: [torch.zeros(2, 4), torch.zeros(2, 2)],
    "list of a pair": lambda: [(torch.zeros(2, 4), torch.zeros(2, 2))],
    "triple": lambda: (torch.zeros(2, 4),) * 3,
    "whole batch": lambda: torch.linspace(0, 1, 640).reshape(40, 16),
    "array of a batch": lambda: np.linspace(0, 1, 640),
    "whole batches": lambda: [(torch.zeros(30, 4), torch.zeros(30, 2))] * 50,
    "dict of a batch": lambda: {"x": torch.zeros(30, 4), "y": np.arange(90)},
    "table": lambda: pd.DataFrame(np.zeros((90, 9))),
    "Linear": lambda: nn.Linear(4, 2),
    "ReLU": nn.ReLU,
    "Module": nn.Module,
    "ModuleList": lambda: nn.ModuleList([nn.Linear(4, 2)]),
    "another network": lambda: MLP(4, (Width(5),), 2),
    "two knobs": two_knobs,
    "variable layer": lambda: VariableLinear(3, Width(2)),
    "Width": lambda: Width(7),
    "WidthControl": lambda: WidthControl(3),
    "sampler": Full,
    "short sweep": lambda: sweep(2),
    "torch.Generator": torch.Generator,
    "torch.device": lambda: torch.device("cpu"),
    "torch.float32": lambda: torch.float32,
    "torch.int64": lambda: torch.int64,
    "torch.Size": lambda: torch.Size([2, 3]),
    "path": lambda: Path("junk/deep"),
}


class Call(NamedTuple):
    """Something public: a function, keywords that it takes, what else it says that it may raise."""

    function: Callable[..., Any]
    valid: dict[str, Any]
    documented: tuple[type[Exception], ...]


def call(function: Callable[..., Any], *documented: type[Exception], **valid: Any) -> Call:
    return Call(function, valid, documented)


def sampler(name: str, **settings: Any) -> dict[str, Call]:
    """Return the calls of a sampler: made, asked for widths, and for what its class adds."""
    make = getattr(vsnn_lab, name)
    drawn = {"batch_size": 5, "steps": 6, "generator": torch.Generator()}

    def draw(batch_size, steps, generator, **settings):
        return make(**settings)(batch_size, steps, generator)

    calls = {name: call(make, **settings), f"{name}.__call__": call(draw, **settings, **drawn)}
    if hasattr(make, "probabilities"):
        made = make(**settings)
        calls[f"{name}.probabilities"] = call(made.probabilities, steps=6)
        calls[f"{name}.draw"] = call(made.draw, runs=2, steps=6, generator=torch.Generator())
    return calls


def layer(name: str, axis: str) -> dict[str, Call]:
    """Return the call that makes a layer with one variable axis and torch's own defaults."""
    sizes = {"in_channels": 4, "in_features": 4, "num_embeddings": 5, "num_groups": 1}
    sizes |= {"embed_dim": 6}
    plain = inspect.signature(getattr(nn, name.removeprefix("Variable"))).parameters
    if "kwargs" in plain:  # as torch's recurrent layers have it
        plain = inspect.signature(getattr(vsnn_lab, name)).parameters
    options = {key: sizes.get(key, 3) for key in plain if not key.startswith("_")}
    options |= {
        key: plain[key].default for key in options if plain[key].default is not plain[key].empty
    }
    if "num_layers" in options:  # Torch warns of dropout between layers where there is one.
        options["num_layers"] = 2
    return {name: call(getattr(vsnn_lab, name), **options | {axis: Width(6)})}


def narrow_widths(name: str, **settings: Any) -> dict[str, Call]:
    """Return the calls of what draws narrow widths."""
    make = getattr(vsnn_lab, name)
    draw = make(**settings).draw
    return {
        name: call(make, **settings),
        f"{name}.draw": call(draw, steps=6, generator=torch.Generator()),
    }


def recipe(name: str, **settings: Any) -> dict[str, Call]:
    """Return the calls of a recipe: made, and asked for the losses of a step."""
    make = getattr(vsnn_lab, name)
    made = make(**settings)
    parts = {"model": net(), "x": x(), "y": y(), "loss": F.mse_loss, "progress": 0.5}
    parts |= {"generator": torch.Generator(), "samples": range(5)}
    parts |= {"knobs": "joint"}

    def losses(step=None, **parts):
        return [*made.losses(Step(**parts) if parts else step)]

    return {
        name: call(make, **settings),
        f"{name}.losses": call(losses, step=Step(**parts)),
        f"{name} of a step": call(losses, **parts),
    }


class Letters:
    """A tokenizer of characters, for where the package tokenizers is not installed."""

    ids = (1, 2)

    def encode(self, text):
        return self

    def decode(self, ids):
        return "".join(map(chr, ids))


LETTERS = data.TextSet("a", Letters(), {"train": [torch.arange(9)]}, torch.ones(9))
LAYERS = {"BatchNorm": "num_features", "InstanceNorm": "num_features"}
LAYERS |= {"Conv": "out_channels", "ConvTranspose": "out_channels"}
METRIC = figures.Metric("accuracy", "higher", "%", 100)
MASKS = FOLDER / "01_masks.ipynb"
POLICY = untrained("CartPole-v1", 4)
CODES = explore.CodeExplorer(autoencoder(), images())
SIX = Width(6)
COMPARISON = explore.WidthComparison(autoencoder(), images())
CALLS: dict[str, Call] = {
    **sampler("Fixed", width=2),
    **sampler("FixedFraction", fraction=0.5),
    **sampler("Full"),
    **sampler("Geometric", p=0.5, runs=2),
    **sampler("Interpolated", sampler=Triangular(), full_fraction=0.5),
    **sampler("Listed", widths=[1, 3], weights=[1, 2], runs=2),
    **sampler("LogUniform", runs=2),
    **sampler("Octaves", runs=2),
    **sampler("Sandwich", inner=2),
    **sampler("Shifted", sampler=Triangular(), diagonal=1),
    **sampler("Stratified", runs=2),
    **sampler("TailExponential", p=0.5, runs=2),
    **sampler("Triangular"),
    **sampler("Uniform"),
    **sampler("Weighted", fn=lambda fraction: fraction, runs=2),
    **{
        name: made
        for kind, axis in LAYERS.items()
        for dims in (1, 2, 3)
        for name, made in layer(f"Variable{kind}{dims}d", axis).items()
    },
    **layer("VariableBilinear", "out_features"),
    **layer("VariableEmbedding", "embedding_dim"),
    **layer("VariableGroupNorm", "num_channels"),
    **layer("VariableLayerNorm", "normalized_shape"),
    **layer("VariableGRU", "hidden_size"),
    **layer("VariableLSTM", "hidden_size"),
    **layer("VariableLinear", "out_features"),
    **layer("VariableMultiheadAttention", "num_heads"),
    **layer("VariablePReLU", "num_parameters"),
    **layer("VariableRMSNorm", "normalized_shape"),
    **layer("VariableRNN", "hidden_size"),
    "VariableBatchNorm1d.forward": call(VariableBatchNorm1d(Width(4)).forward, input=x()),
    "VariableLinear.forward": call(VariableLinear(Width(4), 2).forward, input=x()),
    "TriangularDropout": call(
        TriangularDropout, width=Width(4), dim=-1, generator=None, sampler=None, batch_dims=1
    ),
    "TriangularDropout.forward": call(TriangularDropout(Uniform()).forward, input=x()),
    "MLP": call(
        MLP,
        in_features=4,
        hidden=(Width(6),),
        out_features=2,
        activation=nn.ReLU,
        conditioned=True,
    ),
    "ConvNet": call(
        vsnn_lab.ConvNet,
        shape=(1, 4, 4),
        channels=(Width(6),),
        classes=2,
        activation=nn.ReLU,
        conditioned=True,
    ),
    "figures.recipe_curves": call(
        figures.recipe_curves,
        curves={"mine": {1: 0.5, 2: [0.6, 0.7]}},
        dedicated={2: [0.7, 0.8]},
        recommended="mine",
        scale=100.0,
        lowest=-4.0,
        title="title",
    ),
    "figures.return_curves": call(
        figures.return_curves,
        variable={1: 5.0, 2: [6.0, 7.0]},
        dedicated={1: 4.0},
        acting={2: 3.0},
        ordinary=[6.0, 7.0],
        linear=[2.0],
        title="title",
    ),
    "figures.panel_curves": call(
        figures.panel_curves,
        curves={"variable": {1: 5.0, 2: [6.0, 7.0]}, "dedicated": {1: 4.0}},
        places={"variable": {1: 10.0, 2: 20.0}, "dedicated": {1: 10.0}},
        steps=2,
    ),
    "figures.cost_curves": call(
        figures.cost_curves,
        variable={1: 5.0, 2: [6.0, 7.0]},
        costs={"parameters": {1: 10, 2: 20}},
        dedicated={1: 4.0},
        mixed={2: 3.0},
        label="bits",
        title="title",
    ),
    "soft_targets": call(
        vsnn_lab.soft_targets, teacher=net(), data=(x(), torch.arange(5) % 2), labels=0.5
    ),
    "Autoencoder": call(
        Autoencoder,
        shape=(1, 2, 2),
        code=Width(4),
        hidden=(6,),
        activation=nn.ReLU,
        conditioned=False,
    ),
    "Autoencoder.forward": call(autoencoder().forward, x=images()),
    "ConditionedRMSNorm": call(
        vsnn_lab.ConditionedRMSNorm,
        normalized_shape=Width(6),
        controls=WidthControl(3),
        per="position",
    ),
    "LanguageModel": call(
        vsnn_lab.LanguageModel,
        vocabulary=7,
        layers=2,
        width=12,
        heads=[2, Width(3)],
        ffn=Width(5),
        queries_per_head=1,
        head_dim=4,
        gains="position",
        base=10000.0,
    ),
    "LanguageModel.forward": call(words().forward, tokens=torch.tensor([[1, 2]]), cache=None),
    "ConvAutoencoder": call(
        vsnn_lab.ConvAutoencoder,
        shape=(1, 4, 4),
        code=Width(4),
        channels=(3,),
        activation=nn.ReLU,
        conditioned=False,
    ),
    "ConvAutoencoder.forward": call(
        vsnn_lab.ConvAutoencoder((1, 2, 2), Width(3), (2,)).forward, x=images()
    ),
    **recipe("Sampled", sampler=Triangular()),
    **recipe("Phases", phases=((1.0, vsnn_lab.Sampled()),)),
    **recipe(
        "Distilled",
        narrow=vsnn_lab.EachOctave(),
        labels=0.5,
        weight=1.0,
        final_weight=0.5,
        relative=False,
        teach=None,
    ),
    **narrow_widths("EachOctave", rows=0.5, half=0.25, wide=0.25, inner_rows=0.5, wide_weight=1.0),
    **narrow_widths("NarrowestAndRandom", inner=2, wide_share=0.5),
    "NarrowestAndRandom.draw_apart": call(
        vsnn_lab.NarrowestAndRandom().draw_apart,
        controls=[WidthControl(3), WidthControl(4)],
        generator=torch.Generator(),
    ),
    "Phases.phase_at": call(vsnn_lab.Phases(((1.0, vsnn_lab.Sampled()),)).phase_at, progress=0.5),
    "Latency": call(
        Latency, median_ms=1.0, low_ms=1.0, high_ms=1.0, threads=1, batch=1, device="cpu"
    ),
    "Width": call(Width, max_width=6, control=WidthControl(3)),
    "Width.at": call(Width(6).at, position=3),
    "Width.__mul__": call(lambda repeats: Width(6) * repeats, repeats=2),
    "Width.__rmul__": call(lambda repeats: repeats * Width(6), repeats=2),
    "WidthControl": call(WidthControl, steps=6, rounded=False),
    "WidthControl.axis": call(WidthControl(3).axis, size=6),
    "WidthControl.check": call(WidthControl(3).check, width=2),
    "at_width": call(vsnn_lab.at_width, model_or_control=net(), width=2),
    "choose_width": call(
        vsnn_lab.choose_width,
        sweep=sweep(),
        max_parameters=5,
        max_macs=5,
        max_latency_ms=5.0,
        min_metric=0.2,
        max_metric=None,
    ),
    "choose_widths": call(
        vsnn_lab.choose_widths,
        model=two_knobs(),
        metric=F.mse_loss,
        batches=(x(), y()),
        max_parameters=40,
        max_macs=100,
        max_latency_ms=1e4,
        inputs=x(),
        threads=1,
        higher_is_better=False,
        progress=False,
    ),
    "count_macs": call(vsnn_lab.count_macs, model=net(), width=2, inputs=x()),
    "count_parameters": call(vsnn_lab.count_parameters, model=net(), width=2),
    "export_onnx": call(
        vsnn_lab.export_onnx,
        OSError,
        model=net(),
        width=2,
        path="a",
        inputs=x(),
        tolerance=1e-4,
        free_dims=(),
    ),
    "to_transformers": call(vsnn_lab.to_transformers, ImportError, model=words(), width=2),
    "Taylor": call(vsnn_lab.Taylor, batches=[x()], loss=F.mse_loss),
    "condition": call(
        vsnn_lab.condition,
        model=net(),
        own_share=0.5,
        pace=2.0,
        wide_pace=1.5,
        rank=2,
        control=WidthControl(3),
    ),
    "condition_norms": call(vsnn_lab.condition_norms, model=normed(), per="position"),
    "continuation": call(
        vsnn_lab.continuation,
        model=words(),
        tokens=torch.tensor([[1, 2]]),
        temperature=0.5,
        generator=torch.Generator(),
    ),
    "speculative_continuation": call(
        vsnn_lab.speculative_continuation,
        model=words(),
        tokens=torch.tensor([[1, 2]]),
        draft=1,
        drafts=2,
        temperature=0.5,
        generator=torch.Generator(),
    ),
    "order_units": call(vsnn_lab.order_units, model=net(), order="magnitude"),
    "teach": call(
        vsnn_lab.teach,
        FloatingPointError,
        model=conditioned(),
        batches=[x()],
        epochs=1,
        loss=F.mse_loss,
        sampler=Stratified(2),
        widths=2,
        together=True,
        learning_rate=0.01,
        seed=0,
        progress=False,
    ),
    "explain": call(vsnn_lab.explain, model=net()),
    "extract": call(vsnn_lab.extract, model=net(), width=2),
    "extract_view": call(vsnn_lab.extract_view, model=net(), width=2),
    "fit": call(
        vsnn_lab.fit,
        FloatingPointError,
        OSError,
        model=net(),
        data=(x(), y()),
        loss=F.mse_loss,
        epochs=1,
        lr=1e-3,
        schedule="constant",
        batch_size=4,
        sampler=Stratified(2),
        recipe=None,
        validation=0.2,
        narrow=1,
        knobs="joint",
        accumulate=2,
        clip=1.0,
        precision="full",
        compile=False,
        seed=0,
        checkpoint=None,
        progress=False,
    ),
    "forward_at_widths": call(
        vsnn_lab.forward_at_widths, model=net(), x=x(), widths=torch.tensor([1, 2, 3, 4, 5])
    ),
    "joint_positions": call(vsnn_lab.joint_positions, model=two_knobs(), position=2),
    "load_weights": call(vsnn_lab.load_weights, FileNotFoundError, model=net(), path="../saved"),
    "load_pretrained": call(vsnn_lab.load_pretrained, name="mnist-autoencoder"),
    "pretrained_header": call(vsnn_lab.pretrained_header, name="mnist-autoencoder"),
    "pretrained_tokenizer": call(vsnn_lab.pretrained_tokenizer, name="austen-language-model"),
    "make_variable": call(
        vsnn_lab.make_variable,
        model=nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)),
        example=torch.randn(2, 4),
        steps=3,
        knobs="shared",
        exclude=(),
        order="magnitude",
        strict=False,
        verify=True,
        conditioned=True,
    ),
    "measure_latency": call(
        vsnn_lab.measure_latency,
        model=net(),
        width=2,
        inputs=x(),
        repeats=1,
        threads=1,
        seconds=1.0,
    ),
    "prefix_mask": call(vsnn_lab.prefix_mask, widths=torch.tensor([1, 2]), max_width=6),
    "recalibrate": call(vsnn_lab.recalibrate, model=normed(), batches=[(x(), y())], width=2),
    "recalibrate_widths": call(
        vsnn_lab.recalibrate_widths,
        model=normed(),
        batches=[(x(), y())],
        per="octave",
        progress=False,
    ),
    "save_weights": call(vsnn_lab.save_weights, OSError, model=net(), path="a", width=2),
    "verify_extraction": call(vsnn_lab.verify_extraction, model=net(), width=2, inputs=x()),
    "width_sweep": call(
        vsnn_lab.width_sweep,
        model=net(),
        metric=F.mse_loss,
        batches=(x(), y()),
        widths=[1, 3],
        timed=x(),
        threads=1,
        repeats=2,
        progress=False,
    ),
    "widths.geometric_widths": call(geometric_widths, steps=6),
    "ablation.WidthSweep.at": call(sweep().at, width=3),
    "ablation.WidthSweep.cost": call(sweep().cost, kind="macs", width=3),
    "data.ImageSet": call(
        data.ImageSet, images=images(), labels=torch.arange(6), name="a", class_names=("b",)
    ),
    "data.TextSet": call(
        data.TextSet,
        name="a",
        tokenizer=None,
        blocks={"train": [torch.arange(9)]},
        token_bytes=torch.ones(9),
    ),
    "data.TextSet.encode": call(LETTERS.encode, text="a"),
    "data.TextSet.decode": call(LETTERS.decode, tokens=torch.tensor([1, 2])),
    "data.TextSet.windows": call(LETTERS.windows, split="train", length=2, limit=3),
    "data.TextSet.batches": call(LETTERS.batches, length=2, batch_size=3, steps=1, seed=0),
    "data.TextSet.bytes_per_token": call(LETTERS.bytes_per_token, targets=torch.tensor([1, 2])),
    "data.load_text": call(
        data.load_text,
        ImportError,
        FileNotFoundError,
        source="../text.md",
        vocabulary=300,
        root="a",
    ),
    "BitsPerByte": call(vsnn_lab.BitsPerByte, bytes_per_token=2.0),
    "BitsPerByte.__call__": call(
        vsnn_lab.BitsPerByte(2.0), output=torch.zeros(2, 3), target=torch.tensor([1, 2])
    ),
    "next_token_agreement": call(
        vsnn_lab.next_token_agreement, model=words(), tokens=torch.tensor([[1, 2]]), widths=[1]
    ),
    "token_cross_entropy": call(
        vsnn_lab.token_cross_entropy, output=torch.zeros(2, 3), target=torch.tensor([1, 2])
    ),
    "data.load": call(data.load, name="digits", split="test", root=None),
    "data.load_celeba": call(
        data.load_celeba,
        DataUnavailable,
        root="a",
        split="test",
        size=8,
        limit=2,
        attribute="Smiling",
    ),
    "data.load_folder": call(
        data.load_folder, OSError, path="../pictures", size=8, grey=True, split=None, limit=2
    ),
    "explore.AutoencoderExplorer": call(
        explore.AutoencoderExplorer,
        model=autoencoder(),
        images=images(),
        sweep=None,
        pca={1: 0.2},
        shown=2,
        seed=0,
        folder=None,
    ),
    "explore.ClassifierExplorer": call(
        explore.ClassifierExplorer,
        model=net(),
        images=images(),
        labels=torch.arange(6) % 2,
        inputs=rows(),
        class_names=("a", "b"),
        sweep=sweep(),
        dedicated={2: [0.1, 0.2]},
        plain=0.1,
        shown=4,
        timed=2,
        seed=0,
        folder="a",
    ),
    "explore.CodeExplorer": call(
        explore.CodeExplorer,
        model=autoencoder(),
        images=images(),
        labels=torch.arange(6) % 2,
        class_names=("a", "b"),
    ),
    "explore.CodeExplorer.show_image": call(CODES.show_image, image=1),
    "explore.MaskExplorer": call(
        explore.MaskExplorer, samplers={"a": Triangular()}, most=4, seed=0
    ),
    "explore.PolicyExplorer": call(
        explore.PolicyExplorer,
        trained=POLICY,
        returns={1: [1.0, 2.0], 4: 3.0},
        dedicated={1: [0.1, 0.2]},
        ordinary=0.1,
        linear=[0.1, 0.2],
        widths=[1],
        strips=coloured([1, 4], 2, (16, 16)),
        frames=2,
        every=1,
        size=(16, 16),
        episodes=1,
        seed=0,
    ),
    "explore.RunsExplorer": call(
        explore.RunsExplorer, curves={"a": {1: 0.1}}, metric=METRIC, scale=2.0, label="a"
    ),
    "explore.TextExplorer": call(
        explore.TextExplorer,
        model=vsnn_lab.LanguageModel(256, layers=1, width=4, heads=1, ffn=Width(3)),
        tokenizer=byte_tokenizer([]),
        passage="a b",
        prompt="a",
        length=2,
        temperature=0.5,
        seed=0,
        widths=[1],
        sweep=sweep(3),
        dedicated={1: [0.1, 0.2]},
        plain=0.1,
    ),
    "explore.WidthComparison": call(
        explore.WidthComparison,
        model=autoencoder(),
        images=images(),
        labels=torch.arange(6) % 2,
        class_names=("a", "b"),
        widths=(1, 2),
    ),
    "explore.WidthComparison.show_image": call(COMPARISON.show_image, image=1),
    "figures.Metric": call(figures.Metric, name="a", better="lower", unit="b", scale=2.0),
    "figures.Metric.rank": call(figures.Metric("a", "lower").rank, value=0.5),
    "figures.Metric.text": call(figures.Metric("a", "lower").text, value=0.5),
    "figures.code_scatter": call(
        figures.code_scatter,
        codes=x(),
        labels=torch.tensor([0, 1, 0, 1, 0]),
        class_names=("a", "b"),
        most=3,
        seed=0,
        title="c",
    ),
    "figures.comparison_curves": call(
        figures.comparison_curves, curves=errors(), scale=2.0, label="a", title="b"
    ),
    "figures.fewest_units": call(figures.fewest_units, curve={1: 0.5, 2: [0.3, 0.4]}, error=0.4),
    "figures.filter_gallery": call(
        figures.filter_gallery,
        filters=torch.ones(4, 1, 3, 3),
        values={1: 0.1, 3: 0.2},
        metric=METRIC,
        title="a",
    ),
    "figures.mask_gallery": call(
        figures.mask_gallery, masks={"a": torch.ones(3, 4).bool()}, columns=2
    ),
    "figures.network_graph": call(
        figures.network_graph,
        nodes=[("a", "input", None), ("b", "Linear", 1)],
        edges=[(0, 1)],
        title="c",
    ),
    "figures.overlay_curves": call(
        figures.overlay_curves,
        curves={"a": {1: 0.1}},
        metric=METRIC,
        scale=2.0,
        label="a",
        title="b",
    ),
    "figures.parallel_parameters": call(
        figures.parallel_parameters,
        table=pd.DataFrame({"SEED": [0], "mse": [0.1]}),
        parameters=["SEED"],
        metric="mse",
        measures=METRIC,
        title="b",
    ),
    "figures.sweep_figure": call(
        figures.sweep_figure,
        sweep=sweep(),
        label="a",
        scale=2.0,
        fraction=False,
        dedicated={2: [0.1, 0.2]},
        plain=0.1,
        pca={1: 0.5},
        title="b",
    ),
    "figures.traversal": call(
        figures.traversal,
        pictures=np.zeros((2, 3, 1, 4, 4)),
        values=[-1.0, 0.0, 1.0],
        units=[1, 2],
        title="a",
    ),
    "figures.unit_differences": call(
        figures.unit_differences,
        originals=images(),
        differences={1: images() - 0.5},
        limit=1.0,
        title="a",
    ),
    "figures.width_grid": call(
        figures.width_grid,
        originals=images(),
        reconstructions={1: images()},
        errors={1: 0.2},
        title="a",
    ),
    "figures.width_needed": call(
        figures.width_needed, curves=errors(), scale=2.0, label="a", title="b"
    ),
    "runs.Run.of": call(runs.Run.of, FileNotFoundError, notebook=MASKS, parameters={}, root="a"),
    "runs.check_parameters": call(
        runs.check_parameters, FileNotFoundError, notebook=MASKS, parameters={}
    ),
    "runs.find_notebook": call(
        runs.find_notebook, FileNotFoundError, name="01", folder=MASKS.parent
    ),
    "runs.folder_state": call(runs.folder_state, folder="a"),
    "runs.load_runs": call(runs.load_runs, root="a", notebook="b"),
    "runs.metrics": call(runs.metrics, FileNotFoundError, folder="a"),
    "runs.notebook_parameters": call(runs.notebook_parameters, FileNotFoundError, notebook=MASKS),
    "runs.notebook_question": call(runs.notebook_question, FileNotFoundError, notebook=MASKS),
    "runs.read_record": call(runs.read_record, FileNotFoundError, folder="a"),
    "runs.results": call(runs.results, FileNotFoundError, folder="a"),
    "sweeps.sweep": call(
        sweeps.sweep, runs=[], scheduler=None, slurm=None, workers=1, on_cell=None
    ),
    "report.build_report": call(
        report.build_report, OSError, notebooks=["../executed.ipynb"], folder="a", title="b"
    ),
}
WITH_ARGUMENTS = [name for name, each in CALLS.items() if each.valid]
# Layers of one and three dimensions take what those of two take.
UNLIKE = [name for name in WITH_ARGUMENTS if not name.endswith(("1d", "3d"))]


class Accepted(Exception):  # noqa: N818 - no error
    """A call that would have gone on to something slow."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Work in an empty folder, beside what valid calls read; never export."""

    def accept(*_, **__):
        raise Accepted

    above = tmp_path_factory.mktemp("junk")
    vsnn_lab.save_weights(net(), above / "saved")
    ran = new_code_cell("1", outputs=[new_output("stream", text="1")])
    nbformat.write(new_notebook(cells=[ran]), above / "executed.ipynb")
    (above / "pictures").mkdir()
    Image.new("RGB", (9, 8)).save(above / "pictures" / "red.png")
    (above / "text.md").write_text("some words\n" * 1000)
    (above / "empty").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(above / "empty")
        patch.setattr(torch.onnx, "export", accept)
        # Graphs are traced as ever, and run by Python.
        patch.setattr(compiled, "missing_compiler", lambda device: None)
        patch.setattr(compiled, "compile_by_inductor", lambda graph, _: graph.forward)
        yield above / "empty"


LONGEST = 600  # characters of a message; a batch takes thousands


def complaint(name: str, junk: dict[str, Any], folder: Path) -> str:
    """Return what is wrong with how a call refuses junk; nothing if it takes or refuses it well."""
    function, valid, documented = CALLS[name]
    # Copied together, because the arguments of a call may share a knob.
    others = {argument: value for argument, value in valid.items() if argument not in junk}
    arguments = copy.deepcopy(others) | junk
    before = state(arguments)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            function(**arguments)
    except (Accepted, *documented):
        return ""
    except Exception as error:
        left = [path.name for path in folder.rglob("*") if path.is_file()]
        if names_one_of(arguments, error):
            if len(str(error)) > LONGEST:
                return f"a message of {len(str(error))} characters: {str(error)[:LONGEST]}"
            kept = state(arguments) == before and not left
            return "" if kept else f"not before anything is done ({left}): {error}"
        return "" if is_of_what_was_passed(arguments, error) else f"{type(error).__name__}: {error}"
    finally:
        clear(folder)
    return ""


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def state(arguments: dict[str, Any]) -> list[Any]:
    """Return what a refusal leaves as it was: weights, modes and knobs of the models passed in."""
    models = [value for value in arguments.values() if isinstance(value, nn.Module)]
    knobs = [control.position for model in models for control in width_controls(model)]
    return [knobs, [(model.training, digest(model.state_dict())) for model in models]]


def names_one_of(arguments: dict[str, Any], error: Exception) -> bool:
    names = {*arguments, "model"} if "model_or_control" in arguments else arguments
    named = any(re.search(rf"\b{name}s?\b", str(error)) for name in names)
    return named and isinstance(error, TypeError | ValueError)


def is_of_what_was_passed(arguments: dict[str, Any], error: Exception) -> bool:
    """Whether a network, a sampler or a function that was passed in complains itself."""
    passed = [id(value) for value in arguments.values()]
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    owners = [frame.f_locals.get("self") for frame in frames]
    codes = [getattr(value, "__code__", None) for value in arguments.values()]
    theirs = any(isinstance(owner, nn.Module) or id(owner) in passed for owner in owners)
    theirs |= any(frame.f_code in codes for frame in frames)
    return theirs and isinstance(error, TypeError | ValueError | RuntimeError)


def test_everything_public_is_called_with_junk():
    rooms = {"": vsnn_lab, "data.": data, "explore.": explore, "figures.": figures}
    public = {
        f"{prefix}{name}": getattr(room, name)
        for prefix, room in rooms.items()
        for name in room.__all__
        if callable(getattr(room, name))
    }
    methods = {
        f"{name}.{method}": function
        for name, value in public.items()
        if isinstance(value, type) and not issubclass(value, nn.Module | Widget)
        for base in value.__mro__
        if base.__module__.startswith("vsnn_lab")
        for method, function in vars(base).items()
        if inspect.isfunction(function) and (method[0] != "_" or method == "__call__")
    }
    lacking = {
        name: sorted(names - CALLS[name].valid.keys()) if name in CALLS else "everything"
        for name, value in {**public, **methods}.items()
        if (names := arguments_of(value))
        and not (name in CALLS and names <= CALLS[name].valid.keys())
    }
    assert not lacking, f"CALLS lacks {lacking}"


def arguments_of(function: Callable[..., Any]) -> set[str]:
    """Return the names of a function's own arguments, those that stand for any others aside."""
    given = inspect.signature(function).parameters.values()
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {each.name for each in given if each.kind not in several} - {"self"}


@pytest.mark.parametrize("name", CALLS)
def test_every_call_is_valid_without_junk(name, folder):
    function, valid, documented = CALLS[name]
    with contextlib.suppress(Accepted, *documented):
        function(**copy.deepcopy(valid))
    clear(folder)


@pytest.mark.parametrize("name", UNLIKE)
def test_each_argument_takes_junk_or_refuses_it_by_name(name, folder):
    complaints = {
        f"{argument}={label}": found
        for argument in CALLS[name].valid
        for label, make in JUNK.items()
        if (found := complaint(name, {argument: make()}, folder))
    }
    assert not complaints, "\n".join(map(": ".join, complaints.items()))


FEW = st.lists(st.integers(-1, 7) | st.floats() | st.none(), max_size=4)
VALUES = st.one_of(
    st.sampled_from(list(JUNK)).map(lambda label: JUNK[label]()),
    st.integers(-5, 20),
    st.integers(min_value=2**63),
    st.floats(),
    st.text("ab.\0é ", max_size=3),
    FEW,
    FEW.map(tuple),
    st.dictionaries(st.integers(-1, 7) | st.text("ab", max_size=1), st.floats() | FEW, max_size=3),
    st.builds(
        lambda shape, dtype: torch.ones(shape).to(dtype),
        st.lists(st.integers(0, 4), max_size=4),
        st.sampled_from([torch.float32, torch.float64, torch.int64, torch.int8, torch.bool]),
    ),
)


@pytest.mark.parametrize("name", WITH_ARGUMENTS)
@settings(max_examples=15, derandomize=True, deadline=None)
@given(st.data())
def test_two_arguments_at_once_take_junk_or_refuse_it_by_name(name, folder, draw):
    chosen = st.sets(st.sampled_from(list(CALLS[name].valid)), min_size=1, max_size=2)
    junk = {argument: draw.draw(VALUES) for argument in sorted(draw.draw(chosen))}
    assert complaint(name, junk, folder) == ""


def test_a_class_in_place_of_what_it_makes_is_refused_with_the_remedy():
    with pytest.raises(TypeError, match=r"sampler must be a sampler, got .*; Triangular\(\) makes"):
        vsnn_lab.Interpolated(Triangular, 0.5)
    with pytest.raises(TypeError, match=r"loss must be callable .*; MSELoss\(\) makes one"):
        vsnn_lab.fit(net(), (x(), y()), nn.MSELoss)
    with pytest.raises(TypeError, match=r"activation must make a module .*nn\.ReLU does"):
        MLP(4, (6,), 2, activation=nn.ReLU())
