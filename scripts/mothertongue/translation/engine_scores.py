"""The quality of translations against references, with intervals, and whether one engine is better than another.

BLEU (Papineni et al., 2002) and chrF (Popović, 2015) by sacrebleu (Post, 2018, "A Call for Clarity in Reporting BLEU
Scores"), whose signatures record their parameters. Intervals and p-values are those of its paired bootstrap test, in
which lines are resampled, the same for all (Koehn, 2004, "Statistical Significance Tests for Machine Translation
Evaluation").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mothertongue.common.languages import UNSPACED

# sacrebleu's tokenizers without further dependencies; 13a is its default.
_BLEU_TOKENIZERS = {"zh": "zh", "zh-Hant": "zh"} | dict.fromkeys(UNSPACED - {"zh", "zh-Hant"}, "char")


@dataclass(frozen=True)
class Score:
    """A metric of a system, 0 to 100, and half of its 95% interval.

    `p_value` is the probability of so large a difference to the first system where there is none; None for the first,
    and for a single line.
    """

    value: float
    interval: float
    p_value: float | None


def scores(systems: Sequence[Sequence[str]], references: Sequence[str], target: str) -> list[dict[str, Score]]:
    """Return BLEU and chrF (keys `bleu` and `chrf`) of each system's translations; the first is the baseline."""
    from sacrebleu.significance import PairedTest

    if not systems:
        return []
    metrics = dict(zip(("bleu", "chrf"), _metrics(target), strict=True))
    named = [(str(number), lines) for number, lines in enumerate(systems)]
    _, found = PairedTest(named, metrics, [references], test_type="bs")()
    # sacrebleu names its columns itself, in the order of the metrics.
    of = dict(zip(("bleu", "chrf"), (column for name, column in found.items() if name != "System"), strict=True))
    several = len(references) > 1
    return [
        {name: _score(results[number], results[0] if several else None) for name, results in of.items()}
        for number in range(len(systems))
    ]


def _score(result: Any, first: Any) -> Score:
    """Return a result as a score; without `first`, and for the first, without a p-value.

    sacrebleu's test gives the smallest p-value where both scores are the same.
    """
    p_value = None if result.p_value is None or first is None else round(float(result.p_value), 4)
    if p_value is not None and float(result.score) == float(first.score):
        p_value = 1.0
    return Score(round(float(result.score), 2), round(float(result.ci), 2), p_value)


def signatures(target: str) -> dict[str, str]:
    """Return sacrebleu's signatures of BLEU and chrF for a target language."""
    found = {}
    for name, metric in zip(("BLEU", "chrF"), _metrics(target), strict=True):
        metric.corpus_score(["."], [["."]])  # a metric learns its number of references at first use
        found[name] = metric.get_signature().format()
    return found


def _metrics(target: str) -> tuple[Any, Any]:
    from sacrebleu.metrics import BLEU, CHRF

    return BLEU(tokenize=_BLEU_TOKENIZERS.get(target, "13a")), CHRF()
