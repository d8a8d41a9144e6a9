"""Which width a budget affords, for one knob and for several."""

from collections.abc import Mapping
from numbers import Real

import numpy as np
from torch import Tensor, nn
from tqdm.auto import tqdm

from vsnn_lab._basics.checks import check_callable, check_flag, check_pair, short_repr
from vsnn_lab.measure.ablation import Metric, WidthSweep, mean_metric
from vsnn_lab.measure.costs import (
    check_inputs,
    check_threads,
    count_macs,
    count_parameters,
    measure_latency,
)
from vsnn_lab.measure.evaluation import Batches, as_batches
from vsnn_lab.widths import WidthControl, at_width, width_controls

# The first stride is a knob's steps over this: AutoSlim, too, removes channels in groups.
_COARSE = 8
# Forwards of a timing: a search takes many, of which the last two have to agree.
_REPEATS = 20
# What is counted where time decides, since a stride's own share of it cannot be timed.
_COUNTED_FOR = {"max_latency_ms": "max_macs"}
_UNITS = {
    "max_parameters": ("parameters", ",.10g"),
    "max_macs": ("multiply-accumulates", ",.10g"),
    "max_latency_ms": ("ms", ".3g"),
}


def choose_width(
    sweep: WidthSweep,
    *,
    max_parameters: float | None = None,
    max_macs: float | None = None,
    max_latency_ms: float | None = None,
    min_metric: float | None = None,
    max_metric: float | None = None,
) -> int:
    """Choose among the swept widths the one that a goal and budgets ask for.

    With a goal for the metric it is the smallest width that reaches it and meets all budgets; with
    budgets alone, the largest that meets them.

    Args:
        sweep: The metric and the costs by width, from `width_sweep`.
        max_parameters: Most parameters of the submodel.
        max_macs: Most multiply-accumulates per sample.
        max_latency_ms: Longest median time of a forward, in milliseconds; needs a sweep that was
            ``timed``.
        min_metric: Goal for a metric of which more is better, such as accuracy.
        max_metric: Goal for a metric of which less is better, such as a loss.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If no swept width will do (the message names the nearest one and what it
            lacks), the arguments do not say what to look for, or the sweep does not hold a cost.

    Example:
        >>> import torch
        >>> from vsnn_lab import MLP, Width, width_sweep
        >>> net = MLP(5, (Width(4),), 1)  # 7 * width + 1 parameters
        >>> data = torch.zeros(8, 5), torch.zeros(8, 1)
        >>> choose_width(width_sweep(net, nn.functional.mse_loss, data), max_parameters=28)
        3
    """
    if not isinstance(sweep, WidthSweep):
        raise TypeError(
            f"sweep must be a WidthSweep, got {short_repr(sweep)}; width_sweep makes one"
        )
    sweep.check_ordered()
    budgets = _check_budgets(
        max_parameters=max_parameters, max_macs=max_macs, max_latency_ms=max_latency_ms
    )
    goal = _check_numbers(min_metric=min_metric, max_metric=max_metric)
    if len(goal) > 1 or not (goal or budgets):
        raise ValueError(
            f"choose_width must get one goal, a budget or both, got {goal or 'none'}; pass "
            "min_metric or max_metric, and max_parameters, max_macs or max_latency_ms"
        )
    wanted = _widths_at_goal(sweep, goal)
    spent = {
        width: {name: sweep.cost(name.removeprefix("max_"), width) for name in budgets}
        for width in wanted
    }
    fitting = [width for width in wanted if not _exceeded(spent[width], budgets)]
    if fitting:
        return fitting[0] if goal else fitting[-1]

    def excess(width: int) -> float:
        return max(cost / budgets[name] for name, cost in spent[width].items())

    nearest = min(wanted, key=excess)
    raise _refusal(f"width {nearest}", spent[nearest], budgets, goal)


