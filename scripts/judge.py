"""Let a judge compare the answers of an evaluation's systems in pairs, and tell whether it can judge the language.

The judge is a chat model behind OpenAI's interface. It first compares replies that people ranked, in the language and
in English. Where it agrees with people more than chance would, it compares the systems; else their win rates are
withheld, and nothing more is asked. Each pair is shown in both orders. Write judge.json, with intervals.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from mothertongue.common import gpus, settings
from mothertongue.common.atomic_files import read_jsonl, sha256, write_json
from mothertongue.common.errors import UserError, run
from mothertongue.common.progress import log
from mothertongue.endpoints.settings import EndpointSettings, add_arguments
from mothertongue.evaluation import agreement, judge_prompt, judged, people
from mothertongue.evaluation.bootstrap import Bootstrap
from mothertongue.evaluation.comparisons import Comparison, Judge, Judgement, by_length, figures
from mothertongue.evaluation.held_out import ENGLISH, KINDS
from mothertongue.evaluation.judge_settings import PAIRS, JudgeSettings
from mothertongue.evaluation.judged_systems import Pair, pairs
from mothertongue.formats.messages import TRANSLATED, read
from mothertongue.formats.votes import read_votes
from mothertongue.model_folders.reading import ADAPTER_WEIGHTS
from mothertongue.models.endpoint import connect, finish
from mothertongue.models.record import read_record


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, required=True, help="samples.jsonl that scripts/evaluate.py wrote")
    parser.add_argument(
        "--against", action="append", default=[], metavar="NAME=FILE", help="a variant and its samples.jsonl: its "
        "adapter's answers are compared with the adapter's",
    )  # fmt: skip
    parser.add_argument(
        "--dataset", type=Path, action="append", required=True,
        help="a split that scripts/combine.py wrote, with people's ranks; give it for each split",
    )  # fmt: skip
    parser.add_argument("--target", required=True, help="code of the target language")
    parser.add_argument("--name", required=True, help="English name of the target language, which the judge is told")
    parser.add_argument(
        "--model", type=Path, required=True, help="folder that scripts/describe_endpoint.py wrote; with "
        "--endpoint-serve, scripts/fetch_served_model.py",
    )  # fmt: skip
    parser.add_argument("--votes", type=Path, help="votes of people that scripts/serve.py wrote, to show beside")
    parser.add_argument("--adapter", type=Path, help="adapter folder, to know the votes that are about it")
    settings.add_arguments(parser, JudgeSettings)
    add_arguments(parser)
    parser.add_argument("--workers", type=int, default=1, help="threads of a server on the CPU (default: %(default)s)")
    gpus.add_argument(parser)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    if arguments.votes and not arguments.adapter:
        parser.error("--votes: give --adapter, too")
    arguments.pairs = arguments.pairs or PAIRS
    return arguments


def main() -> None:
    arguments = parse_arguments()
    given = settings.from_arguments(JudgeSettings, arguments)
    endpoint = settings.from_arguments(EndpointSettings, arguments)
    samples, others = read_samples(arguments.samples), read_others(arguments.against)
    dataset = pa.concat_tables(read(path, TRANSLATED) for path in arguments.dataset)
    votes = read_votes(arguments.votes) if arguments.votes else []
    gpus.claim(arguments.gpus)
    record, bootstrap = read_record(arguments.model), Bootstrap(seed=given.seed)
    client = connect(endpoint, arguments.model, arguments.answers, arguments.workers)
    judge = Judge(client, given.max_tokens, endpoint.endpoint_window)
    compared = pairs(samples, given.pairs, others, given.prompts, given.seed)

    ranked = agreement.ranked_pairs(dataset, arguments.target)
    group = agreement.deciding(ranked)
    found = {kind: len(some) for kind, some in ranked.items()}
    log(f"judge: pairs of replies that people ranked: {', '.join(f'{n:,} {kind}' for kind, n in found.items())}")
    try:
        groups: dict[str, Any] = {}
        beside = {} if arguments.target == "en" else {ENGLISH: "English"}
        for kind, language in ({group: arguments.name} | beside).items() if group else ():
            if found[kind]:
                drawn = agreement.draw(ranked[kind], given.human_pairs, given.seed)
                verdicts = judge.compare(f"{kind} replies", drawn, language)
                groups[kind] = {"found": found[kind], "figures": summed(verdicts, drawn, bootstrap)}
        withheld = agreement.objection(group, found, groups[group]["figures"] if group else {}, arguments.name)
        who_wins = None if withheld else [decide(judge, pair, arguments.name, bootstrap) for pair in compared]
    finally:
        finish(client, "judge", arguments.usage)
    result = {
        "lang": arguments.target,
        "samples": sha256(arguments.samples),
        "judge": {
            "model": client.model,
            "licence": record["licence"],
            "prompt_version": judge_prompt.VERSION,
            "prompt": {
                "system": judge_prompt.SYSTEM,
                "question": judge_prompt.QUESTION,
                "reminder": judge_prompt.REMINDER,
            },
            "body": endpoint.endpoint_body,
            "window": endpoint.endpoint_window,
        },
        "agreement": {"deciding": group, "can_judge": withheld is None, "found": found, "groups": groups},
        "withheld": withheld,
        "pairs": who_wins,
        "votes": people.figures(votes, weights_of(arguments.adapter), bootstrap) if votes else None,
        "settings": asdict(given) | asdict(bootstrap),
    }
    write_json(arguments.output, result)
    for line in judged.lines(result):
        log(f"judge: {line}")


def read_samples(path: Path) -> list[dict[str, Any]]:
    """Read the answers of an evaluation."""
    return read_jsonl(path, side=str, kind=str, prompt=str, answer=str)


def read_others(named: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Read the answers of other variants by their names. Raise UserError where one has no name."""
    found = {}
    for text in named:
        name, equals, path = text.partition("=")
        if not name or not equals:
            raise UserError(f"--against={text}: expected NAME=FILE")
        found[name] = read_samples(Path(path))
    return found


def weights_of(adapter: Path) -> str:
    """Return the SHA-256 of an adapter's weights, by which votes name it. Raise UserError where it has none."""
    if not (adapter / ADAPTER_WEIGHTS).is_file():
        raise UserError(f"{adapter}: no {ADAPTER_WEIGHTS} in it; name the folder of an adapter")
    return sha256(adapter / ADAPTER_WEIGHTS)


def summed(verdicts: Sequence[Judgement], compared: Sequence[Comparison], bootstrap: Bootstrap) -> dict[str, Any]:
    """Return the figures of a judge's verdicts, and what the length of the answers has to do with them."""
    groups = [one.group for one in compared]
    return figures(verdicts, groups, bootstrap) | by_length(verdicts, compared, bootstrap)


def decide(judge: Judge, pair: Pair, name: str, bootstrap: Bootstrap) -> dict[str, Any]:
    """Return who wins between two systems, on all prompts and on each kind."""
    verdicts = judge.compare(f"{pair.first} vs {pair.second}", pair.comparisons, name)
    rows = list(zip(verdicts, pair.comparisons, pair.kinds, strict=True))
    by_kind = {
        kind: summed(
            [one for one, _, own in rows if own == kind], [one for _, one, own in rows if own == kind], bootstrap
        )
        for kind in KINDS
        if kind in pair.kinds
    }
    whole = summed(verdicts, pair.comparisons, bootstrap)
    return {
        "first": pair.first,
        "second": pair.second,
        "variant": pair.variant,
        "figures": whole | {"by_kind": by_kind},
    }


if __name__ == "__main__":
    run(main)
