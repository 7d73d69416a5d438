"""The plots of an evaluation: answers in the language by system, and bits per byte by model, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mothertongue.evaluation.systems import BY_NAME, System

_ROW = 0.34
_KINDS = {"native": "native", "translated": "translated", "english": "English, as before translation"}


def answers_in_language(metrics: Mapping[str, Any], name: str) -> Any:
    """Plot each system's share of answers in the language, on native and on translated prompts."""
    title = f"Answers in {name}, line by line"
    sides = [BY_NAME[side] for side in metrics["answers"]]
    kinds = [kind for kind in _KINDS if metrics["prompts"].get(kind, {}).get("count")]
    panels = {
        f"{_KINDS[kind]} prompts": [metrics["answers"][side.name][kind]["in_language"] for side in sides]
        for kind in kinds
    }
    return _bars(title, panels, sides, "% of the answers", lambda value: f"{100 * value:.0f}", 100, largest=1)


def bits_per_byte(metrics: Mapping[str, Any], name: str) -> Any:
    """Plot bits per byte of held-out replies by model (lower is better)."""
    title = f"Held-out replies in {name}, and the English kept"
    models = metrics["bits_per_byte"]
    kinds = [kind for kind in _KINDS if any(figures.get(kind) for figures in models.values())]
    panels = {_KINDS[kind]: [figures[kind] for figures in models.values()] for kind in kinds}
    sides = [BY_NAME[model] for model in models]
    return _bars(title, panels, sides, "bits a byte (less is better)", lambda value: f"{value:.3f}", 1)


PLOTS: dict[str, Callable[[Mapping[str, Any], str], Any]] = {
    "language": answers_in_language,
    "bits_per_byte": bits_per_byte,
}


def draw(plot: str, metrics: Mapping[str, Any], name: str, path: Path) -> None:
    """Draw one of PLOTS as SVG; the same metrics give the same bytes."""
    import matplotlib

    with matplotlib.rc_context(
        {
            "svg.hashsalt": "mothertongue",
            "svg.fonttype": "none",
            "text.parse_math": False,
            "font.size": 10,
            "hatch.linewidth": 0.6,
        }
    ):
        PLOTS[plot](metrics, name).savefig(path, format="svg", metadata={"Date": None})


def _bars(
    title: str,
    panels: Mapping[str, Sequence[Mapping[str, Any] | None]],
    sides: Sequence[System],
    unit: str,
    form: Callable[[float], str],
    scale: float,
    largest: float = 0,
) -> Any:
    """Draw horizontal bars with values and intervals, one row per system and one panel per kind.

    The axis extends to the highest value or bound, at least to `largest`.
    """
    from matplotlib.figure import Figure

    columns = max(1, len(panels))
    figure = Figure((2.6 + 3.0 * columns, 1.5 + _ROW * len(sides)), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    axes = list(figure.subplots(1, columns, sharey=True, squeeze=False)[0])
    if not panels:
        axes[0].text(0.5, 0.5, "nothing to measure", ha="center", va="center", transform=axes[0].transAxes)
    largest = max([largest, *(_end(found) for figures in panels.values() for found in figures if found)])
    for panel, (heading, figures) in zip(axes, panels.items(), strict=False):
        measured = next((found["n"] for found in figures if found), None)
        panel.set_title(heading + (f"  (n = {measured:,})" if measured else ""), loc="left", size=10)
        panel.set_xlabel(unit)
        panel.set_xlim(0, scale * (largest or 1) * 1.22)
        panel.set_xticks([tick for tick in panel.get_xticks() if tick <= scale * (largest or 1)])
        for row, (side, found) in enumerate(zip(sides, figures, strict=True)):
            if found is None:
                panel.annotate("not measurable", (0, row), xytext=(4, 0), textcoords="offset points", va="center")
                continue
            look = {"color": side.colour, "hatch": side.hatch, "edgecolor": "#333333", "linewidth": 0.6}
            panel.barh(row, scale * found["value"], height=0.66, **look)
            if found["low"] is not None:
                bounds = [scale * found["low"], scale * found["high"]]
                panel.plot(bounds, [row, row], color="black", linewidth=1, marker="|", markersize=6)
            at = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
            panel.annotate(form(found["value"]), (scale * _end(found), row), **at)
    for panel in axes:
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(left=False)
    axes[0].set_ylim(len(sides) - 0.4, -0.6)
    axes[0].set_yticks(range(len(sides)), [side.label for side in sides])
    figure.supxlabel("Whiskers: 95% intervals of each alone, by bootstrap.", x=0.01, ha="left", size=8)
    return figure


def _end(found: Mapping[str, Any]) -> float:
    """Return the right end of a bar with its whisker."""
    return max(found["value"], found["high"] or 0)
