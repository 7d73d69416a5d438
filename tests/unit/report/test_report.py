"""Tests of the report and the table of all adapters, on runs with known numbers."""

import argparse
import base64
import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_runs import SVG, TRAINING, judge, measured, metrics, report, write_run
from running import program

from mothertongue.common.atomic_files import write_jsonl
from mothertongue.common.languages import direction
from mothertongue.evaluation.estimate import NOT_MEASURED, find
from mothertongue.formats import training_record
from mothertongue.report import adapter_page, run_costs, sankey, terminal, used_messages
from mothertongue.workflow import configuration


class Texts(HTMLParser):
    """Parser that collects the words of a page by section."""

    def __init__(self, page):
        super().__init__()
        self.section, self.words = "header", {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "section":
            self.section = dict(attributes)["id"]

    def handle_data(self, text):
        self.words[self.section] = " ".join([self.words.get(self.section, ""), *text.split()]).strip()


def texts(page):
    return Texts(page).words


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_run(folder, "pt")
    return folder


@pytest.fixture(scope="module")
def page(results):
    return report(results, "pt", results / "pt/report.html")


def test_the_headline_has_the_three_numbers(page):
    said = texts(page)["header"]
    assert "Answers in Portuguese +39 points adapter − base model, on the same prompts; 95% interval" in said
    assert "Adapter 69% (" in said and "on 12 held-out prompts written in the language" in said
    assert "Bits per byte of Portuguese -0.170 adapter − base model, on the same threads; 95% interval" in said
    assert "Messages that came through 64 of 77" in said and "1 flagged, 3 failed, 9 excluded" in said


def test_too_few_native_prompts_or_threads_are_not_used_in_the_headline():
    def bits(native, translated):
        kinds = {"native": native, "translated": translated}
        found = {kind: {"value": 1.5, "low": None, "high": None, "n": n} if n else None for kind, n in kinds.items()}
        return {"bits_per_byte": {"adapter": found}, "answers": {"adapter": {"native": {"ended": found["native"]}}}}

    assert [adapter_page.main_text(bits(*ns)) for ns in ((10, 9), (9, 3), (1, 0), (0, 5))] == [
        "native",
        "translated",
        "native",
        "translated",
    ]
    assert [adapter_page.main_kind(bits(n, 9)) for n in (10, 9, 0)] == ["native", "all", "all"]
    assert adapter_page.main_kind(None) == "all"


def test_the_report_names_data_models_and_settings(page):
    said = texts(page)["made-of"]
    for part in ("owner/data sha256:0123abcd", "owner/en-xx, revision 1a2b3c ; 51 messages", "owner/ru-en", "6 messages",
                 "owner/base, revision abc", "tuning.lora.rank 16", "sha256:3b95", "sha256:feed", "LoRA of rank 16, SFT, 3 steps"):  # fmt: skip
        assert part in said, part


def test_the_report_says_what_training_read(page):
    for section in ("made-of", "messages"):
        assert "1.6 epochs of 20 threads, 1 cut threads" in texts(page)[section]


def test_the_flow_of_messages_adds_up_in_diagram_and_table(page):
    said = texts(page)["messages"]
    labels = re.findall(r'<tspan class="count">([\d,]+)</tspan><tspan[^>]*>([^<]+)<', page)
    assert [(int(count), label) for count, label in labels] == [
        (77, "messages"), (12, "native"), (47, "direct"), (6, "through English"), (3, "no route"), (9, "excluded"),
        (12, "native"), (50, "translated"), (2, "copied"), (1, "flagged"), (3, "failed"),
        (67, "in the dataset"), (1, "left out"),
        (44, "in 20 training threads"), (4, "in 2 validation threads"), (19, "not used"),
    ]  # fmt: skip
    assert (
        "English 47 0 0 47 0 0 44 2 1 0 46" in said
        and "French 9 9" in said
        and "all 77 9 12 47 6 3 50 2 1 3 67" in said
    )


def test_the_bands_of_the_flow_diagram_contain_every_message():
    total = {"messages": 5, "excluded": 1, "status": {"translated": 3, "flagged": 1}, "out": 3}
    routed = {("direct", "translated"): 3, ("direct", "flagged"): 1}
    flow = sankey.make({"total": total}, routed, {"in 1 training thread": 2})
    for node in flow.nodes:
        into = sum(count for (_, end), count in flow.links.items() if end == node.name)
        out = sum(count for (start, _), count in flow.links.items() if start == node.name)
        assert into in (0, flow.count(node)) and out in (0, flow.count(node)), node
    assert flow.links["status flagged", "dropped"] == 1 and flow.links["dataset", "unused"] == 1
    assert sankey.svg(sankey.make({"total": total | {"excluded": 0, "status": {}, "out": 0}}, {}, {}), "") == ""


def test_of_mixed_threads_those_of_the_mix_are_used(tmp_path):
    rows = [("a", "pt", ["m1", "m2"]), ("a#2", "pt", ["m1", "m2"]), ("b", "pt", ["m3", "m4"]), ("b@en", "en", ["m5"])]
    write_jsonl(
        tmp_path / "mix.jsonl",
        (
            {"thread_id": name, "lang": lang, "messages": [{"message_id": None}, *({"message_id": id_} for id_ in ids)]}
            for name, lang, ids in rows
        ),
    )
    used = {"in 9 training threads": 30, "in 2 validation threads": 4}
    assert used_messages.in_mix(used, tmp_path / "mix.jsonl", "pt") == {
        "in 2 training threads of the mix": 4,
        "in 2 validation threads": 4,
    }


def test_messages_in_pairs_are_used_and_counted_once(tmp_path):
    """A DPO adapter has learned from the threads of its SFT stage too; messages in both are in the threads."""

    def turns(*names):
        return [{"role": "user", "content": "x", "message_id": name} for name in names]

    write_jsonl(tmp_path / "threads.jsonl", [{"messages": [{"role": "system", "content": "s"}, *turns("a", "b")]}])
    write_jsonl(tmp_path / "train.jsonl", [{"message_ids": ["a", "b", "c"]}])
    write_jsonl(tmp_path / "validation.jsonl", [{"message_ids": ["d", "e", "c"]}])
    pairs = [tmp_path / "train.jsonl", tmp_path / "validation.jsonl"]
    assert used_messages.in_pairs(pairs, []) == {"in 1 training pairs": 3, "in 1 validation pairs": 2}
    both = used_messages.in_pairs(pairs, [tmp_path / "threads.jsonl"])
    assert both == {"only in 1 training pairs": 1, "only in 1 validation pairs": 2}
    assert used_messages.in_pairs([], [tmp_path / "nothing"]) == {}


def test_the_page_of_a_variant_has_its_name_and_the_settings_that_acted(tmp_path):
    write_run(tmp_path, "pt")
    path = tmp_path / "pt/adapter/training.json"
    settings = {"method": "dpo", "lora_rank": 16, "learning_rate": 5e-6, "beta": 0.1, "epochs": 2.0, "max_steps": 6}
    data = {"pairs": 25, "tokens": 900, "sha256": "ab"}
    stage = training_record.stage(TRAINING)
    record = TRAINING | {
        "settings": TRAINING["settings"] | settings,
        "data": data,
        "before": stage,
        "dtype": "bfloat16",
    }
    path.write_text(json.dumps(record))
    page = report(tmp_path, "pt", tmp_path / "report.html", "--folder", "variants/careful/dpo/")
    said = texts(page)
    assert "<h1>A chat model tuned to answer in Portuguese: careful, dpo</h1>" in page
    assert "<title>Portuguese adapter careful, dpo: report</title>" in page
    made_of = said["made-of"]
    assert "LoRA, DPO, 3 steps of 4 preference pairs; base model without quantization, computed in bfloat16" in made_of
    assert "from an adapter tuned on 1.6 epochs of 20 threads, 3 steps of 4 sequences" in made_of
    assert "beta 0.1" in made_of and "learning_rate 5e-06" in made_of and "max_steps 6" in made_of
    assert not any(name in made_of for name in ("epochs 2.0", "packing", "lora.dropout"))
    stage["training"]["sequences_a_step"] = None
    path.write_text(json.dumps(record))
    page = report(tmp_path, "pt", tmp_path / "report.html")
    assert "from an adapter tuned on 1.6 epochs of 20 threads, 3 steps</td>" in page


def test_the_report_shows_translation_quality_and_examples(page):
    said = texts(page)["translations"]
    assert "English 47 1 0 repetition 1 100.0%" in said and "Spanish 3 0 3 no route 3 – – –" in said
    assert (
        "good How do I bake a carrot cake" in said and "failed : no route ¿Cómo hago una tarta? no translation" in said
    )


def test_the_evaluation_shows_every_system_with_its_interval(page):
    said = texts(page)["evaluation"]
    assert "base + examples 56% 41–71 56% 41–71 56% 41–71 40% 20–60 12% 7–17 18.3 14.2–22.4" in said
    assert (
        "native (12) translated (12) all (24)" in said
        and "Left out: 2 prompts because the training data holds them, 1 because" in said
    )
    assert "base model 1.750 1.650–1.850" in said and "adapter 1.580 1.480–1.680" in said
    pictures = [
        base64.b64decode(picture).decode() for picture in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)
    ]
    assert sorted(pictures) == sorted(SVG.format(plot) for plot in ("language", "bits_per_byte", "training"))


