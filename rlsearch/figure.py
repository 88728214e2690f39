"""Figures without a display, and without the global state of pyplot."""

import io
import warnings
from typing import Any

from etils import epath

from rlsearch.results import saving


def subplots(rows: int = 1, columns: int = 1, squeeze: bool = True, **options: Any) -> Any:
    """Does what `matplotlib.pyplot.subplots` does: a figure and its axes."""
    from matplotlib.figure import Figure  # takes long to import

    shared = {key: options.pop(key) for key in ("sharex", "sharey") if key in options}
    figure = Figure(**options)
    return figure, figure.subplots(rows, columns, squeeze=squeeze, **shared)


def png(figure: Any, **options: Any) -> bytes:
    """The figure as a PNG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Of a script that the font lacks, boxes are drawn.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", metadata={"Software": None}, **options)
    return buffer.getvalue()


def save(figure: Any, path: epath.Path, **options: Any) -> None:
    """Writes a PNG. matplotlib itself writes to local files alone, and `path` may be a bucket's."""
    image = png(figure, **options)
    with saving(path):
        path.write_bytes(image)
