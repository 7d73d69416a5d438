"""The plots of the quality report, with one row per source language."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf, nan
from pathlib import Path
from typing import Any

from mothertongue.dataset.quality_report import Report
from mothertongue.dataset.reasons import CURED

Figures = Mapping[str, Any]
Rows = list[tuple[str, Figures]]

# Okabe and Ito's palette, which suits colour-blind readers, and greys.
_BLUE, _SKY, _ORANGE, _GREEN, _PURPLE, _YELLOW = "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442"
_DARK, _LIGHT, _FAINT = "#333333", "#CCCCCC", "#E8E8E8"
_STATUSES = {
    "native": _SKY,
    "translated": _BLUE,
    "answered": _PURPLE,
    "corrected": _GREEN,
    "copied": _LIGHT,
    "flagged": _ORANGE,
    "failed": _DARK,
}
_OTHERS = (_ORANGE, _GREEN, _PURPLE, _SKY, _YELLOW)
_WIDTH, _ROW, _COLUMN = 7.5, 0.27, 0.62  # inches
_RATIOS = (0.0625, 0.125, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 8, 16)
_SPREAD = "line: 5% to 95% of the translations; bar: 25% to 75%; dot: the median"
_ALL = "all"
_REASONS = 12  # the most frequent ones that are plotted


def draw(plot: str, report: Report, name: str, path: Path) -> None:
    """Draw one of PLOTS as SVG; `name` is the target language's. The same report gives the same bytes."""
    import matplotlib

    # Fixed identifiers and no date make the bytes reproducible; text is not converted to paths.
    with matplotlib.rc_context(
        {
            "svg.hashsalt": "mothertongue",
            "svg.fonttype": "none",
            "text.parse_math": False,
            "font.size": 9,
            "axes.titlesize": 10,
        }
    ):
        PLOTS[plot](report, name).savefig(path, format="svg", metadata={"Date": None})


def statuses(report: Report, name: str) -> Any:
    """Plot the messages by status."""
    rows = _rows(report)
    figure, (axes,) = _figure(rows, _WIDTH, f"What became of the messages on their way to {name}")
    colours = {
        name: colour for name, colour in _STATUSES.items() if name != "answered" or report["total"]["status"][name]
    }
    parts = {status: [_share(row["status"][status], row["messages"]) for _, row in rows] for status in colours}
    _stack(axes, parts, colours)
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of the messages")
    columns = {"messages": [f"{row['messages']:,}" for _, row in rows]}
    columns |= {status: [_count(row["status"][status]) for _, row in rows] for status in ("flagged", "failed")}
    _columns(axes, columns)
    return figure


def reasons(report: Report, name: str) -> Any:
    """Plot the messages by failed check, and those that a second attempt cured."""
    rows = _rows(report)
    total = report["total"]
    objections, cured = (list(total[kind])[:_REASONS] for kind in ("reasons", "cured"))
    title = f"Objections to translations into {name}"
    if not objections and not cured:
        return _empty(rows, title, "no objections")
    figure, (axes,) = _figure(rows, max(_WIDTH, 2.2 + _COLUMN * (len(objections) + len(cured))), title)
    _table(axes, rows, "reasons", objections, "Oranges", 0)
    _table(axes, rows, "cured", cured, "Greens", len(objections))
    headings = [*objections, *(CURED + reason for reason in cured)]
    axes.set_xticks([number + 0.5 for number in range(len(headings))], headings, rotation=40, ha="right")
    axes.tick_params(bottom=False)
    axes.spines["bottom"].set_visible(False)
    _columns(axes, {"messages": [f"{row['messages']:,}" for _, row in rows]})
    left_out = "" if max(len(total["reasons"]), len(total["cured"])) <= _REASONS else f"; the {_REASONS} most frequent"
    _note(figure, f"messages; the darker, the larger their share of the source language's messages{left_out}")
    return figure


