"""Tables of plain text for a terminal."""

from collections.abc import Collection, Sequence


def aligned(rows: Sequence[Sequence[str]], left: Collection[int]) -> list[str]:
    """Return the rows as lines with aligned columns: those in `left` to the left, all others to the right.

    The first row has all columns. The last cell of a shorter row does not count for its column's width.
    """
    whole = [row if len(row) == len(rows[0]) else row[:-1] for row in rows]
    widths = [max(len(row[column]) for row in whole if column < len(row)) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        for row in rows
    ]