def judged_page(results, **found):
    write_run(results, "pt")
    votes = {"blind": 9, "wins": 5, "losses": 2, "ties": 1, "both_bad": 1, "open": 3, "other_weights": 4,
             "score": measured(0.667, 0.2, 9), "first_position": measured(0.43, 0.2, 7)}  # fmt: skip
    found = {"votes": votes} | found
    (results / "pt/evaluation/judge.json").write_text(json.dumps(judge("pt", results, **found)), encoding="utf-8")
    usage = {"requests": 412, "input_tokens": 90_000, "output_tokens": 8_000, "price": 1.5}
    (results / "benchmarks/pt/judge.endpoint.json").write_text(json.dumps(usage))
    return report(results, "pt", results / "pt/report.html")


def test_the_report_shows_who_wins_with_the_judges_agreement_and_peoples_votes(tmp_path):
    found = texts(judged_page(tmp_path))
    said = found["judge"]
    won = "71% 61–81 the first wins 50% 40–60 no winner shown 71% 61–81 60% 50–70 14 6 4 1 55% 50–60"
    assert f"adapter vs base model {won}" in said
    assert "vs adapter of careful 71%" in said
    assert all(f"{kind} 72% 62–82 72% 62–82 90 of 90" in said for kind in ("translated decides", "English"))
    assert "adapter vs base model 67% 47–87 too few decided 5 2 2 43% 23–63" in said
    assert "9 blind votes" in said and "3 with the sides’ names shown, 4 on other weights" in said
    assert "The judge got 412 requests: it read 90,000 tokens" in found["costs"] and "for 1.50 by" in found["costs"]
    lines = terminal.who_wins(json.loads((tmp_path / "pt/evaluation/judge.json").read_text(encoding="utf-8")))
    assert "adapter vs base model: wins 71% (61–81, n 24), ties count half; the first wins" in lines