def length_ratios(report: Report, name: str) -> Any:
    """Plot the ratio of translation length to source length, in characters and UTF-8 bytes."""
    from matplotlib.ticker import FixedLocator

    rows = _rows(report)
    title = f"Length of translations into {name} over that of their sources"
    if not report["total"]["length_ratio"]["messages"]:
        return _empty(rows, title, "no lengths: no message was translated by a model")
    figure, panels = _figure(rows, 9, title, panels=2)
    figure.get_layout_engine().set(wspace=0.08)
    for axes, unit in zip(panels, ("characters", "bytes"), strict=True):
        axes.set_title(unit if unit == "characters" else "UTF-8 bytes", loc="left")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(_RATIOS))
        axes.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}")
        axes.axvline(1, color=_DARK, linewidth=0.8)
        _spread(axes, [row["length_ratio"][unit]["quantiles"] for _, row in rows], least=_RATIOS[0])
        shortest, longest = axes.get_xlim()
        axes.set_xlim(min(shortest, 0.7), max(longest, 1.6))
    _note(figure, _SPREAD)
    return figure


def languages(report: Report, name: str) -> Any:
    """Plot the languages identified in translations that are not in the target language."""
    rows = _rows(report)
    title = f"Translations that are not in {name}, by the language identified"
    total = report["total"]["language"]
    if total is None:
        return _empty(rows, title, f"not measurable: lid.176 does not know {name}")
    if not total["judged"]:
        return _empty(rows, title, "nothing to judge: no translation with enough letters")
    figure, (axes,) = _figure(rows, _WIDTH, title)
    colours = dict(zip(total["others"], _OTHERS, strict=False)) | {"others": _DARK, "not sure": _LIGHT}
    taken = [_taken_for(row["language"], total["others"]) for _, row in rows]
    parts = {part: [shares[part] for shares in taken] for part in colours}
    _stack(axes, parts, colours)
    axes.set_xlim(0, max(5.0, 1.05 * max(sum(row) for row in zip(*parts.values(), strict=True))))
    axes.set_xlabel("% of the translations judged by lid.176")
    shares = [row["language"]["in_target_share"] for _, row in rows]
    columns = {
        "judged": [f"{row['language']['judged']:,}" for _, row in rows],
        f"in {name}": ["" if share is None else f"{share:.1%}" for share in shares],
    }
    _columns(axes, columns)
    return figure


def scores(report: Report, name: str) -> Any:
    """Plot the engine's scores."""
    rows = _rows(report)
    title = f"The engine's scores of translations into {name}"
    if not report["total"]["score"]["messages"]:
        return _empty(rows, title, "no scores: this engine gives none")
    figure, (axes,) = _figure(rows, _WIDTH, title)
    _spread(axes, [row["score"]["quantiles"] for _, row in rows])
    axes.set_xlabel("mean log-probability of a token")
    _note(figure, _SPREAD)
    return figure


PLOTS: dict[str, Callable[[Report, str], Any]] = {
    plot.__name__: plot for plot in (statuses, reasons, length_ratios, languages, scores)
}


def _rows(report: Report) -> Rows:
    """Return the source languages, after a row for the total where there are several."""
    rows = list(report["by_source"].items())
    return rows if len(rows) == 1 else [(_ALL, report["total"]), *rows]


