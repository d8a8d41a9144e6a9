"""The parameters that hold what narrow widths add to a layer's weight and bias."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Above so many weights a product of two thin matrices takes less time to add and to train. Steps of
# 784-w-w-10, batch 256: a tenth less with products for the inputs, as long with them for 255 x 255.
_MANY = 2**16


class LevelWeights(nn.Module):
    """What the levels of a layer add to its weight and its bias: ``weight_0`` and so on.

    A level that is not narrow (`octaves.is_narrow`) has a parameter of its own, which an optimizer
    leaves alone in steps that do not train the level; or a product of two, ``weight_0_rows`` and
    ``weight_0_columns``, as every level has where a layer's own axes are fixed and it is as large
    for all. All others are small and train together: they lie in one vector, ``weight_narrow``, the
    widest first, as steps of many small parameters take long.

    Args:
        narrow: The widest level that lies in the vector.
        rank: That of products, for weights that would be large; without it there are none.
    """

    def __init__(self, narrow: int, rank: int | None = None) -> None:
        super().__init__()
        self.narrow, self.rank = narrow, rank
        self.shapes: dict[str, dict[int, tuple[int, ...]]] = {}
        self.whole: dict[str, tuple[int, ...]] = {}

    def add(self, name: str, shapes: dict[int, tuple[int, ...]], like: Tensor) -> None:
        """Add zeros of the shape of each level to what the weight or bias of a layer has."""
        self.shapes[name], self.whole[name] = shapes, tuple(like.shape)
        zeros = like.detach().new_zeros
        for level, shape in shapes.items():
            if self.is_product(name, level):
                rows = zeros(shape[0], self.rank or 0)
                self.register_parameter(f"{name}_{level}_rows", nn.Parameter(rows))
                # One of the two has to start somewhere; at the same place for everybody.
                columns = torch.empty(rows.shape[1], shape[1], dtype=torch.float64)
                columns.normal_(
                    std=shape[1] ** -0.5, generator=torch.Generator().manual_seed(level)
                )
                self.register_parameter(f"{name}_{level}_columns", nn.Parameter(columns.to(rows)))
            elif level < self.narrow:
                self.register_parameter(f"{name}_{level}", nn.Parameter(zeros(shape)))
        if size := self._size(name, [*shapes]):
            self.register_parameter(f"{name}_narrow", nn.Parameter(zeros(size)))

    def is_product(self, name: str, level: int) -> bool:
        """Whether a level has a product of two matrices."""
        shape = self.shapes.get(name, {}).get(level, ())
        if self.rank is None or len(shape) != 2 or math.prod(shape) <= _MANY:
            return False
        return level < self.narrow or shape == self.whole[name]

    def product(self, name: str, level: int) -> tuple[Tensor, Tensor]:
        """Return the two matrices of a level: (units, rank) and (rank, inputs)."""
        return getattr(self, f"{name}_{level}_rows"), getattr(self, f"{name}_{level}_columns")

    def of(self, name: str, level: int) -> Tensor | None:
        """Return what a level has beside the weight or bias of a layer, if there is something."""
        shapes = self.shapes.get(name, {})
        if level not in shapes:
            return None
        if self.is_product(name, level):
            rows, columns = self.product(name, level)
            return rows @ columns
        if level < self.narrow:
            own: Tensor = getattr(self, f"{name}_{level}")
            return own
        start = self._size(name, [each for each in shapes if each < level])
        vector: Tensor = getattr(self, f"{name}_narrow")
        return vector.narrow(0, start, math.prod(shapes[level])).view(shapes[level])

    def factors(self, name: str) -> dict[int, tuple[Tensor, ...]]:
        """Return what each level has: one tensor, or the two of a product."""
        shapes, in_vector = self.shapes.get(name, {}), []
        found: dict[int, tuple[Tensor, ...]] = {}
        for level in shapes:
            if self.is_product(name, level):
                found[level] = self.product(name, level)
            elif level < self.narrow:
                found[level] = (getattr(self, f"{name}_{level}"),)
            else:
                in_vector.append(level)
        if in_vector:
            vector: Tensor = getattr(self, f"{name}_narrow")
            # All at once: one by one, each would have a gradient as long as the vector.
            pieces = vector.split([math.prod(shapes[level]) for level in in_vector])
            for level, piece in zip(in_vector, pieces, strict=True):
                found[level] = (piece.view(shapes[level]),)
        return found

    @torch.no_grad()
    def set(self, name: str, level: int, value: Tensor) -> None:
        """Set what a level has; a product to what comes closest."""
        if self.is_product(name, level):
            rows, columns = self.product(name, level)
            left, scale, right = torch.linalg.svd(value.float(), full_matrices=False)
            rank = min(rows.shape[1], len(scale))
            for part, found in ((rows, left[:, :rank] * scale[:rank]), (columns.T, right[:rank].T)):
                part.zero_()
                part[:, :rank] = found
            return
        own = self.of(name, level)
        assert own is not None
        own.copy_(value)

    def last(self, name: str, levels: Sequence[int]) -> Tensor:
        """Return what the narrow ones of the last levels have, in a row, the widest first."""
        vector: Tensor = getattr(self, f"{name}_narrow")
        size = self._size(name, levels)
        return vector if size == len(vector) else vector.narrow(0, len(vector) - size, size)

    def _size(self, name: str, levels: Sequence[int]) -> int:
        shapes = self.shapes[name]
        return sum(
            math.prod(shapes[level])
            for level in levels
            if level >= self.narrow and not self.is_product(name, level)
        )