def choose_widths(
    model: nn.Module,
    metric: Metric,
    batches: Batches | tuple[Tensor, Tensor],
    *,
    max_parameters: float | None = None,
    max_macs: float | None = None,
    max_latency_ms: float | None = None,
    inputs: Tensor | None = None,
    threads: int | None = None,
    higher_is_better: bool = False,
    progress: bool = True,
) -> dict[WidthControl, int]:
    """Choose a width for each of several knobs by greedy slimming.

    From full width on, each round tries to lower every knob by a stride and keeps the one that
    costs the metric least per saved cost, until the budgets are met. Strides start at an eighth
    of a knob's steps; when one would overshoot, the round is tried again with half of it, to 1.

    What a single stride saves of time is lost in noise. So saved multiply-accumulates weigh one
    knob against another, while every round times the cut network, and two timings in a row have to
    meet the budget. Where other work disturbs them, ask for a few per cent less.

    Args:
        model: A module with knobs; it is measured in evaluation mode and put back as it was.
        metric: As in `width_sweep`.
        batches: As in `width_sweep`; read once and kept.
        max_parameters: Most parameters of the submodel.
        max_macs: Most multiply-accumulates per sample; needs ``inputs``.
        max_latency_ms: Longest median time of a forward of all ``inputs``, in milliseconds, as
            `measure_latency` times it.
        inputs: What the model takes, shape (batch, ...).
        threads: Threads of torch on the CPU that it is timed with; by default as many as now.
        higher_is_better: Whether more of the metric is better, as of accuracy.
        progress: Show a bar if it takes more than two seconds.

    Returns:
        A position for each knob, for `at_width` and `extract`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the budgets cannot be met, none is given, or there is nothing to measure.

    References:
        Yu & Huang 2019, "AutoSlim", arXiv 1903.11728. There the smallest drop alone decides; it
        is divided by the cost saved here, because the knobs' strides save unlike amounts.

    Example:
        >>> import torch
        >>> from vsnn_lab import MLP, Width
        >>> net = MLP(3, (Width(8), Width(4)), 2)
        >>> data = torch.ones(5, 3), torch.zeros(5, 2)
        >>> chosen = choose_widths(net, nn.functional.mse_loss, data, max_parameters=40)
        >>> count_parameters(net, chosen) <= 40
        True
    """
    knobs = width_controls(model)
    if not knobs:
        raise ValueError("model must have a variable axis, got none; build a layer with a Width")
    check_callable("metric", metric, "callable on (output, target)")
    for name, flag in (("higher_is_better", higher_is_better), ("progress", progress)):
        check_flag(name, flag)
    budgets = _check_budgets(
        max_parameters=max_parameters, max_macs=max_macs, max_latency_ms=max_latency_ms
    )
    if not budgets:
        raise ValueError(
            "choose_widths must get a budget, got none; pass max_parameters, max_macs or "
            "max_latency_ms"
        )
    if threads is not None:
        check_threads(threads)
        if max_latency_ms is None:
            raise ValueError(f"threads must be None without max_latency_ms, got {threads}")
    if max_macs is not None or max_latency_ms is not None:
        check_inputs(inputs)
    counted = dict.fromkeys(_COUNTED_FOR.get(name, name) for name in budgets)

    def count(positions: Mapping[WidthControl, int]) -> dict[str, float]:
        counts = {"max_parameters": lambda: count_parameters(model, positions)}
        if inputs is not None:
            counts["max_macs"] = lambda: count_macs(model, positions, inputs)
        return {name: counts[name]() for name in counted}

    def time(positions: Mapping[WidthControl, int]) -> dict[str, float]:
        if max_latency_ms is None or inputs is None:
            return {}
        longest = 0.0
        for _ in range(2):  # a second time, if the first one meets the budget
            found = measure_latency(model, positions, inputs, repeats=_REPEATS, threads=threads)
            longest = max(longest, found.median_ms)
            if longest > max_latency_ms:
                break
        return {"max_latency_ms": longest}

    narrowest = dict.fromkeys(knobs, 1)
    least = count(narrowest) | time(narrowest)
    if _exceeded(least, budgets):
        raise _refusal("every knob at 1", least, budgets, {})
    data = [check_pair("batches", batch) for batch in as_batches(batches)]

    def measure(candidates: list[dict[WidthControl, int]]) -> np.ndarray:
        settings = [at_width(model, candidate) for candidate in candidates]
        values = mean_metric(model, metric, data, settings, progress=False)
        return -values if higher_is_better else values

    chosen = {knob: knob.steps for knob in knobs}
    strides = {knob: max(1, knob.steps // _COARSE) for knob in knobs}
    spent, loss = count(chosen) | time(chosen), None
    with tqdm(desc="rounds", delay=2, disable=not progress) as bar:
        while over := _exceeded(spent, budgets):
            if loss is None:
                loss = measure([chosen])[0]
            lower = [
                chosen | {knob: max(1, at - strides[knob])} for knob, at in chosen.items() if at > 1
            ]
            if not lower:  # timed once more, it takes longer than before
                raise _refusal("every knob at 1", spent, budgets, {})
            losses, prices = measure(lower), [count(candidate) for candidate in lower]
            saving = list(dict.fromkeys(_COUNTED_FOR.get(name, name) for name in over))
            rates = [
                _loss_per_saving(worse - loss, spent, price, saving)
                for worse, price in zip(losses, prices, strict=True)
            ]
            best = int(np.argmin(rates))
            bar.update()
            price = prices[best] | time(lower[best])
            if not _exceeded(price, budgets) and max(strides.values()) > 1:
                strides = {knob: max(1, stride // 2) for knob, stride in strides.items()}
                continue
            chosen, spent, loss = lower[best], price, losses[best]
    return chosen


def _check_numbers(**arguments: float | None) -> dict[str, float]:
    """Return the arguments that were given, each a number."""
    given = {name: value for name, value in arguments.items() if value is not None}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, Real) or value != value:
            raise TypeError(f"{name} must be a number, got {short_repr(value)}; None leaves it out")
    # Other numbers, such as fractions, have no format of their own.
    return {k: value if isinstance(value, int) else float(value) for k, value in given.items()}


def _check_budgets(**arguments: float | None) -> dict[str, float]:
    """Return the budgets that were given, each a positive number."""
    given = _check_numbers(**arguments)
    for name, value in given.items():
        if value <= 0:
            raise ValueError(f"{name} must be positive, got {value}; every network costs something")
    return given


def _widths_at_goal(sweep: WidthSweep, goal: Mapping[str, float]) -> list[int]:
    """Return the widths whose metric reaches the goal, or all if there is none."""
    widths = [int(width) for width in sweep.widths]
    for name, value in goal.items():
        missing = value - sweep.values if name == "min_metric" else sweep.values - value
        nearest = int(np.argmin(np.nan_to_num(missing, nan=np.inf)))
        widths = [width for width, gap in zip(widths, missing, strict=True) if gap <= 0]
        if not widths:
            raise ValueError(
                f"no swept width reaches {name}={value:g}: width {sweep.widths[nearest]} comes "
                f"nearest, with {sweep.metric} {sweep.values[nearest]:g}, {missing[nearest]:.3g} "
                f"{'short' if name == 'min_metric' else 'over'}; ease the goal or train longer"
            )
    return widths


def _exceeded(spent: Mapping[str, float], budgets: Mapping[str, float]) -> list[str]:
    return [name for name, budget in budgets.items() if spent[name] > budget]


def _loss_per_saving(
    worse: float, spent: Mapping[str, float], price: Mapping[str, float], saving: list[str]
) -> float:
    """Return how much worse the metric gets per saved share of the costs that count."""
    saved = sum(1 - price[name] / spent[name] for name in saving)
    return worse / saved if saved > 0 and worse == worse else np.inf


def _refusal(
    nearest: str,
    spent: Mapping[str, float],
    budgets: Mapping[str, float],
    goal: Mapping[str, float],
) -> ValueError:
    lacks = []
    for name in _exceeded(spent, budgets):
        unit, form = _UNITS[name]
        lacks.append(
            f"{spent[name]:{form}} {unit}, {spent[name] - budgets[name]:{form}} over "
            f"{name}={budgets[name]:{form}}"
        )
    asked = ", ".join(f"{name}={value:g}" for name, value in (dict(goal) | dict(budgets)).items())
    return ValueError(
        f"no width meets {asked}: {nearest} comes nearest, with {' and '.join(lacks)}; "
        "raise the budget or ease the goal"
    )
