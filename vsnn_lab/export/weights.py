"""Networks in files: the tensors of a ``state_dict``, and a header that says what they are."""

import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vsnn_lab._basics import checkpoints
from vsnn_lab._basics.checks import check_int, check_path
from vsnn_lab.layers import VariableLayer
from vsnn_lab.layers.own_weights import SwitchableLayer
from vsnn_lab.networks.extraction import cut_positions, extract, inner_network
from vsnn_lab.widths import Part, Width, WidthControl, width_controls

# Of the header that `save_weights` writes; a reader of another format refuses the file.
_FORMAT = 1
_Part = list[int | None]
_SHOWN = 5  # differences that an error names before it only counts


def save_weights(
    model: nn.Module,
    path: str | Path,
    *,
    width: int | Mapping[WidthControl, int] | None = None,
) -> Path:
    """Save a variable network, or the submodel of one width, as safetensors.

    The tensors bear the names of the ``state_dict``, so that ``safetensors.torch.load_file`` and
    ``load_state_dict`` are enough to use them. A small JSON header says what they are: format,
    package version, class, architecture, steps of the knobs, width; and, where they do not follow
    from sizes and steps, which knobs are rounded and what axes are joined of; of weights of their
    own for narrow widths what they count. Nothing is pickled; after a crash the old file or the new
    one is there, whole.

    Args:
        model: Any module. Of one that ``torch.compile``, ``nn.DataParallel`` or
            `torch.optim.swa_utils.AveragedModel` holds, the network itself is saved.
        path: The file; missing folders are made.
        width: Cut this width out, as `extract` does, and save it; by default the whole network. Of
            a plain network, one that was cut before, it is only noted.

    Raises:
        TypeError: If ``width`` is not an integer, or the model keeps state that is no tensor.
        ValueError: If ``width`` lies outside the range.
        OSError: If the file cannot be written.

    Example:
        >>> import tempfile
        >>> from vsnn_lab import MLP, Width
        >>> plain = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save_weights(MLP(3, (Width(8),), 2), f"{folder}/net.safetensors", width=5)
        ...     load_weights(plain, path)["width"]
        5
    """
    model = inner_network(model)
    controls = width_controls(model)
    path = check_path("path", path, "file")
    network, noted = model, None
    if width is not None and controls:
        kept = list(cut_positions(model, width).values())
        noted = kept[0] if len(kept) == 1 else kept
        network = extract(model, width)
    elif width is not None:
        noted = check_int("width", width)
    state = network.state_dict()
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"model must keep tensors only, got {key} of {type(value).__name__}")
    header = {
        "format": _FORMAT,
        # Not imported, because the top of the package imports the rooms and not the other way.
        "package": f"vsnn_lab {sys.modules['vsnn_lab'].__version__}",
        "class": f"{type(network).__module__}.{type(network).__qualname__}",
        "architecture": repr(network),
        "steps": [control.steps for control in controls],
        "width": noted,
    }
    if any(control.rounded for control in controls):
        header["rounded"] = [control.rounded for control in controls]
    if noted is None and (axes := _uneven_axes(network, controls)):
        header["axes"] = axes
    if noted is None and (paces := _paces(network)):
        header["paces"] = paces
    return checkpoints.write(path, state, header)


def load_weights(model: nn.Module, path: str | Path) -> dict[str, Any]:
    """Load weights from a file, as `save_weights` writes them, into a network that they fit.

    All or nothing: names, shapes, what positions of the knobs mean and what own weights count are
    checked before anything changes. Values are cast to the dtypes of ``model``, and parameters that
    it ties together stay tied. A plain network takes the file of a variable one, and the other way
    round. A safetensors file that another program wrote is loaded, too, if its names and shapes are
    the model's; of tensors that the model ties together it may hold a single one.

    Args:
        model: The network to fill; on its device, and within what torch put it into.
        path: The file.

    Returns:
        The header, what the file says about itself; empty if another program wrote it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, of another kind, or does not fit; the message says which
            key differs.
    """
    model = inner_network(model)
    controls = width_controls(model)
    steps = [control.steps for control in controls]
    path = check_path("path", path, "file")
    if zipfile.is_zipfile(path):
        raise ValueError(
            f"path must be a safetensors file, got {path}, an archive as of "
            "torch.save; model.load_state_dict(torch.load(path)) loads a state_dict that it holds"
        )
    found, header = checkpoints.read(path, foreign=True)
    own = model.state_dict(keep_vars=True)
    if header:
        _check_header(path, header)
    else:
        found = _untie(own, found)
    kept = header.get("steps") if header.get("width") is None else None
    if kept and steps and kept != steps:
        raise ValueError(
            f"model must have knobs of {kept} steps, as {path} says, got {steps}; "
            "positions of other knobs mean other widths"
        )
    if kept and steps:
        _check_axes(path, header.get("axes", {}), _uneven_axes(model, controls))
    # Files of earlier versions do not tell it.
    _check_paces(path, header.get("paces", {}), _paces(model))
    differing = _differences(own, found) or _wrongly_tied(own, found)
    if differing:
        more = len(differing) - _SHOWN
        tail = f"; and {more} more" if more > 0 else ""
        width = "" if header.get("width") is None else f" of width {header['width']}"
        raise ValueError(
            f"model must have the architecture that {path} holds, "
            f"{header.get('class', 'of another program')}{width}, got other tensors: "
            f"{'; '.join(differing[:_SHOWN])}{tail}"
        )
    model.load_state_dict(found)
    return header


