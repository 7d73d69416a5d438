"""The plot of a training: loss and validation loss by step, and reward margins for preferences."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mothertongue.evaluation.systems import BY_NAME

# Window of the running mean, as a share of the steps.
_WINDOW = 0.05


def plot(training: Mapping[str, Any], name: str, path: Path) -> None:
    """Draw the measurements in training.json (key `training`) as SVG; the same numbers give the same bytes."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {
        "svg.hashsalt": "mothertongue",
        "svg.fonttype": "none",
        "text.parse_math": False,
        "font.size": 10,
    }
    import matplotlib.pyplot as plt

    margins = training["margins"]
    figure, axes = plt.subplots(1, 2 if margins else 1, figsize=(9 if margins else 6, 3.4), layout="constrained")
    axes = axes if margins else [axes]
    steps = range(1, training["steps"] + 1)
    unit = "nats a token" if not margins else "nats"
    _curve(axes[0], steps, training["losses"], BY_NAME["adapter"].colour, "training")
    if training["validation"]:
        at, losses = zip(*training["validation"], strict=True)
        axes[0].plot(at, losses, "o--", color="black", markersize=4, linewidth=1, label="validation")
    if training["best_step"]:
        axes[0].axvline(training["best_step"], color="black", linewidth=0.8, linestyle=":", label="weights kept")
    axes[0].set(xlabel="step", ylabel=f"loss, {unit}", title=f"{name}: loss in {training['steps']:,} steps")
    if margins:
        _curve(axes[1], steps, margins, "#8b5a1f", "training")
        axes[1].set(xlabel="step", ylabel="chosen - rejected", title="Reward margin")
    for part in axes:
        part.xaxis.get_major_locator().set_params(integer=True)
        part.legend(frameon=False)
        part.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Return the mean of each value and up to `window` - 1 values before it."""
    return [sum(values[max(0, at - window) : at]) / min(at, window) for at in range(1, len(values) + 1)]


def _curve(axes: Any, steps: Sequence[int], values: Sequence[float], colour: str, label: str) -> None:
    window = max(1, round(_WINDOW * len(values)))
    axes.plot(steps, values, color=colour, alpha=0.3 if window > 1 else 1, linewidth=1, label=label)
    if window > 1:
        axes.plot(steps, running_mean(values, window), color=colour, label=f"mean of {window} steps")
