"""The summary of a finished build, for the terminal."""

import shlex
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mothertongue.evaluation import judged, summary
from mothertongue.formats.training_record import data_of

_WIDTH = 100


def messages(accounting: Mapping[str, Any]) -> str:
    """Return the messages in and out, by status."""
    total = accounting["total"]
    counts = [(status, count) for status, count in total["status"].items() if count]
    because = {
        "language": "excluded: not in source.languages",
        "scope": "excluded: no thread uses them",
        "duplicate": "excluded: near-duplicates",
    }
    counts += [(because[reason], count) for reason, count in total["excluded_because"].items() if count]
    lines = [f"  {count:>7,} {status}" for status, count in counts]
    return "\n".join([f"Messages: {total['messages']:,} in, {total['out']:,} in the dataset", *lines])


def quality(report: Mapping[str, Any]) -> str:
    """Return the checks' objections to translations, and the share of translations in the target language."""
    total = report["total"]
    lines = [f"  {entry['messages']:>7,} {reason}" for reason, entry in total["reasons"].items()]
    if total["cured"]:
        cured = ", ".join(f"{reason} {entry['messages']:,}" for reason, entry in total["cured"].items())
        lines.append(f"  removed by a second try: {cured}")
    if total["notes"]:
        notes = ", ".join(f"{reason} {entry['messages']:,}" for reason, entry in total["notes"].items())
        lines.append(f"  notes: {notes}")
    if total["language"] and total["language"]["judged"]:
        share, judged = total["language"]["in_target_share"], total["language"]["judged"]
        lines.append(f"  {share:.1%} of the {judged:,} translations long enough to judge are in '{report['lang']}'")
    return "\n".join(["Objections to translations, by the messages that have them", *(lines or ["  none"])])


def before_and_after(rows: Iterable[Mapping[str, Any]], count: int = 2) -> str:
    """Return the first translated messages of moderate length, with their sources."""
    fitting = (row for row in rows if row["status"] == "translated" and 60 <= len(row["source_text"]) <= 400)
    shown = list(islice(fitting, count))
    blocks = [f"{_paragraph(row['source_text'], '  - ')}\n{_paragraph(row['text'], '  + ')}" for row in shown]
    return "\n".join(["Before (-) and after (+)", *blocks])


def training(record: Mapping[str, Any]) -> str:
    """Return the losses and speed of the training."""
    measured = record["training"]
    return (
        f"Training: {data_of(record)}, {measured['steps']} steps, loss {measured['losses'][0]:.2f} -> "
        f"{measured['losses'][-1]:.2f}, {measured['tokens_per_second']:,.0f} tokens/s, {measured['seconds']:.0f} s"
    )


def evaluation(found: Mapping[str, Any]) -> str:
    """Return the metrics of the evaluation."""
    return "\n".join(["Evaluation, with 95% intervals", *(f"  {line}" for line in summary.lines(found))])


def who_wins(found: Mapping[str, Any]) -> str:
    """Return what a judge found."""
    return "\n".join(["Who wins, by a judge", *(f"  {line}" for line in judged.lines(found))])


def answers(samples: Sequence[Mapping[str, Any]], sides: Sequence[str] = ("base", "adapter")) -> str:
    """Return the answers of base model and adapter to the first prompt."""
    prompt = samples[0]["prompt"]
    lines = [f"Asked: {prompt}"]
    for side in sides:
        answer = next(sample["answer"] for sample in samples if sample["side"] == side and sample["prompt"] == prompt)
        lines.append(_paragraph(answer, f"  {side}: "))
    return "\n".join(lines)


def next_steps(folder: Path, samples: Sequence[Mapping[str, Any]]) -> str:
    """Return the path of the report, and the commands to chat."""
    report = folder / "report.html"
    lines = [f"Everything on one page, for a browser:\n  {report}\n"] if report.is_file() else []
    question = samples[0]["prompt"]
    chat = shlex.join([".venv/bin/python", "scripts/chat.py", "--adapter", str(folder / "adapter")])
    # After two dashes, a question that begins with a hyphen is not parsed as an option.
    asked = shlex.join(["--", question] if question.startswith("-") else [question])
    return "\n".join([*lines, f"Chat with it:\n  {chat}\n  {chat} {asked}"])


def _paragraph(text: str, label: str) -> str:
    short = textwrap.shorten(text, 300, placeholder=" …")
    return textwrap.fill(short, _WIDTH, initial_indent=label, subsequent_indent=" " * len(label)) or label