def test_a_withheld_win_rate_is_shown_nowhere(tmp_path):
    why = "it cannot judge Portuguese: <b>\x1b[31m"
    page = judged_page(tmp_path, withheld=why, votes=None, model="<script>alert(1)</script>")
    said = texts(page)["judge"]
    assert (
        "No win rates by the judge <script>alert(1)</script>: it cannot judge Portuguese: <b>" in said
        and said.count("wins") == 1
    )
    assert "<script>alert" not in page and "<b>" not in page
    assert "agrees with people" in said and "People’s votes" not in said


def test_what_a_judge_found_about_other_answers_is_not_shown(tmp_path):
    judged_page(tmp_path)
    samples = tmp_path / "pt/evaluation/samples.jsonl"
    samples.write_text("\n".join(samples.read_text(encoding="utf-8").splitlines()[1:]) + "\n", encoding="utf-8")
    assert "judge" not in texts(report(tmp_path, "pt", tmp_path / "pt/report.html"))


def test_native_prompts_come_first_with_answers_of_every_system(page):
    said = texts(page)["answers"]
    assert said.index("(native)") < said.index("(translated)")
    assert said.count("base + system prompt") == 2 and said.count("reference") == 2


def test_the_report_shows_time_memory_and_gpu_hours(page):
    said = texts(page)["costs"]
    # Two jobs on two GPUs, of 0.5 and 1.5 hours; the benchmark of the training has no CPU time and memory.
    assert "translate 2 2 h 0 min 3 min 20 s 2 4.00 2.0 GB" in said
    assert "tune 1 1 min 26 s not measured 0 0 not measured" in said
    assert "all 3 2 h 1 min ≥ 3 min 20 s 4.00 ≥ 2.0 GB" in said


