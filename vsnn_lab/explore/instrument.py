"""What every instrument is: a description, arrays of what it shows everywhere, and its controls."""

from collections.abc import Callable, Mapping
from typing import Any

import anywidget
import numpy as np
import plotly.graph_objects as go
import traitlets
from IPython.display import display

from vsnn_lab._basics.checks import check_int
from vsnn_lab.explore import front
from vsnn_lab.explore.parts import array
from vsnn_lab.explore.portable import portable_html, revival_html
from vsnn_lab.figures.instrument import instrument_figure


class Position(traitlets.Int[int, int]):
    """Where a control stands; what lies outside its range is refused."""

    def __init__(self) -> None:
        super().__init__()

    def validate(self, obj: "Instrument", value: Any) -> int:
        """Return the position, or say what is wrong with it."""
        return check_int(f"{self.name}", value, *obj.range_of(f"{self.name}"))


class Instrument(anywidget.AnyWidget):
    """Base of an explorer: Python says what there is to see, the browser shows and moves it.

    What is shown at all widths travels once; no move waits for the kernel, which hears of it
    afterwards. An explorer describes itself, has a `Position` for each of its controls, and is
    done.

    Args:
        description: What the front end draws: kind and label, controls, parts, and the names and
            labels of buttons; see `vsnn_lab.explore.parts`.
        arrays: What they show, by name, as from `parts.array`.
        buttons: What each button calls, by its name.
        **positions: Where each control stands at first, by name.

    Attributes:
        status: The line beside the buttons.

    Example:
        >>> from vsnn_lab.explore import parts
        >>> class Squares(Instrument):
        ...     width = Position().tag(sync=True)
        ...
        ...     def __init__(self, steps):
        ...         widths = range(1, steps + 1)
        ...         numbers = parts.tile("square", [f"{w * w}" for w in widths])
        ...         super().__init__(
        ...             {
        ...                 "kind": "squares",
        ...                 "label": "Squares of widths",
        ...                 "controls": [parts.width_control("width", "side", widths, steps)],
        ...                 "parts": [parts.tiles([numbers])],
        ...                 "actions": [],
        ...             },
        ...             arrays={},
        ...             width=steps,
        ...         )
        >>> squares = Squares(8)
        >>> squares.width = 3
    """

    _esm = front.module()
    _css = front.style()

    description = traitlets.Dict().tag(sync=True)
    arrays = traitlets.Dict().tag(sync=True)
    drawn = traitlets.Dict().tag(sync=True)
    status = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        description: Mapping[str, Any],
        arrays: Mapping[str, Any],
        buttons: Mapping[str, Callable[[], object]] | None = None,
        **positions: Any,
    ) -> None:
        self._buttons = dict(buttons or {})
        self.run_drawing: Callable[[Any], np.ndarray] | None = None
        # What answers further kinds of messages: its result is in the answer.
        self._answers: dict[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {}
        super().__init__(description=dict(description), arrays=dict(arrays), **positions)
        self.on_msg(self._hear)

    def range_of(self, control: str) -> tuple[int, int]:
        """Return the least and the largest position of a control."""
        found = next(each for each in self.description["controls"] if each["name"] == control)
        if found["type"] == "width":
            return 1, found["of"]
        return 0, found["count"] - 1

    def static_figure(self) -> go.Figure:
        """Return what the instrument shows as a figure for headless runs and print."""
        positions = {each["name"]: getattr(self, each["name"]) for each in self._controls()}
        return instrument_figure(self.description, self.arrays, positions)

    def close(self) -> None:
        """Close the widget and let go of all that it shows, whoever still refers to it."""
        super().close()
        self._buttons, self.run_drawing, self._answers = {}, None, {}
        self.description, self.arrays, self.drawn = {}, {}, {}

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the front end moved; say what goes wrong in the status line, and raise it."""
        try:
            super().set_state(sync_data)
        except Exception as error:
            self.status = f"{error}" or type(error).__name__
            raise

    def _controls(self) -> list[dict[str, Any]]:
        return self.description["controls"]

    def _hear(self, widget: object, content: Mapping[str, Any], buffers: list[Any]) -> None:
        """Answer the front end: there is a kernel, and what it was asked for is done."""
        answer = {"id": content["id"]}
        try:
            if content["type"] == "action":
                at = content.get("at", {})
                for name in (each["name"] for each in self._controls() if each["name"] in at):
                    setattr(self, name, at[name])
                self._buttons[content["name"]]()
            elif content["type"] == "draw" and self.run_drawing is not None:
                self.drawn = array(self.run_drawing(buffers[0]), "width")
            elif content["type"] in self._answers:
                answer |= self._answers[content["type"]](content)
        except Exception as error:
            answer["error"] = f"{error}" or type(error).__name__
            raise
        finally:
            self.send(answer)

    def _ipython_display_(self, **options: Any) -> None:
        shown = self._repr_mimebundle_(**options)
        if shown is None:
            return
        data, metadata = shown
        # A page made of the notebook shows the widget from its saved state if it has that, which
        # the second output starts, or else from the data in the first.
        display(data | {"text/html": portable_html(self)}, metadata=metadata, raw=True)
        display({"text/html": revival_html(self.model_id), "text/plain": ""}, raw=True)
