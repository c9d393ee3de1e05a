"""Fewer points with the same look: what a screen cannot show is not sent to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Most points of one line. More cost drawing time and show nothing more.
LIMIT = 2000


def decimate(columns: Sequence[np.ndarray], limit: int = LIMIT) -> np.ndarray:
    """Rows to keep so that no line loses its first point, its last point or an extreme of any stretch.

    The rows are cut into equal stretches and from each the rows of the least and the greatest value of every column are
    kept (min–max decimation). Values that are not finite are never an extreme.

    Args:
        columns: arrays of one shared length n, float; at least one.
        limit: most rows to keep, at least 4 for each column.

    Returns:
        Ascending row numbers, int64, at most ``limit`` of them; all rows where n ≤ limit.

    Raises:
        ValueError: no columns, unequal lengths, or a limit too small.
    """
    lengths = {len(column) for column in columns}
    if len(lengths) != 1:
        raise ValueError(f"columns have lengths {sorted(lengths)}; give at least one, all of one length.")
    if limit < 4 * len(columns):
        raise ValueError(f"limit={limit} is too small for {len(columns)} columns; give at least {4 * len(columns)}.")
    (rows,) = lengths
    if rows <= limit:
        return np.arange(rows)
    stretches = (limit - 2) // (2 * len(columns))
    edges = np.linspace(0, rows, stretches + 1).astype(np.int64)
    stretch = np.repeat(np.arange(stretches), np.diff(edges))
    keep = {0, rows - 1}
    for column in columns:
        values = np.asarray(column, dtype=float)
        rank = np.where(np.isfinite(values), values, np.nan)
        # lexsort puts NaN last, so filling each side with its own extreme keeps gaps out of the picks.
        for order in (
            np.lexsort((np.nan_to_num(rank, nan=np.inf), stretch)),
            np.lexsort((np.nan_to_num(-rank, nan=np.inf), stretch)),
        ):
            keep.update(order[edges[:-1]].tolist())
    return np.array(sorted(keep), dtype=np.int64)