def _figure(rows: Rows, width: float, title: str, panels: int = 1) -> tuple[Any, list[Any]]:
    """Return a figure, `width` inches wide, and its side-by-side panels, with one row per source language."""
    from matplotlib.figure import Figure

    figure = Figure((width, 1.5 + _ROW * len(rows)), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    axes = list(figure.subplots(1, panels, sharey=True, squeeze=False)[0])
    for panel in axes:
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(left=False)
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    axes[0].set_yticks(range(len(rows)), [label for label, _ in rows])
    if rows[0][0] == _ALL:
        axes[0].get_yticklabels()[0].set_weight("bold")
    return figure, axes


def _note(figure: Any, text: str) -> None:
    """Draw a line of text below the panels."""
    figure.supxlabel(text, x=0.01, ha="left", size=9)


def _empty(rows: Rows, title: str, why: str) -> Any:
    """Return a figure with only the reason why there is nothing to plot."""
    figure, (axes,) = _figure(rows[:1], _WIDTH, title)
    axes.set_axis_off()
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", size=11, color=_DARK)
    return figure


def _stack(axes: Any, parts: Mapping[str, Sequence[float]], colours: Mapping[str, str]) -> None:
    """Draw stacked horizontal bars and a legend above them."""
    left = [0.0] * len(next(iter(parts.values())))
    for label, shares in parts.items():
        axes.barh(range(len(shares)), shares, left=left, height=0.72, color=colours[label], label=label)
        left = [start + share for start, share in zip(left, shares, strict=True)]
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(parts), frameon=False, handlelength=1)


def _columns(axes: Any, columns: Mapping[str, Sequence[str]]) -> None:
    """Draw columns of figures at the right of the rows."""
    right = 0.0
    for heading, texts in columns.items():
        right += 14 + 5.2 * max(map(len, [heading, *texts]))
        end = {"xytext": (right, 0), "textcoords": "offset points", "ha": "right"}
        axes.annotate(heading, (1, 1), xycoords="axes fraction", va="bottom", color=_DARK, **end)
        for row, text in enumerate(texts):
            axes.annotate(text, (1, row), xycoords=axes.get_yaxis_transform(), va="center_baseline", **end)


def _table(axes: Any, rows: Rows, kind: str, reasons: Sequence[str], colours: str, first: int) -> None:
    """Draw the message counts by reason in cells from column `first`, shaded by their share of the row's messages."""
    if not reasons:
        return
    shares = [[0.0] * len(reasons) for _ in rows]
    for y, (_, row) in enumerate(rows):
        for x, reason in enumerate(reasons):
            count = row[kind].get(reason, {"messages": 0})["messages"]
            shares[y][x] = _share(count, row["messages"])
            axes.text(first + x + 0.5, y, _count(count), ha="center", va="center_baseline")
    across, down = range(first, first + len(reasons) + 1), [edge - 0.5 for edge in range(len(rows) + 1)]
    darkest = 1.4 * max(map(max, shares))
    cells = [[share or nan for share in row] for row in shares]
    axes.pcolormesh(across, down, cells, cmap=colours, vmin=0, vmax=darkest, edgecolors="white")


def _spread(axes: Any, rows: Sequence[Mapping[str, float] | None], least: float = -inf) -> None:
    """Draw quantiles as a line, a bar and a dot, with the median at the right; leave rows without quantiles empty."""
    for y, quantiles in enumerate(rows):
        if quantiles is None:
            continue
        at = {name: max(value, least) for name, value in quantiles.items()}
        axes.plot([at["p5"], at["p95"]], [y, y], color=_SKY, linewidth=1.5, solid_capstyle="butt")
        axes.plot([at["p25"], at["p75"]], [y, y], color=_BLUE, linewidth=6, solid_capstyle="butt")
        axes.plot([at["p50"]], [y], "o", color="white", markeredgecolor=_DARK, markersize=5)
    axes.grid(axis="x", color=_FAINT)
    axes.set_axisbelow(True)
    _columns(axes, {"median": ["" if row is None else f"{row['p50']:.2f}" for row in rows]})


def _taken_for(figures: Figures, named: Iterable[str]) -> dict[str, float]:
    """Return the percentages of the judged translations in each of the `named` languages, in others, and not sure."""
    counts = {language: figures["others"].get(language, 0) for language in named}
    rest = figures["judged"] - figures["in_target"] - figures["not_sure"] - sum(counts.values())
    counts |= {"others": rest, "not sure": figures["not_sure"]}
    return {part: _share(count, figures["judged"]) for part, count in counts.items()}


def _share(count: int, whole: int) -> float:
    return 100 * count / whole if whole else 0.0


def _count(count: int) -> str:
    return f"{count:,}" if count else ""
