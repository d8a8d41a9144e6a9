"""Results of many trainings of language models: made, kept, tracked, and read by position."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from vsnn_lab.train.by_position import collect_by_position
from vsnn_lab.train.kept_runs import Result, RunCollection

LANGUAGE = RunCollection("language", ("steps", "method", "seed"))
results_folder, keep_runs = LANGUAGE.folder, LANGUAGE.keep
tracked_results, track_results = LANGUAGE.tracked, LANGUAGE.track
_FULL = 6
# What a table shows: how much a variable model may lose at most, in per cent.
TARGETS = {
    ("fh", 1): 3.0,
    ("fh", 3): 2.5,
    ("fh", _FULL): 0.5,
    ("fhd", 1): 0.0,
    ("fhd", 2): 6.0,
    ("fhd", 3): 6.0,
    ("fhd", _FULL): 1.0,
}


def bits_by_width(results: Iterable[Result], kind: str) -> dict[int, list[float]]:
    """Return test bits per byte by position, one a seed.

    Args:
        results: Of one number of steps.
        kind: "fh" or "fhd" for the variable model, "fh-dedicated" or "fhd-dedicated" for models
            trained for one size each, of which the plain one is the widest.
    """
    name, _, dedicated = kind.partition("-")
    found = []
    for result in results:
        method, bits = result["method"], result["bits_per_byte"]
        if method == name and not dedicated:
            found.append(bits)
        elif dedicated and (method == "plain" or method.startswith(f"{name}-")):
            place = _FULL if method == "plain" else int(method.partition("-")[2])
            found.append({str(place): bits["1"]})
    return collect_by_position(found)


def summary(results: Sequence[Result]) -> list[str]:
    """Return lines that say how variable models stand beside dedicated ones, and the targets."""
    lines = []
    for kind in ("fh", "fhd"):
        variable = bits_by_width(results, kind)
        dedicated = bits_by_width(results, f"{kind}-dedicated")
        for position, values in variable.items():
            lines.append(_line(kind, position, values, dedicated))
        ratios = [each["step_over_plain"] for each in results if each["method"] == kind]
        agreed = [each["agreement"]["1"] for each in results if each["method"] == kind]
        drafts = [each["drafts_accepted"]["2"] for each in results if each["method"] == kind]
        if ratios:
            lines.append(f"{kind}: a step takes {fmean(ratios):.2f} of plain's")
            lines.append(f"{kind}: position 1 agrees with full width {100 * fmean(agreed):.1f} %")
            lines.append(f"{kind}: of two drafts of it {100 * fmean(drafts):.1f} % are accepted")
    return lines


def _line(
    kind: str, position: int, values: Sequence[float], dedicated: Mapping[int, Sequence[float]]
) -> str:
    text = f"{kind} {position}: {fmean(values):.4f} bits per byte, {len(values)} seeds"
    if position in dedicated:
        beside = fmean(dedicated[position])
        loss = 100 * (fmean(values) / beside - 1)
        text += f"; alone {beside:.4f}, {loss:+.2f} %"
        if (kind, position) in TARGETS:
            text += f" (at most {TARGETS[kind, position]:+.1f} %)"
    return text