def test_licences_that_forbid_commercial_use_are_flagged(page):
    said = texts(page)["licences"]
    assert "No commercial use: owner/en-xx forbids it" in said and "Not stated: owner/base" in said
    assert "owner/en-xx cc-by-nc-4.0 forbidden" in said and "owner/ru-en apache-2.0 not forbidden" in said


def test_the_report_is_reproducible_and_self_contained(results, page, tmp_path):
    assert report(results, "pt", tmp_path / "again.html") == page
    assert not re.search(r"""(src|href)=["'](?!data:|#)|url\((?!#)|@import|<script|<link""", page)


def test_missing_data_is_reported_as_not_measured(tmp_path):
    write_run(tmp_path, "pt", evaluated=False, benchmarks=False)
    (tmp_path / "pt/adapter/training.json").unlink()
    said = texts(report(tmp_path, "pt", tmp_path / "report.html", "--threads"))
    assert said["header"].count(NOT_MEASURED) == 3  # two numbers, and the sentence that explains it
    for section in ("made-of", "messages", "training", "evaluation", "answers", "costs"):
        assert NOT_MEASURED in said[section], section


def test_a_report_without_native_prompts_and_with_an_unidentifiable_language(tmp_path):
    write_run(tmp_path, "pt", native=False, known=False)
    said = texts(report(tmp_path, "pt", tmp_path / "report.html"))
    assert f"Answers in Portuguese {NOT_MEASURED} lid.176, by which answers are judged, does not know" in said["header"]
    assert "Bits per byte of Portuguese -0.230 No difference shown: adapter − base model" in said["header"]
    assert "native (" not in said["evaluation"].split("Held-out text")[0].split("sense.")[1]
    assert f"base model {NOT_MEASURED} {NOT_MEASURED} 40% 20–60" in said["evaluation"]


