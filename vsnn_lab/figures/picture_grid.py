"""Pictures in rows, each with room for a caption below it."""

import numpy as np

from vsnn_lab.figures.images import add_opacity, join_grid

COLUMNS = 5
# Pixels of the screen: a picture's longer side, from one picture to the next, and down at most.
_LONGEST, _PITCH, _ROW = 64, 74, 112
_ABOVE = 3  # the first row, for half of a frame's line: lines end where their axes do
_BELOW = 4  # from a picture to its caption, so that no frame runs through the text


class PictureGrid:
    """Pictures in rows of five with room for captions, in pixels of the pictures.

    Args:
        pictures: uint8, shape (n, height, width, channels).
        box: Where they are drawn, in pixels of the screen: left, right, top, bottom.

    Attributes:
        canvas: All of them, uint8, shape (rows, columns, channels + 1); the last channel is
            opacity, zero between pictures.
        x: Middle of each picture.
        caption_y: Where its caption begins; that is ``caption_gap`` below its lower edge.
        x_range: Of an axis over the box.
        y_range: Of the other one, downwards.
    """

    def __init__(self, pictures: np.ndarray, box: tuple[int, int, int, int]) -> None:
        count, self.tall, self.wide, _ = pictures.shape
        left, right, top, bottom = box
        top += _ABOVE
        rows, longest = -(-count // COLUMNS), max(self.tall, self.wide)
        # Pixels of the screen for one of a picture: a whole number, unless that wastes room.
        whole = max(1, _LONGEST // longest)
        fits = 0.75 * _LONGEST <= whole * longest <= _LONGEST
        scale = whole if fits else _LONGEST / longest
        across = max(self.wide + 1, int(_PITCH / scale))
        down = max(self.tall + 1, int(min(_ROW, (bottom - top) / rows) / scale))
        # Pixels of a few pictures are so large that gaps of whole ones need more room.
        scale = min(scale, (right - left) / across / COLUMNS, (bottom - top) / down / rows)
        self.caption_gap = _BELOW / scale
        left_gap = (across - self.wide) // 2
        sides = left_gap, across - self.wide - left_gap
        margins = (0, rows * COLUMNS - count), (0, down - self.tall), sides, (0, 0)
        cells = np.pad(add_opacity(pictures), margins)
        self.canvas = join_grid(cells.reshape(rows, COLUMNS, *cells.shape[1:]))
        places = [divmod(index, COLUMNS) for index in range(count)]
        # An axis counts from the middle of the first pixel.
        self.x = [column * across + left_gap + (self.wide - 1) / 2 for _, column in places]
        self.caption_y = [row * down + self.tall - 0.5 + self.caption_gap for row, _ in places]
        self.x_range = [-0.5, (right - left) / scale - 0.5]
        self.y_range = [(bottom - top) / scale - 0.5, -_ABOVE / scale - 0.5]
