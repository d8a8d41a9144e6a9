"""The cell tagged ``parameters``: read by Python's own parser, and told other values."""

import ast
import io
import math
import tokenize
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbformat import NotebookNode

TAG, _INJECTED = "parameters", "injected-parameters"  # as papermill has them
_STATEMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr, ast.Delete)


def is_plain(value: Any) -> bool:
    """Whether a value is a number, text, True, False or None, or a list, tuple or dict of them."""
    if type(value) in (list, tuple):
        return all(map(is_plain, value))
    if type(value) is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    return value is None or type(value) in (bool, int, float, str)


def assigned_literals(source: str, notebook: str) -> dict[str, tuple[Any, str]]:
    """Return each name that a cell assigns, with its value and the comment behind it.

    Imports, definitions, calls and IPython's magic lines set no parameters and are passed over.

    Args:
        source: The cell's code.
        notebook: Name of the notebook, for messages.

    Raises:
        ValueError: If a line is no Python, a value no literal, or a name gets its value by anything
            but a plain assignment. The message names the line.
    """
    source, tree = _parse(source, notebook)
    comments = _comments(source)
    found: dict[str, tuple[Any, str]] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            help_ = comments.get(statement.end_lineno) or comments.get(statement.lineno, "")
            for name, value in _assignments(statement, notebook, source):
                found[name] = value, help_
        definition = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if not definition and _is_obscure(statement, found):
            code = (ast.get_source_segment(source, statement) or "").splitlines()[0]
            raise ValueError(
                f"parameters of {notebook} must get their values in plain assignments such as "
                f"N = 3, got line {statement.lineno} of the cell: {code}"
            )
    return found


def _parse(source: str, notebook: str) -> tuple[str, ast.Module]:
    """Return the cell as Python, IPython's magic lines as the calls that they stand for."""
    if source.lstrip().startswith("%%"):
        raise ValueError(
            f"the cell of parameters of {notebook} must be Python, got the cell magic "
            f"{source.split()[0]}; put it into a cell of its own"
        )
    try:
        return source, ast.parse(source)
    except SyntaxError:
        from IPython.core.inputtransformer2 import TransformerManager
    except (ValueError, RecursionError, MemoryError) as error:  # of what no text file could hold
        raise ValueError(f"parameters of {notebook} must be Python, got {error}") from error
    try:
        source = TransformerManager().transform_cell(source)
        return source, ast.parse(source)
    except SyntaxError as error:
        raise ValueError(
            f"parameters of {notebook} must be Python, got line {error.lineno} of the cell: "
            f"{(error.text or '').strip()} ({error.msg})"
        ) from error


def _comments(source: str) -> dict[int | None, str]:
    """Return the comment of each line that has one."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def _assignments(
    statement: ast.Assign | ast.AnnAssign, notebook: str, source: str
) -> Iterator[tuple[str, Any]]:
    """Yield the names that an assignment sets, each with its value."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    for target in targets:
        names = [
            node.id
            for node in ast.walk(target)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        ]
        if not names:  # an item or an attribute of something else
            continue
        try:
            value = ast.literal_eval(statement.value or "")
            if not is_plain(value):
                raise ValueError("a value of another kind")
            yield from _unpacked(target, value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            code = ast.get_source_segment(source, statement.value) if statement.value else "none"
            raise ValueError(
                f"{', '.join(names)} of {notebook} must have a number, text, list or None as its "
                f"default, got {code} in line {statement.lineno} of the cell"
            ) from error


def _unpacked(target: ast.expr, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names of a target with what each gets of a value."""
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple | ast.List) and isinstance(value, list | tuple | str):
        for each, item in zip(target.elts, value, strict=True):
            yield from _unpacked(each, item)
    else:
        raise ValueError("no plain target")


def _is_obscure(statement: ast.stmt, found: Mapping[str, tuple[Any, str]]) -> bool:
    """Whether a statement may change a parameter otherwise than by assigning it a literal."""
    plain = statement if isinstance(statement, ast.Assign | ast.AnnAssign) else None
    for node in ast.walk(statement):
        if node is not plain and isinstance(node, _STATEMENTS):
            return True
        # A method, or an assignment to an item, may alter what a name stands for.
        if isinstance(node, ast.Attribute) or (
            isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load)
        ):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if isinstance(found.get(owner, ("",))[0], list | dict):
                return True
    return False


def inject_parameters(notebook: "NotebookNode", values: Mapping[str, Any]) -> None:
    """Put a cell that assigns values behind the cell of parameters, in place of one before."""
    from nbformat.v4 import new_code_cell

    lines = [f"{name} = {_literal(value)}" for name, value in values.items()]
    cell = new_code_cell("\n".join(["# Parameters", *lines]), metadata={"tags": [_INJECTED]})
    others = [each for each in notebook.cells if _INJECTED not in each.metadata.get("tags", [])]
    place = [TAG in each.metadata.get("tags", []) for each in others].index(True) + 1
    notebook.cells = [*others[:place], cell, *others[place:]]
    notebook.metadata.setdefault("papermill", {})["parameters"] = dict(values)


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, tuple):
        return f"({' '.join(f'{_literal(item)},' for item in value)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_literal(item)}' for key, item in value.items())}}}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)