def test_a_missing_file_is_named_in_one_line(tmp_path):
    write_run(tmp_path, "pt")
    (tmp_path / "pt/dataset/quality.json").unlink()
    with pytest.raises(AssertionError, match=r"report.py: error: .*quality.json: no such file"):
        report(tmp_path, "pt", tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_table_lists_all_adapters_with_their_numbers(results, tmp_path):
    write_run(results, "ar", known=False)
    folders = [results / "pt", results / "ar"]
    output = results / "summary.html"
    program(
        "summary",
        "--metrics",
        *(own / "evaluation/metrics.json" for own in folders),
        "--results",
        results,
        "--output",
        output,
    )
    page = output.read_text(encoding="utf-8")
    said = " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL).split())
    of = "SFT on 1.6 epochs of 20 threads owner/base, in bfloat16"
    numbers = "-0.170 -0.220 to -0.120 17 native threads 1.580 1.480–1.680 1.750 1.650–1.850"
    shares = "+39 points +19 to +59 24 prompts 30% 15–45 43% 28–58 69% 54–84"
    assert f"Portuguese {of} {numbers} {shares}" in said
    assert f"Arabic {of} {numbers} {' '.join([NOT_MEASURED] * 4)}" in said and "more than one precision" not in said
    assert re.findall(r'href="([^"]+)"', page) == ["pt/report.html"] * (results / "pt/report.html").is_file()
    with pytest.raises(AssertionError, match="give the results folder it is in"):
        program("summary", "--metrics", output, "--results", tmp_path, "--output", tmp_path / "summary.html")


def test_what_computed_the_answers_is_said(tmp_path):
    """`quantization` and `batch_size` are those of transformers, also where a server gave the answers."""
    for lang, settings in (("pt", {"engine": "llama_cpp", "gguf": "q4_k_m.gguf", "batch_size": None}), ("ar", {})):
        write_run(tmp_path, lang)
        path = tmp_path / lang / "evaluation/metrics.json"
        measured = json.loads(path.read_text())
        measured["settings"] |= {"engine": "transformers", "gguf": None, "batch_size": 32} | settings
        path.write_text(json.dumps(measured))
    said = {lang: texts(report(tmp_path, lang, tmp_path / f"{lang}.html"))["evaluation"] for lang in ("pt", "ar")}
    assert "at most 100 tokens, by the engine llama_cpp from q4_k_m.gguf)" in said["pt"]
    assert "at most 100 tokens, in batches of 32, on which answers in bfloat16 depend)" in said["ar"]
    metrics_files = [tmp_path / lang / "evaluation/metrics.json" for lang in ("pt", "ar")]
    program("summary", "--metrics", *metrics_files, "--results", tmp_path, "--output", tmp_path / "summary.html")
    page = (tmp_path / "summary.html").read_text(encoding="utf-8")
    assert "in bfloat16, answers by llama_cpp from q4_k_m.gguf" in page and "by more than one engine" in page


def test_adapters_of_earlier_versions_are_in_the_table(tmp_path):
    write_run(tmp_path, "pt")
    write_run(tmp_path, "ar")
    (tmp_path / "ar/adapter/training.json").write_text('{"base_model": {"reference": "a/b"}, "settings": {}}')
    metrics_files = [tmp_path / lang / "evaluation/metrics.json" for lang in ("pt", "ar")]
    old = json.loads(metrics_files[1].read_text())
    del old["settings"], old["differences"]
    metrics_files[1].write_text(json.dumps(old))
    program("summary", "--metrics", *metrics_files, "--results", tmp_path, "--output", tmp_path / "summary.html")
    page = (tmp_path / "summary.html").read_text(encoding="utf-8")
    assert f"base model {NOT_MEASURED}, in {NOT_MEASURED}" in page and "more than one precision" not in page


def test_numbers_in_the_old_format_are_ignored():
    assert find({"bits_per_byte": {"base": 1.7}}, "bits_per_byte", "base", "native") is None
    assert find(metrics("pt"), "answers", "base", "all", "chrf").number(1) == "18.3 (14.2–22.4)"
    assert find({"a": {"value": 0.5}}, "a").share() == "50%"


def test_a_partly_written_benchmark_has_no_jobs(tmp_path):
    file = tmp_path / "benchmarks/pt/dataset.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text('{"s": 3.0, "cpu_')
    steps = {step.rule: step for step in run_costs.read(tmp_path, "pt", "", [], [], [])}
    assert steps["combine"].jobs == () and steps["combine"].seconds is None


def test_the_costs_include_only_the_adapters_of_the_run(tmp_path):
    write_run(tmp_path, "pt")
    (tmp_path / "benchmarks/pt/variants/dpo").mkdir(parents=True)
    for name in ("variants/dpo/adapter", "variants/other", "sft/adapter"):
        path = tmp_path / f"benchmarks/pt/{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"s": 10.0}\n')
    adapters = [tmp_path / "pt/adapter", tmp_path / "pt/variants/dpo/adapter", tmp_path.parent / "elsewhere"]
    steps = {step.rule: step for step in run_costs.read(tmp_path, "pt", "variants/dpo/", [], adapters, [])}
    assert [job.seconds for job in steps["tune"].jobs] == [86.0, 10.0]


@pytest.mark.parametrize("origin", ["", "mine/"])
def test_every_step_reads_the_benchmarks_of_its_rule(tmp_path, origin):
    """Write one benchmark file for each rule, with its wildcards filled in: each step has the job of its rule."""
    filled = {
        "results": str(tmp_path),
        "lang": "pt",
        "variant": "",
        "stage": "",
        "origin": origin,
        "source": "en",
        "shard": "0",
        "split": "train",
    }
    found = {}
    for file in Path("rules").glob("*.smk"):
        rules = re.split(r"^(?:rule|checkpoint) (\w+):$", file.read_text(), flags=re.MULTILINE)[1:]
        for name, body in zip(rules[::2], rules[1::2], strict=True):
            if pattern := re.search(r'benchmark:\s+"(.+)"', body):
                path = Path(re.sub(r"{(\w+)}", lambda wildcard: filled.get(wildcard[1], "a-model"), pattern[1]))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"s": len(found)}) + "\n")
                found[name] = len(found)
    models = [tmp_path / f"models/{kind}/a-model" for kind in ("translation", "base")]
    steps = run_costs.read(tmp_path, "pt", "", models, [tmp_path / "pt/adapter"], ["en"])
    assert {step.rule: [job.seconds for job in step.jobs] for step in steps} == {
        step.rule: [found[step.rule]] for step in steps
    }
    later = {"report", "summary", "publish", "merge"}
    assert later <= found.keys() - {step.rule for step in steps}
    assert len(steps) == 17


