"""Names made short so that they stay distinct."""

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile


def short_names(names: Sequence[str], letters: int) -> list[str]:
    """Return names of at most so many letters, different where the names are.

    What is too long loses its end; where that would make two alike, the middle; where that would,
    the beginning that all long ones have in common; and where nothing else helps, most of it, for
    its number among the names.

    Example:
        >>> short_names(["Shirt", "Trousers and socks"], 12)
        ['Shirt', 'Trousers an…']
        >>> short_names(["animal, dog, large", "animal, dog, small"], 12)
        ['animal…large', 'animal…small']
        >>> short_names(["animals/dogs/1 of 2", "animals/dogs/2 of 2"], 8)
        ['…1 of 2', '…2 of 2']
    """
    columns = zip(*(name for name in names if len(name) > letters), strict=False)
    start = sum(1 for _ in takewhile(lambda column: len({*column}) == 1, columns))
    ways: tuple[Callable[[str], str], ...] = (
        lambda name: f"{name[: letters - 1].rstrip()}…",
        lambda name: f"{name[: letters // 2]}…{name[letters // 2 + 1 - letters :]}",
        lambda name: f"…{name[start : start + letters - 1]}",
    )
    for way in ways:
        short = [name if len(name) <= letters else way(name) for name in names]
        if len({*short}) == len({*names}):
            return short
    return [*_numbered(names, letters)]


def _numbered(names: Sequence[str], letters: int) -> Iterator[str]:
    numbers = {name: f"…{number}" for number, name in enumerate(dict.fromkeys(names), 1)}
    for name in names:
        end = numbers[name]
        yield name if len(name) <= letters else f"{name[: max(0, letters - len(end))]}{end}"