def _uneven_axes(model: nn.Module, controls: Sequence[WidthControl]) -> dict[str, list[_Part]]:
    """Return the parts of the axes that do not keep as many units with each step of one knob.

    Each part is its units, the elements of a unit, and which knob it is on, None where it stays
    whole. All other axes follow from their sizes and the steps of the knobs.
    """
    found = {}
    for prefix, module in model.named_modules():
        for name in module.own_attributes if isinstance(module, VariableLayer) else ():
            axis = getattr(module, name, None)
            if not isinstance(axis, Width):
                continue
            parts = [
                [*_unit(part), None if part.control is None else controls.index(part.control)]
                for part in axis.parts
            ]
            if len(parts) > 1 or axis.parts[0].units % axis.control.steps:
                found[f"{prefix}.{name}" if prefix else name] = parts
    return found


def _unit(part: Part) -> tuple[int, int]:
    """Return the units of a part and the elements of each; of an even one, single elements."""
    even = part.control is None or part.units % part.control.steps == 0
    return (part.size, 1) if even else (part.units, part.repeats)


def _check_axes(path: Path, told: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse axes that keep other units than those of the file at some position."""
    for name in sorted(told.keys() | own.keys()):
        if told.get(name) != own.get(name):
            even = "even steps of one knob"
            raise ValueError(
                f"model must have the axes that {path} says, got {name} of "
                f"{own.get(name, even)}, in the file {told.get(name, even)} (units, elements of "
                "each, number of the knob); positions mean other units there"
            )


def _paces(model: nn.Module) -> dict[str, list[float]]:
    """Return what own weights count in each layer that has some, narrow ones and wide ones."""
    return {
        name: [float(module.own_pace), float(module.wide_pace)]
        for name, module in model.named_modules()
        if isinstance(module, SwitchableLayer)
    }


def _check_paces(path: Path, told: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse own weights that would count more, or less, than those of the file."""
    for name in sorted(told.keys() & own.keys()):
        if told[name] != own[name]:
            raise ValueError(
                f"model must have the paces that {path} says, got {name} of {own[name]}, in the "
                f"file {told[name]} (pace, wide_pace); own weights would count otherwise"
            )


def _check_header(path: Path, header: Mapping[str, Any]) -> None:
    """Refuse a header that neither `save_weights` nor a training run writes."""
    written = header.get("format", _FORMAT)
    if type(written) is not int or written != _FORMAT:
        raise ValueError(
            f"path must be a file of format {_FORMAT}, got {path} of format {written!r:.40}; "
            f"{header.get('package', 'another version of the package')!s:.80} wrote it"
        )
    if "format" not in header:
        # The best weights of a run, which tell their history instead.
        rules = {"epochs": lambda value: isinstance(value, list)}
    else:
        rules = dict.fromkeys(
            ("package", "class", "architecture"), lambda value: isinstance(value, str)
        )
        rules |= {"steps": _are_positions, "width": _is_width}
        known = {"rounded": _are_flags, "axes": _are_axes, "paces": _are_paces}
        rules |= {key: rule for key, rule in known.items() if key in header}
    for key, rule in rules.items():
        if key not in header or not rule(header[key]):
            found = f"got {header[key]!r:.40}" if key in header else "which is missing"
            raise checkpoints.damaged(path, f"its header must tell {key}, {found}")


def _are_positions(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item > 0 for item in value)


def _are_flags(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is bool for item in value)


def _are_axes(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(parts, list) for parts in value.values())


def _are_paces(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(pair, list) and [type(pace) for pace in pair] == [float, float]
        for pair in value.values()
    )


def _is_width(value: Any) -> bool:
    return value is None or _are_positions(value if isinstance(value, list) else [value])


def _differences(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Say which keys and shapes of a network and of a file differ."""
    differing = [
        f"{key} is not in the file"
        if key not in found
        else f"{key} has shape {tuple(value.shape)}, in the file {tuple(found[key].shape)}"
        for key, value in own.items()
        if key not in found or found[key].shape != value.shape
    ]
    return differing + [f"{key} is only in the file" for key in found if key not in own]


def _untie(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a file's tensors, those that a network ties together by each of their names."""
    held = {id(value): found[key] for key, value in own.items() if key in found}
    return {key: held[id(value)] for key, value in own.items() if id(value) in held} | dict(found)


def _wrongly_tied(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Say which tensors a network ties together although the file holds different ones."""
    first: dict[int, str] = {}
    pairs = [(key, first.setdefault(id(value), key)) for key, value in own.items()]
    return [
        f"{key} and {other} are one tensor, in the file they differ"
        for key, other in pairs
        if checkpoints.digest([found[key]]) != checkpoints.digest([found[other]])
    ]