def test_what_endpoints_were_asked_is_told_apart(tmp_path):
    for path, requests in (("pt/translated/en/0", 3), ("pt/answered/en/0", 5), ("pt/answered/en/1", 6)):
        file = tmp_path / f"benchmarks/{path}.endpoint.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"requests": requests, "input_tokens": 1, "output_tokens": 2, "price": 0.5}))
    found = [(one.did, one.requests, one.price) for one in run_costs.asked(tmp_path, "pt")]
    assert found == [("translated", 3, 0.5), ("answered", 11, 1.0)] and run_costs.asked(tmp_path, "nl") == []


def test_text_without_spaces_is_counted_in_letters(tmp_path):
    write_run(tmp_path, "ja")
    said = texts(report(tmp_path, "ja", tmp_path / "report.html"))["evaluation"]
    assert "every line of five letters or more" in said and "sequences of four letters" in said


def test_the_terminal_shows_the_size_of_the_training_data():
    assert terminal.training(TRAINING).startswith("Training: 1.6 epochs of 20 threads, 3 steps, loss 3.70 -> 2.50, ")
    assert "Training: 7 preference pairs," in terminal.training(TRAINING | {"data": {"pairs": 7}})


@pytest.mark.parametrize("question", ["E o quê?", "it's $(id)", "--seed 1", "-x"])
def test_the_chat_commands_are_quoted_correctly(question):
    folder = Path("results/a b;$(id)")
    commands = terminal.next_steps(folder, [{"prompt": question}]).splitlines()[1:]
    plain, asked = (shlex.split(line)[2:] for line in commands)
    parser = argparse.ArgumentParser()
    parser.add_argument("prompt", nargs="?")
    parser.add_argument("--adapter", type=Path)
    assert parser.parse_args(plain).adapter == parser.parse_args(asked).adapter == folder / "adapter"
    assert parser.parse_args(asked).prompt == question


def test_changed_settings_are_listed_by_dotted_keys():
    defaults = {"a": {"b": 1, "c": {"d": 2}}, "variants": {}, "e": [1]}
    config = {"a": {"b": 1, "c": {"d": 3}}, "variants": {"x": {"y": 1}}, "e": [1]}
    assert configuration.differences(config, defaults) == {"a.c.d": 3, "variants": {"x": {"y": 1}}}


def test_languages_have_the_right_direction_of_writing():
    assert [direction(code) for code in ("ar", "he", "fa", "ur", "ps", "pt", "ja")] == ["rtl"] * 5 + ["ltr"] * 2
