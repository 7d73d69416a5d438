"""Tests of the report pages with the real Snakemake: their jobs, what makes them stale, and Snakemake's own report."""

import html
import json
import re

import pytest

REPORT = "results/demo/pt/report.html"
SUMMARY = "results/demo/summary.html"


@pytest.fixture(scope="module")
def reported(built):
    """Return the project with the report of its adapter, and the run that built the report."""
    return built, built.build(REPORT)


def test_requesting_the_report_runs_the_whole_chain(project):
    planned = project.build("-n", REPORT).output
    for rule, count in {"translate": 5, "tune": 1, "evaluate": 1, "report": 1}.items():
        assert re.search(rf"^{rule} +{count}$", planned, re.MULTILINE), rule


def test_the_report_contains_the_values_of_the_files(reported):
    project, run = reported
    assert project.first.jobs["evaluate"] == 1 and run.jobs == {"report": 1}
    page = html.unescape((project.root / REPORT).read_text(encoding="utf-8"))
    total = project.accounting()["total"]
    assert re.search(rf'<tspan class="count">{total["messages"]}</tspan><tspan[^>]*>messages<', page)
    source = json.loads((project.root / "results/demo/source/fetched.json").read_text())
    assert all(checksum in page for checksum in source["resolved"].values())
    assert "<code>lora.rank</code>" in page and "<code>quality.meaning</code>" in page
    assert "A chat model tuned to answer in Portuguese" in page
    # The times are from the benchmarks of this run.
    for step in ("fetch the dataset", "translate", "tune", "evaluate"):
        assert f'<th scope="row">{step}</th>' in page
    assert page.count("data:image/svg+xml") >= 2


def test_only_changes_of_its_content_make_the_report_stale(reported):
    project, _ = reported
    assert project.build(REPORT).jobs == {}
    benchmark = project.root / "results/demo/benchmarks/pt/adapter.jsonl"
    benchmark.write_text(benchmark.read_text() * 2)
    assert project.build(REPORT).jobs == {}
    style = project.root / "report/style.css"
    style.write_text(style.read_text() + "h1 { color: #222; }\n")
    assert project.build(REPORT).jobs == {"report": 1}


def test_the_table_of_all_adapters_shows_existing_results_and_builds_no_others(reported):
    project, _ = reported
    # The evaluation is stale for this configuration, and Dutch has none; the table rebuilds neither.
    assert project.build("--config", "evaluation={prompts: 1}", "--", SUMMARY).jobs == {"summary": 1}
    page = (project.root / SUMMARY).read_text(encoding="utf-8")
    assert page.count('<tr><th scope="row">') == 1 and 'href="pt/report.html"' in page
    assert project.build(SUMMARY).jobs == {}
    metrics = project.root / "results/demo/pt/evaluation/metrics.json"
    kept = metrics.read_text()
    metrics.write_text(kept.replace("{", '{"note": "", ', 1))
    assert project.build(SUMMARY).jobs == {"summary": 1}
    metrics.write_text(kept)


def test_a_variant_has_a_report_and_an_unknown_variant_is_refused(reported):
    project, _ = reported
    variant = ("--config", "variants={odds: {method: orpo}}", "--", "results/demo/pt/variants/odds/report.html")
    run = project.run("-n", *variant)
    assert run.code == 0 and "pt/preferences/train.accounting.json" in run.output, run
    run = project.run("-n", "results/demo/pt/variants/none/report.html")
    assert run.code != 0 and "there is no variant 'none'" in run.output, run


def test_snakemakes_own_report_contains_the_pages_and_captions(reported):
    project, _ = reported
    run = project.run("--report", "workflow.html", "--", REPORT)
    assert run.code == 0, run
    page = (project.root / "workflow.html").read_text(encoding="utf-8")
    for part in ("teaches a chat model a new language", "everything on one page", "and an account of every message",
                 "as the quality checks see them", "length ratios"):  # fmt: skip
        assert part in page, part
