"""A model whose calls in a training step are compiled, in a number of graphs that has a bound.

Every step draws widths of its own. So calls are told apart by how the knobs stand: all at full
width, at a narrow one, or at one for each sample. Each kind is compiled by itself, the first for
the sizes that it has, the others for sizes that vary. A graph serves all widths that take the same
branches in the layers.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from vsnn_lab.networks.gate import has_global_hooks, has_hooks
from vsnn_lab.widths import SeveralPositions, WidthControl

_log = logging.getLogger(__name__)

# `Distilled` needs 3 for an MLP of 256 units, 7 for convolutions; one takes seconds to make.
MOST_GRAPHS = 16
_ALONE = "steps run without torch.compile"
_TORCHS_OWN = (
    r"The \.grad attribute of a Tensor that is not a leaf Tensor is being accessed",
    r"Dynamo detected a call to a `functools\.lru_cache`-wrapped function",
)


class StepCompiler:
    """Compiles the calls of a model in steps.

    Between steps the model is as it was. What cannot be compiled runs as ever, and a warning says
    so: for want of a compiler, for hooks, which may do anything, or for Python in a forward that
    the compiler does not know. Several widths that run side by side always do: what they mask
    follows from the widths, and they are one call already.

    Args:
        model: What is trained.
        controls: Its knobs.
        device: Where it is trained.
        processes: How many train it together.
        backend: What makes a function of a graph and example inputs; by default torch's Inductor.

    Attributes:
        graphs: How many were compiled.
        eager: Whether nothing is compiled at all.
    """

    def __init__(
        self,
        model: nn.Module,
        controls: Sequence[WidthControl],
        device: torch.device,
        processes: int = 1,
        backend: Callable[..., Any] | None = None,
    ) -> None:
        self.model, self.controls = model, controls
        self.graphs = 0
        self._make = compile_by_inductor if backend is None else backend
        self._backend = self._count_graph  # One object, by which dynamo knows a graph again.
        self._calls = _Calls(self, model)
        self._warned: set[str] = set()
        self.eager = False
        missing = missing_compiler(device) if backend is None else None
        if processes > 1:
            self._give_up(f"compile=True is for one process, got {processes}")
        elif missing is not None:
            self._give_up(f"compile=True needs a compiler: {missing}")

    def _give_up(self, reason: str) -> None:
        self.eager = True
        self.warn(f"{reason}; {_ALONE}")

    @contextmanager
    def step(self) -> Iterator[None]:
        """Have the model's calls compiled for a while."""
        if self.eager or self._has_hooks():
            yield
            return
        own = vars(self.model)
        absent = object()
        before = own.get("_compiled_call_impl", absent)
        own["_compiled_call_impl"] = self._calls
        try:
            with _more_recompilations():
                yield
        finally:
            if before is absent:
                del own["_compiled_call_impl"]
            else:
                own["_compiled_call_impl"] = before

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Leave out what torch says of its own doings while it traces.

        It looks for gradients of weights that a recipe has scaled, and past what remembers results.
        """
        with warnings.catch_warnings():
            for message in _TORCHS_OWN:
                warnings.filterwarnings("ignore", message, UserWarning)
            yield

    def compiled(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is compiled in one graph at each of its first calls."""
        return torch.compile(forward, backend=self._backend, fullgraph=True)

    def kind(self) -> str | None:
        """Say how the knobs stand, None for what is not compiled."""
        positions = [control.setting.position for control in self.controls]
        if any(isinstance(position, SeveralPositions) for position in positions):
            return None
        if any(isinstance(position, Tensor) for position in positions):
            return "with a width for each sample"
        full = all(each.position == each.steps for each in self.controls)
        return "at full width" if full else "at narrow widths"

    def warn(self, message: str) -> None:
        """Warn, once for each message."""
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    def _count_graph(self, graph: Any, inputs: Any) -> Any:
        made = self._make(graph, inputs)
        self.graphs += 1
        if self.graphs == MOST_GRAPHS:
            self.warn(
                f"{MOST_GRAPHS} graphs were compiled, and a training makes no more; a width or a "
                "batch that none of them serves runs without torch.compile from here on"
            )
        return made

    def _has_hooks(self) -> bool:
        if has_global_hooks():
            self.warn(f"compile=True takes no hooks, got global ones of torch; {_ALONE}")
            return True
        for path, module in self.model.named_modules():
            if has_hooks(module):
                place = f"{type(module).__name__} at {path!r}"
                self.warn(f"compile=True takes no hooks, got one of {place}; {_ALONE}")
                return True
        return False


