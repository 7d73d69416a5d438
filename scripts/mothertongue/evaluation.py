"""Evaluation: does the adapter speak the language, beside the base model with and without a system prompt?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mothertongue import causal
from mothertongue.errors import UserError
from mothertongue.language_id import speaks
from mothertongue.progress import Progress
from mothertongue.prompts import Template, encode

# The sides that answer the held-out prompts: the name, whether the adapter is on, whether the system prompt is given.
SIDES = (
    ("base", False, False),
    ("base_system_prompt", False, True),
    ("adapter", True, False),
    ("adapter_system_prompt", True, True),
)


@dataclass(frozen=True)
class Answer:
    """One answer of one side to one prompt."""

    side: str
    prompt: str
    answer: str
    in_language: bool | None
    ended: bool


def judge(side: str, prompts: Sequence[str], answers: Sequence[tuple[str, bool]], lang: str) -> list[Answer]:
    """Judge the answers of one side; each comes with whether the model ended it by itself."""
    return [
        Answer(side, prompt, answer, speaks(answer, lang), ended)
        for prompt, (answer, ended) in zip(prompts, answers, strict=True)
    ]


def language_shares(answers: Sequence[Answer]) -> dict[str, dict[str, float | None]]:
    """By side: answers, how many are in the language and how many ended by themselves, and both as shares.

    None where the language identifier does not know the language.
    """
    shares: dict[str, dict[str, float | None]] = {}
    for side in dict.fromkeys(answer.side for answer in answers):
        own = [answer for answer in answers if answer.side == side]
        judged = [answer.in_language for answer in own if answer.in_language is not None]
        passed, ended = sum(judged) if judged else None, sum(answer.ended for answer in own)
        shares[side] = {
            "answers": len(own),
            "in_language": passed,
            "in_language_share": None if passed is None else round(passed / len(own), 4),
            "ended": ended,
            "ended_share": round(ended / len(own), 4),
        }
    return shares


def questions(file: Path | None, threads: Sequence[Mapping[str, Any]], count: int) -> list[str]:
    """The held-out prompts: the lines of a file, else the first questions of the validation threads.

    Raises UserError where there is none.
    """
    if file is not None:
        found = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    else:
        found = [next(m["content"] for m in thread["messages"] if m["role"] == "user") for thread in threads]
    found = [question for question in found if question.strip()][:count]
    if not found:
        raise UserError("no prompts to evaluate on: the validation threads have none; raise source.validation")
    return found


def held_out(model: Any, tokenizer: Any, template: Template, threads: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Bits per byte of the assistant's words (end of turn included) in threads, for base and adapter.

    None for both where there are no threads. Threads longer than the model's window are cut to it, bytes in proportion.
    """
    window = causal.window(model)
    nats, size = {"base": 0.0, "adapter": 0.0}, 0.0
    progress = Progress("evaluate", len(threads), "held-out threads")
    for thread in threads:
        whole = encode(thread["messages"], template, tokenizer)
        encoded = whole.cut(window) if window else whole
        size += assistant_bytes(thread) * encoded.targets / whole.targets
        for side in nats:
            with causal.adapter_on(model, side == "adapter"):
                nats[side] += causal.negative_log_likelihood(model, encoded.input_ids, encoded.labels)
        progress.advance()
    measured = {side: round(bits_per_byte(sum_, size), 4) if size else None for side, sum_ in nats.items()}
    return measured | {"threads": len(threads), "bytes": round(size)}


def summary(metrics: Mapping[str, Any]) -> list[str]:
    """The numbers as lines for people."""
    losses = metrics["bits_per_byte"]
    lines = [
        f"bits per byte on {losses['threads']} held-out threads: base {losses['base']}, adapter {losses['adapter']}"
    ]
    for side, share in metrics["language"].items():
        name = side.replace("_system_prompt", " with system prompt")
        lines.append(f"answers in the language, {name}: {_of(share)}")
    return lines


def _of(share: Mapping[str, Any]) -> str:
    return "not measurable" if share["in_language"] is None else f"{share['in_language']} of {share['answers']}"


def bits_per_byte(nats: float, size: int) -> float:
    """Bits per UTF-8 byte from a summed negative log-likelihood: comparable across tokenizers."""
    return nats / math.log(2) / size


def assistant_bytes(thread: Mapping[str, Any]) -> int:
    """The UTF-8 bytes of a thread's assistant messages."""
    return sum(len(m["content"].encode()) for m in thread["messages"] if m["role"] == "assistant")


def plot(metrics: Mapping[str, Any], name: str, path: Path) -> None:
    """Draw the evaluation: answers in the language by side, and bits per byte of base and adapter."""
    import matplotlib

    matplotlib.use("svg")
    # Fixed identifiers and no date: the same numbers give the same bytes.
    matplotlib.rcParams |= {"svg.hashsalt": "mothertongue", "svg.fonttype": "none", "font.size": 10}
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(2, 1), layout="constrained")
    shares = metrics["language"]
    labels = [side.replace("_system_prompt", "\n+ system prompt") for side in shares]
    values = [100 * (share["in_language_share"] or 0) for share in shares.values()]
    notes = [_of(share) for share in shares.values()]
    colours = ["#b8b8b8" if side.startswith("base") else "#1f6f8b" for side in shares]
    bars = left.bar(labels, values, color=colours, width=0.6)
    left.bar_label(bars, notes, padding=2)
    left.set(ylim=(0, 112), ylabel="%", title=f"Answers in {name}")
    losses = metrics["bits_per_byte"]
    bars = right.bar(
        ["base", "adapter"], [losses["base"] or 0, losses["adapter"] or 0], color=["#b8b8b8", "#1f6f8b"], width=0.6
    )
    right.bar_label(bars, fmt="%.3f", padding=2)
    right.set(ylim=(0, 1.15 * (losses["base"] or 1)), title="Bits per byte, held-out replies")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
