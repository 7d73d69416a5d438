"""Tests of a dataset whose names, ids and texts contain control characters and markup: all outputs show plain text."""

from acting_text import acts
from markdown_it import MarkdownIt
from running import ADAPTER

ODD = "\x1b]0;x\x07\x9b2J<script>alert(1)</script>\n# x\n---\nlicense: mit\u202e| `y` ![z](http://a.b)\u2028"
LANGUAGE = "results/demo/pt"
DATA = f"{LANGUAGE}/dataset/README.md"
BUILT = [DATA, f"{LANGUAGE}/threads/train.jsonl"]


def odd_rows(rows):
    """Return the rows with hostile characters in all ids and texts; the ids remain unique."""
    named = [
        row
        | {key: f"{row[key]}{ODD}" for key in ("message_id", "parent_id", "message_tree_id", "user_id") if row[key]}
        | {"text": f"{ODD}\n{row['text']}"}
        for row in rows
    ]
    return named


def logs(project):
    return "".join(content.decode() for content in project.bytes("results/demo/logs/**/*.log").values())


def test_hostile_names_in_a_dataset_are_shown_as_plain_text(project):
    rows = odd_rows([row for row in project.read_messages() if row["lang"] != "es"][:30])
    project.configure(source={"licence": ODD, "dataset": "odd *|`x`.jsonl"})
    # An invalid language tag is refused in one line; the output and logs before it have no control characters either.
    project.write_messages([*rows, rows[0] | {"message_id": ODD, "lang": f"en{ODD}"}])
    file = project.root / "odd *|`x`.jsonl"
    (project.root / "messages.jsonl").rename(file)
    refused = project.run("--", *BUILT)
    assert refused.code and not acts(refused.output + logs(project))

    (line,) = {line for line in refused.output.splitlines() if line.startswith("fetch.py: error: ")}
    assert f"line {len(rows) + 1}: lang 'en\\x1b]0;x" in line

    project.write_messages([*rows, rows[0] | {"message_tree_id": ODD, "parent_id": rows[0]["message_id"]}])
    (project.root / "messages.jsonl").rename(file)
    refused = project.run("--", *BUILT)
    assert refused.code and not acts(refused.output + logs(project))
    assert any("was used before" in line and "\\u001b]0;x" in line for line in refused.output.splitlines())

    project.write_messages(rows)
    (project.root / "messages.jsonl").rename(file)
    built = project.build("--", *BUILT)
    assert not acts(built.output + logs(project))
    card = (project.root / DATA).read_text(encoding="utf-8")
    assert not acts(card) and "alert" in card
    header, body = card.removeprefix("---\n").split("\n---\n", 1)
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    inline = [inner.type for token in tokens for inner in token.children or []]
    assert "license: mit" not in header.splitlines()
    assert not {"html_inline", "html_block"} & {*inline, *(token.type for token in tokens)}
    assert inline.count("image") == 1  # the plot of the statuses


def test_hostile_file_names_of_a_model_are_escaped(project, tiny_base, tmp_path):
    """Snakemake lists the files of a model's folder as inputs."""
    for path in tiny_base.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "a\x1b[2J.json").write_text("{}")
    project.configure(tuning={"base_model": str(tmp_path)})
    run = project.run("-n", "--", ADAPTER)
    assert run.code and not acts(run.output)
    assert (
        f"error: {tmp_path}: 'a\\x1b[2J.json' is not a valid name for a model's file; rename or remove it" in run.output
    )