class _Calls:
    """What a module does when it is called: in a graph, or as ever where there is none."""

    def __init__(self, compiler: StepCompiler, module: nn.Module) -> None:
        self._compiler, self._module = compiler, module
        self._compiled: dict[str, Callable[..., Any] | None] = {}

    def __call__(self, *args: Any, **options: Any) -> Any:
        compiler, kind = self._compiler, self._compiler.kind()
        if kind is None:
            return self._module._call_impl(*args, **options)
        if kind not in self._compiled:
            self._compiled[kind] = compiler.compiled(_forward_of(self._module))
        compiled = self._compiled[kind]
        if compiled is not None:
            try:
                with _existing_graphs() if compiler.graphs >= MOST_GRAPHS else nullcontext():
                    return compiled(*args, **options)
            except _failures() as reason:
                name, said = type(self._module).__name__, _first_line(reason)
                _log.debug("%s is not compiled %s: %s", name, kind, reason)
                self._compiled[kind] = None
                compiler.warn(
                    f"{name} cannot be compiled {kind}, which runs without torch.compile from here "
                    f"on: {said}; a debug log of {__name__} has all of it"
                )
        return self._module._call_impl(*args, **options)


def _forward_of(module: nn.Module) -> Callable[..., Any]:
    """Return a function that calls a module, and shares its graphs with no other."""

    def forward(*args: Any, **options: Any) -> Any:
        return module._call_impl(*args, **options)

    # Graphs belong to the code of a function, whoever compiles it.
    forward.__code__ = forward.__code__.replace()
    return forward


def compile_by_inductor(graph: Any, inputs: Any) -> Any:
    """Compile a graph and its backward by torch's Inductor, with the random numbers of eager."""
    from torch._functorch import config
    from torch._inductor.compile_fx import compile_fx

    # Now rather than at the first backward, where nobody could turn back any more.
    name = "force_non_lazy_backward_lowering"
    now: AbstractContextManager[Any] = nullcontext()
    if hasattr(config, name):
        now = config.patch(name, True)
    with now:
        return compile_fx(graph, inputs, config_patches={"fallback_random": True})


def missing_compiler(device: torch.device) -> str | None:
    """Say what Inductor lacks on a device, None where nothing is known to be missing."""
    try:
        from torch._dynamo.eval_frame import check_if_dynamo_supported

        check_if_dynamo_supported()
        if device.type == "cuda":
            from torch.utils._triton import has_triton

            return None if has_triton() else "Triton is not installed, or not for this GPU"
        if device.type == "cpu":
            from torch._inductor.cpp_builder import get_cpp_compiler

            get_cpp_compiler()
    except Exception as reason:
        return _first_line(reason)
    return None


def _first_line(reason: Exception) -> str:
    # Dynamo says of a backend's error first that it is one.
    reason = getattr(reason, "inner_exception", reason)
    return str(reason).strip().partition("\n")[0] or type(reason).__name__


def _failures() -> tuple[type[Exception], ...]:
    """Return what torch.compile raises where it cannot make a graph."""
    from torch._dynamo import exc
    from torch._inductor.exc import CppCompileError
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    found = [exc.TorchDynamoException, CppCompileError, GuardOnDataDependentSymNode]
    for module, name in ((exc, "FailOnRecompileLimitHit"), (exc, "InductorError")):
        if hasattr(module, name):
            found.append(getattr(module, name))
    return tuple(found)


def _more_recompilations() -> AbstractContextManager[Any]:
    """Let dynamo make as many graphs of one function as the bound says, which counts them all."""
    from torch._dynamo import config

    name = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    return config.patch(name, max(getattr(config, name), MOST_GRAPHS + 1))


def _existing_graphs() -> AbstractContextManager[Any]:
    return torch.compiler.set_stance("eager_on_recompile")
