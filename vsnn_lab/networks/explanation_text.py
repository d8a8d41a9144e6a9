"""What became of a network, as text for a console and as HTML for a notebook."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vsnn_lab.networks.explanation import Explanation, Fixed, Knob, Layer

# Of more layers than these alike ones are one line of the text.
_MOST_LINES = 60
_MOST_KNOBS = 8
_NAMED = 3  # layers that a reason names before it counts the others
_COLUMNS = ("layer", "kind", "axes", "knob", "parameters", "varies")
_NUMBERS = ("parameters", "varies")


def as_text(found: "Explanation") -> str:
    """Return an explanation as lines of text, columns aligned."""
    lines = [_headline(found), *_knobs(found.knobs), ""]
    lines += _aligned([_COLUMNS, *_cells(found.rows, _MOST_LINES)])
    if found.fixed:
        lines += ["", "What stays, and why:"]
        lines += [f"  {_layers(each)}: {each.reason}" for each in found.fixed]
    return "\n".join([*lines, "", *_work(found)])


def as_html(found: "Explanation") -> str:
    """Return an explanation as HTML; whatever comes from the network is escaped."""
    right = ' style="text-align: right"'
    align = [right if name in _NUMBERS else ' style="text-align: left"' for name in _COLUMNS]
    head = _row("th", _COLUMNS, align)
    body = "".join(_row("td", cells, align) for cells in _cells(found.rows))
    reasons = "".join(
        f"<li>{escape(_layers(each))}: {escape(each.reason)}</li>" for each in found.fixed
    )
    stays = f"<p>What stays, and why:</p><ul>{reasons}</ul>" if reasons else ""
    before = "<br>".join(map(escape, [_headline(found), *_knobs(found.knobs)]))
    work = "<br>".join(map(escape, _work(found)))
    return (
        f"<div><p>{before}</p><table><thead>{head}</thead><tbody>{body}</tbody></table>"
        f"{stays}<p>{work}</p></div>"
    )


def _row(tag: str, cells: Sequence[str], align: Sequence[str]) -> str:
    parts = [
        f"<{tag}{style}>{escape(cell)}</{tag}>" for cell, style in zip(cells, align, strict=True)
    ]
    return f"<tr>{''.join(parts)}</tr>"


def _headline(found: "Explanation") -> str:
    return (
        f"{found.model}: {_percent(found.share)} of {found.parameters:,} parameters "
        "lie on an axis that varies"
    )


def _knobs(knobs: "Sequence[Knob]") -> list[str]:
    if len(knobs) > _MOST_KNOBS:
        positions = [knob.positions for knob in knobs]
        return [f"{len(knobs)} knobs of {min(positions)} to {max(positions)} positions"]
    return [
        f"knob {knob.number}: {knob.positions} positions{', rounded' if knob.rounded else ''}, "
        f"{_count(knob.layers)}"
        for knob in knobs
    ]


def _work(found: "Explanation") -> list[str]:
    if found.converted_seconds is None:
        return ["Built by hand: why an axis stays is not known."]
    lines = [f"Converted in {found.converted_seconds:.1f} s; not proven."]
    if found.proof_seconds is not None:
        lines = [
            f"Converted in {found.converted_seconds:.1f} s and proven in "
            f"{found.proof_seconds:.1f} s: full width, slices, masks and cuts agree."
        ]
    if found.training:
        lines.append(f"Not looked at in training mode: {found.training}")
    return lines


def _cells(rows: "Iterable[Layer]", most: int | None = None) -> list[tuple[str, ...]]:
    rows = list(rows)
    groups = [[row] for row in rows]
    if most is not None and len(rows) > most:

        def alike(row: "Layer") -> tuple[Any, ...]:
            return row.kind, row.axes, row.knobs, row.share

        groups = [list(group) for _, group in groupby(sorted(rows, key=alike), alike)]
        groups.sort(key=lambda group: rows.index(group[0]))
    return [
        (
            (first.name or "(whole)") + (f" and {len(others)} alike" if others else ""),
            first.kind,
            first.axes,
            ", ".join(map(str, first.knobs)) or "stays",
            f"{sum(row.parameters for row in (first, *others)):,}",
            _percent(first.share),
        )
        for first, *others in groups
    ]


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    sizes = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.rjust(size) if name in _NUMBERS else cell.ljust(size)
            for cell, size, name in zip(cells, sizes, _COLUMNS, strict=True)
        ).rstrip()
        for cells in table
    ]


def _layers(fixed: "Fixed") -> str:
    names = [repr(name) if name else "the module itself" for name in fixed.layers]
    shown = names if len(names) <= _NAMED else [*names[: _NAMED - 1], f"... {names[-1]}"]
    return f"{_count(len(names))} ({', '.join(shown)})"


def _count(layers: int) -> str:
    return f"{layers} layer{'s' if layers != 1 else ''}"


def _percent(share: float) -> str:
    """Return a share in percent that is 0 or 100 only if all of it is."""
    percent = round(100 * share)
    inner = min(max(percent, 1), 99) if 0 < share < 1 else percent
    return f"{inner} %"
