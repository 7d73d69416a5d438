"""Tests of the formats of conversations: what each gives, what is left out with its account, and the errors."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oasst import write
from steps import fetched

from mothertongue.common.errors import UserError
from mothertongue.common.languages import codes_by_name, read_languages
from mothertongue.dataset import preferences, trees
from mothertongue.dataset.thread_rows import as_rows
from mothertongue.formats.parquet import Limits
from mothertongue.prompts.templates import read_template
from mothertongue.source import dataset_reference
from mothertongue.source.conversations import Account, Conversation, Turn, tree_of
from mothertongue.source.files import open_file
from mothertongue.source.inspection import describe
from mothertongue.source.languages import Languages
from mothertongue.source.reading import Dataset
from mothertongue.source.settings import FormatSettings

SAMPLE = Path("config/demo/messages.jsonl")
SYSTEM = "Antworte kurz."
HELLO = [{"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello."}]


def read(path, columns=None, language="en", **settings):
    """The messages of a file as (role, text), and the dataset with its account."""
    dataset = Dataset("", FormatSettings(**settings), columns or {}, Languages(language))
    table = fetched(path, dataset)
    return [(row["role"], row["text"]) for row in table.to_pylist()], dataset


def refusal(path, **more):
    with pytest.raises(UserError) as caught:
        read(path, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


def native(table):
    """The messages of a dataset as the selections read them."""
    return trees.from_table(table)


def threads_of(table, exchanges=None):
    """The texts and messages of all threads, without ids; their first exchanges alone where these are counted."""
    threads = [thread[: 2 * exchanges] if exchanges else thread for thread in trees.select(native(table)).threads]
    rows = as_rows(threads, "en", SYSTEM, read_template(Path("config/templates/chatml.jinja")))
    return [(row["text"], [(one["role"], one["content"]) for one in row["messages"]]) for row in rows]


def pairs_of(table, how="best_vs_worst"):
    names = ("prompt", "chosen", "rejected")
    found = preferences.as_rows(preferences.find_pairs(native(table), how).pairs, SYSTEM)
    return sorted(json.dumps([row[name] for name in names]) for row in found)


@pytest.fixture(scope="module")
def sample():
    return fetched(SAMPLE)


@pytest.fixture(scope="module")
def chats(sample):
    """The threads of the sample as lists of messages."""
    return [[message.turn for message in thread] for thread in trees.select(native(sample)).threads]


def conversations(name, chats):
    """The rows of a format for these conversations; of formats of one exchange that with the others as history or not."""
    if name == "messages":
        return [{"messages": chat} for chat in chats]
    if name == "sharegpt":
        names = {"user": "human", "assistant": "gpt"}
        return [{"conversations": [{"from": names[t["role"]], "value": t["content"]} for t in chat]} for chat in chats]
    texts = [[turn["content"] for turn in chat] for chat in chats]
    if name == "alpaca":
        return [
            {
                "instruction": text[-2],
                "input": "",
                "output": text[-1],
                "history": [[*one] for one in zip(text[:-2:2], text[1:-2:2], strict=True)],
            }
            for text in texts
        ]
    names = {"pairs": ("question", "answer"), "table": ("Vraag", "Antwoord")}[name]
    return [dict(zip(names, text, strict=False)) for text in texts]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".json.gz", ".jsonl.zst", ".parquet"])
@pytest.mark.parametrize("name", ["messages", "sharegpt", "alpaca"])
def test_the_samples_threads_in_every_form_give_the_same_threads(sample, chats, tmp_path, name, suffix):
    rows = conversations(name, chats)
    path = tmp_path / f"chats{suffix}"
    content = json.dumps(rows) if ".json" in path.suffixes else "".join(json.dumps(row) + "\n" for row in rows)
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        packed = {".gz": gzip.compress, ".zst": lambda raw: pa.compress(raw, "zstd", asbytes=True)}
        path.write_bytes(packed.get(path.suffix, bytes)(content.encode()))
    dataset = Dataset(languages=Languages("en"))
    table = fetched(path, dataset)
    assert dataset.formats == {str(path): name}
    assert threads_of(table) == threads_of(sample)
    account = dataset.account
    assert account.rows == account.conversations == len(chats) and account.turns == account.messages == len(table)


@pytest.mark.parametrize(("name", "columns"), [("pairs", {}), ("table", {"prompt": "Vraag", "reply": "Antwoord"})])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_questions_and_answers_give_the_first_exchanges(sample, chats, tmp_path, name, columns, suffix):
    import pandas as pd

    rows = conversations(name, chats)
    path = tmp_path / f"answers{suffix}"
    if suffix == ".jsonl":
        write(path, *rows)
    else:
        pd.DataFrame(rows).to_csv(path, sep="\t" if suffix == ".tsv" else ";", index=False, encoding="utf-8-sig")
    dataset = Dataset("", FormatSettings(), columns, Languages("en"))
    table = fetched(path, dataset)
    assert threads_of(table) == threads_of(sample, 1)


@pytest.mark.parametrize("form", ["texts", "messages", "whole conversations", "ranked replies"])
def test_the_samples_preferences_in_every_form_give_the_same_pairs(sample, tmp_path, form):
    found = preferences.find_pairs(native(sample)).pairs
    rows = []
    for pair in found:
        prompt = [message.turn for message in pair.prompt]
        sides = {"chosen": [pair.chosen.turn], "rejected": [pair.rejected.turn]}
        if form == "texts":
            sides = {side: turns[0]["content"] for side, turns in sides.items()}
        elif form == "whole conversations":
            sides = {side: prompt + turns for side, turns in sides.items()}
            prompt = "the last question again"
        elif form == "ranked replies":
            texts = [pair.rejected.text, pair.chosen.text]
            sides = {"completions": [{"response": text, "overall_score": n} for n, text in enumerate(texts)]}
        rows.append({"prompt": prompt, **sides})
    dataset = Dataset(languages=Languages("en"))
    table = fetched(write(tmp_path / "pairs.jsonl", *rows), dataset)
    assert set(dataset.formats.values()) == {"preference"} and len(rows) > 20
    assert pairs_of(table) == pairs_of(sample)


def test_several_replies_are_ranked_and_equal_scores_are_equal(tmp_path):
    replies = [("worst", 1.0), ("good", "4"), ("also good", 4), ("best", 5), ("not judged", None)]
    row = {"instruction": "Why?", "completions": [{"response": text, "rating": score} for text, score in replies]}
    table = fetched(write(tmp_path / "m.jsonl", row), Dataset(languages=Languages("en")))
    ranks = {one["text"]: one["rank"] for one in table.to_pylist()}
    assert ranks == {"Why?": None, "best": 0, "good": 1, "also good": 1, "worst": 2, "not judged": None}
    plain = write(tmp_path / "plain.jsonl", {"prompt": "Why?", "responses": ["one", "two", "three"]})
    named = Dataset(settings=FormatSettings("preference"))
    assert [one["rank"] for one in fetched(plain, named).to_pylist()] == [None, 0, 1, 2]
    assert refusal(plain).startswith("no format fits its columns")


def test_dialogues_in_one_text_are_taken_apart(tmp_path):
    start = "\n\nHuman: What is\n\nthis?\n\nAssistant: A cat.\n\nHuman: Sure?\n\nAssistant:"
    row = {"chosen": f"{start} Yes.", "rejected": f"{start} No, Human: a dog."}
    table = fetched(write(tmp_path / "m.jsonl", row), Dataset(languages=Languages("en")))
    assert [(one["text"], one["rank"]) for one in table.to_pylist()] == [
        ("What is\n\nthis?", None),
        ("A cat.", None),
        ("Sure?", None),
        ("Yes.", 0),
        ("No, Human: a dog.", 1),
    ]


def test_branches_may_part_before_the_last_reply(tmp_path):
    chosen = [*HELLO, {"role": "user", "content": "More"}, {"role": "assistant", "content": "Fine."}]
    rejected = [HELLO[0], {"role": "assistant", "content": "What?"}]
    table = fetched(write(tmp_path / "m.jsonl", {"chosen": chosen, "rejected": rejected}))
    assert [(one["text"], one["rank"]) for one in table.to_pylist()] == [
        ("Hi!", None),
        ("Hello.", 0),
        ("More", None),
        ("Fine.", None),
        ("What?", 1),
    ]


def test_a_conversations_own_system_message_stands_in_the_place_of_the_configured_one(tmp_path):
    own = {"role": "system", "content": "You are a pirate."}
    path = write(tmp_path / "m.jsonl", {"messages": [own, *HELLO]}, {"messages": [*HELLO, *HELLO]})
    table = fetched(path, Dataset(languages=Languages("en")))
    systems = [messages[0] for _, messages in threads_of(table)]
    assert systems == [("system", "You are a pirate."), ("system", SYSTEM)]
    ranked = write(
        tmp_path / "p.jsonl", {"system": "Be brief.", "prompt": "Hi!", "chosen": "Hello.", "rejected": "Go away."}
    )
    (pair,) = pairs_of(fetched(ranked))
    assert json.loads(pair)[0] == [{"role": "system", "content": "Be brief."}, HELLO[0]]


@pytest.mark.parametrize(
    ("turns", "expected", "left_out"),
    [
        (  # two users in a row
            ["user: a", "user: b", "assistant: c"],
            [("prompter", "a\n\nb"), ("assistant", "c")],
            {"joined to the turn before": 1},
        ),
        (  # begins with the assistant, and ends with a user
            ["assistant: a", "user: b", "assistant: c", "user: d"],
            [("prompter", "b"), ("assistant", "c")],
            {"assistant before a user": 1, "without an answer": 1},
        ),
        (  # an empty turn ends it
            ["user: a", "assistant: b", "user:  ", "assistant: c"],
            [("prompter", "a"), ("assistant", "b")],
            {"empty": 2},
        ),
        (["user: a", "assistant: "], [], {"empty": 1, "without an answer": 1}),
        (["system: s", "assistant: a"], [], {"assistant before a user": 1, "without an answer": 1}),
        (["user: a"], [], {"without an answer": 1}),
        (
            ["system: ", "user: a", "assistant: b", "system: s", "user: c", "assistant: d"],
            [("prompter", "a"), ("assistant", "b")],
            {"system message within a conversation": 3, "empty": 1},
        ),
        (
            ["user: a", "assistant: b", "user: weather?", "tool: x", "assistant: rain"],
            [("prompter", "a"), ("assistant", "b")],
            {"tools": 2, "without an answer": 1},
        ),
    ],
)
def test_what_training_cannot_read_is_left_out_with_an_account(tmp_path, turns, expected, left_out):
    messages = [dict(zip(("role", "content"), turn.split(": ", 1), strict=True)) for turn in turns]
    path = write(tmp_path / "m.jsonl", {"messages": messages}, {"messages": HELLO})
    found, dataset = read(path)
    account = dataset.account
    assert found[:-2] == expected and dict(account.turns_left_out) == left_out
    assert account.rows == account.conversations + account.rows_left_out.total() == 2
    assert account.turns == account.messages + account.turns_left_out.total() == len(turns) + 2


def test_images_and_sound_end_a_conversation_and_parts_of_text_are_joined(tmp_path):
    parts = [{"type": "text", "text": "What"}, {"type": "text", "text": "is this?"}]
    picture = {"type": "image_url", "image_url": {"url": "x"}}
    path = write(
        tmp_path / "m.jsonl",
        {"messages": [{"role": "user", "content": parts}, HELLO[1]]},
        {"messages": [{"role": "user", "content": [*parts, picture]}, HELLO[1]]},
        {"messages": [*HELLO, {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, HELLO[1]]},
        {"messages": [HELLO[0], {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]},
    )
    found, dataset = read(path)
    assert found == [
        ("prompter", "What\nis this?"),
        ("assistant", "Hello."),
        ("prompter", "Hi!"),
        ("assistant", "Hello."),
    ]
    assert dataset.account.as_json() == {
        "rows": 4,
        "conversations": 2,
        "rows_left_out": {"images": 1, "tools": 1},
        "turns": 10,
        "messages": 4,
        "turns_left_out": {"images": 2, "audio": 2, "tools": 1, "without an answer": 1},
    }


@given(
    st.lists(
        st.lists(
            st.builds(
                Turn,
                st.sampled_from(["system", "user", "assistant"]),
                st.sampled_from(["", " ", "a", "b"]),
                st.sampled_from(["", "", "", "tools"]),
            ),
            max_size=6,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_conversation_becomes_a_sound_tree_with_an_account_that_adds_up(branches):
    account = Account()
    tree = tree_of(Conversation(branches, list(range(len(branches)))))
    account.add(tree)
    assert account.rows == account.conversations + account.rows_left_out.total() == 1
    assert account.turns == account.messages + account.turns_left_out.total() == sum(map(len, branches))
    by_id = {row["message_id"]: row for row in tree.messages}
    assert len(by_id) == len(tree.messages)
    follows = {"system": "prompter", "prompter": "assistant", "assistant": "prompter"}
    parents = {row["parent_id"] for row in tree.messages}
    for row in tree.messages:
        assert row["text"].strip()
        above = by_id.get(row["parent_id"])
        assert row["role"] == follows[above["role"]] if above else row["role"] in ("system", "prompter")
        assert row["role"] == "assistant" or row["message_id"] in parents  # every user has an answer


def test_the_id_of_a_row_is_its_own_or_of_its_content(tmp_path):
    rows = [{"id": 7, "messages": HELLO}, {"id": "b", "messages": HELLO}, {"messages": HELLO}]
    more = {"messages": [HELLO[0], {"role": "assistant", "content": "Other."}]}
    first = fetched(write(tmp_path / "a.jsonl", *rows))["message_tree_id"].to_pylist()[::2]
    again = fetched(write(tmp_path / "b.jsonl", more, *rows))["message_tree_id"].to_pylist()[::2]
    assert first[:2] == ["7", "b"] and again[1:] == first
    numbers = tmp_path / "numbers.parquet"  # as pandas writes whole numbers beside nulls
    pq.write_table(pa.table({"id": pa.array([1.0, None]), "prompt": ["a", "b"], "response": ["c", "d"]}), numbers)
    assert fetched(numbers)["message_tree_id"].to_pylist()[0] == "1"


def test_a_row_that_was_there_is_left_out_and_an_id_for_two_conversations_is_refused(tmp_path):
    path = write(tmp_path / "m.jsonl", {"messages": HELLO}, {"messages": HELLO, "x": 1})
    _, dataset = read(path)
    assert dict(dataset.account.rows_left_out) == {"the same as an earlier row": 1}
    other = [HELLO[0], {"role": "assistant", "content": "Other."}]
    path = write(tmp_path / "m.jsonl", {"id": 1, "messages": HELLO}, {"id": 1, "messages": other})
    assert refusal(path) == (
        f"line 2: the id '1' was used before, in {path}: line 1, for another conversation; name another column by "
        "source.columns.id, or null for ids from the content"
    )
    assert len(read(path, columns={"id": ""})[0]) == 4


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"messages": HELLO}, {"messages": "Hi"}], "expected a list of messages"),
        ([{"messages": HELLO}, {"messages": [{"content": "Hi"}]}], "message 1 has no role"),
        ([{"messages": HELLO}, {"messages": [{"role": "user"}]}], "message 1 has no content"),
        (
            [{"messages": HELLO}, {"messages": [{"role": "boss", "content": "Hi"}]}],
            'unknown role "boss" (expected system, user or assistant)',
        ),
        (
            [{"messages": HELLO}, {"messages": [{"role": "user", "content": {"a": 1}}]}],
            'expected text or a list of parts, found {"a": 1}',
        ),
        (
            [{"messages": HELLO}, {"messages": [{"role": "user", "content": "so \ud83d"}]}],
            r"half of a surrogate pair (\ud83d), which is not a character",
        ),
        (
            [{"conversations": [{"from": "human", "value": "a"}]}, {"conversations": [{"value": 1}]}],
            "turn 1 has no 'from'",
        ),
        (
            [{"question": "a", "answer": "b"}, {"question": "a", "answer": 3}],
            "expected text or a list of parts, found 3",
        ),
        (
            [{"instruction": "a", "output": "b"}, {"instruction": "a", "output": "b", "history": ["x"]}],
            "history is no list of pairs of a question and its answer",
        ),
        (
            [{"id": 1, "messages": HELLO}, {"id": [2], "messages": HELLO}],
            "its id is neither text nor a whole number: [2]",
        ),
        (
            [{"messages": HELLO}, {"messages": HELLO, "language": 3}],
            "language 3 is no text",
        ),
    ],
)
def test_a_row_that_is_not_of_the_format_is_refused_with_its_place_or_counted(tmp_path, rows, expected):
    path = write(tmp_path / "m.jsonl", *rows)
    said = refusal(path, language=None)
    assert said.startswith("line 2: not of the format ") and f": {expected}; source.unreadable: leave_out" in said
    if "conversations" not in rows[0]:
        found, dataset = read(path, language=None, unreadable="leave_out")
        assert len(found) == 2 and dict(dataset.account.rows_left_out) == {"not of the format": 1}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("m.jsonl", '{"a": 1, "b": 2}', "no format fits its columns ('a', 'b'); name them by source.columns"),
        ("m.json", "[1]", "row 1: not a JSON object"),
        ("m.json", '[{"a": 1},\n oops]', "row 2: not JSON (Expecting value at line 2, column 2)"),
        (
            "m.csv",
            "question,answer\na,b,c\n",
            "row 1: 3 cells, and the header has 2; put texts in quotation marks where",
        ),
        ("m.csv", "question,question\na,b\n", "column 'question' is there twice"),
        ("m.csv", 'question,answer\n"a,b\n', "cannot be read after row 0 (unexpected end of data)"),
        ("m.csv", b"question,answer\na,\xff\n", "not UTF-8 (invalid start byte) after row 0; save it as UTF-8"),
        ("m.csv", "question,answer\n".encode("utf-16"), "not UTF-8, but perhaps UTF-16; save it as UTF-8"),
        ("m.csv", "question,answer\n", "no messages in it"),
        ("m.jsonl.zst", b"nothing of the kind", "cannot be read after line 0"),
        ("m.jsonl", '{"messages": []}\n{"messages": null}', "no format fits its columns ('messages')"),
        ("m.jsonl", '{"question": "a", "answer": " "}', "no conversation in it (left out: 1 empty)"),
    ],
)
def test_files_that_cannot_be_read_say_why(tmp_path, name, content, expected):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refusal(path).startswith(expected)


def test_windows_files_and_rows_of_different_shapes_are_read(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes('\ufeffquestion;answer\r\n"a; ""b""\r\nc";d\r\ne;\r\n;f\r\ng;h;\r\n'.encode()[:-3] + b"\r\n")
    found, dataset = read(path)
    assert found == [("prompter", 'a; "b"\r\nc'), ("assistant", "d"), ("prompter", "g"), ("assistant", "h")]
    assert dict(dataset.account.rows_left_out) == {"empty": 2}
    rows = (
        {"x": 1, "messages": HELLO},
        {"messages": None},
        {"system": None, "messages": HELLO[:1] + HELLO[1:], "id": "a"},
    )
    path = tmp_path / "m.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(map(json.dumps, rows)).encode())
    found, dataset = read(path)
    assert len(found) == 4 and dict(dataset.account.rows_left_out) == {"empty": 1}


def test_columns_of_other_names_and_languages_by_name(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("Vraag,Antwoord,taal\nHoi,Hallo,Dutch\nHi,Hello,en-GB\n", encoding="utf-8")
    columns = {"prompt": "Vraag", "reply": "Antwoord", "language": "taal"}
    table = fetched(path, Dataset(columns=columns, languages=Languages(names={"dutch": "nl"})))
    assert table["lang"].to_pylist() == ["nl", "nl", "en-GB", "en-GB"]
    said = refusal(path, columns={"prompt": "Frage", "reply": "Antwoord"})
    assert said == "source.columns.prompt: no column 'Frage' (it has Vraag, Antwoord, taal)"
    assert "source.columns.antwort: the format pairs has prompt, reply" in refusal(
        path, columns={"antwort": "Antwoord"}, format="pairs"
    )


def chat(question, answer, **more):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **more}


SPANISH = "Me gustaría saber cómo se hace una tortilla de patatas en mi casa, por favor."


def test_languages_are_identified_with_their_probability(tmp_path):
    mixed = chat(f"Translate: {'and then we went home in the rain ' * 2}", SPANISH)
    system = {"role": "system", "content": "You are a helpful, respectful and honest assistant. Always answer well."}
    spanish = chat(SPANISH, "Sí, claro que sí.")
    path = write(tmp_path / "m.jsonl", spanish, mixed, {"messages": [system, *chat(SPANISH, SPANISH)["messages"]]})
    dataset = Dataset()
    assert fetched(path, dataset)["lang"].to_pylist() == ["es", "es", "en", "es", "es", "es", "es"]
    found = dataset.as_json()["identified_languages"]
    assert sum(one["conversations"] for one in found.values()) == 3 and found["es"]["probability"] > 0.8


def test_short_conversations_are_in_the_language_of_nearly_all_others(tmp_path):
    short = chat("Hi!", "Hello.")
    assert fetched(write(tmp_path / "a.jsonl", short))["lang"].to_pylist() == ["und", "und"]
    english = [chat(f"What is the answer to question number {n} in this book?", "I do not know it.") for n in range(3)]
    dataset = Dataset()
    found = fetched(write(tmp_path / "b.jsonl", short, *english), dataset)["lang"].to_pylist()
    assert set(found) == {"en"} and any("1 conversations are too short" in line for line in dataset.summary())


def test_values_of_the_language_column_that_are_no_language_are_identified_and_said(tmp_path):
    path = write(tmp_path / "m.jsonl", chat(SPANISH, SPANISH, language="Klingon"), chat("a", "b", language=" Chinese "))
    names = codes_by_name(read_languages(Path("config/languages.tsv")))
    assert names["norwegian"] == "nb" and names["filipino"] == names["tagalog"] == "tl"
    dataset = Dataset(languages=Languages(names=names))
    assert fetched(path, dataset)["lang"].to_pylist() == ["es", "es", "zh", "zh"]
    assert any("no language, identified: 'Klingon' 1" in line for line in dataset.summary())


def test_columns_that_only_later_rows_have_are_read(tmp_path):
    """The first rows tell the format; each row is read by the columns that it has."""
    plain = [{"instruction": f"Say {n}", "output": str(n)} for n in range(120)]
    late = {"instruction": "translate this", "input": "the text", "output": "der Text", "system": "S", "id": "late"}
    table = fetched(write(tmp_path / "m.jsonl", *plain, late), Dataset(languages=Languages("en")))
    last = table.to_pylist()[-3:]
    assert [row["text"] for row in last] == ["S", "translate this\n\nthe text", "der Text"]
    assert last[0]["message_tree_id"] == "late"
    other = write(
        tmp_path / "o.jsonl", *[chat(str(n), "a") for n in range(120)], {"conversation": HELLO}, {"chat": HELLO}
    )
    assert refusal(other).startswith("line 122: not of the format messages: it has no column for 'messages'")


def test_a_worse_reply_never_takes_the_place_of_one_that_is_left_out(tmp_path):
    tools = [{"role": "assistant", "content": "x", "tool_calls": [{"id": "1"}]}]
    rows = [
        {"prompt": "one", "chosen": "", "rejected": "bad"},
        {"prompt": "two", "chosen": tools, "rejected": [{"role": "assistant", "content": "bad"}]},
        {"prompt": "three", "completions": [{"text": "", "score": 5}, {"text": "bad", "score": 4}, {"text": "x"}]},
        {"prompt": "four", "chosen": "good", "rejected": " "},
    ]
    found, dataset = read(write(tmp_path / "m.jsonl", *rows))
    assert found == [("prompter", "four"), ("assistant", "good")]
    account = dataset.account
    assert account.turns_left_out["ranked below a reply that is left out"] == 8
    assert account.turns == account.messages + account.turns_left_out.total()
    assert account.rows_left_out == {"empty": 2, "tools": 1}


def test_numbers_and_nulls_of_spreadsheets_are_text_and_nothing(tmp_path):
    import pandas as pd

    path = tmp_path / "m.parquet"
    pd.DataFrame({"Q": ["a", "b", "c"], "A": [42, None, 1.5]}).to_parquet(path)
    columns = {"prompt": "Q", "reply": "A"}
    found, dataset = read(path, columns)
    assert [text for _, text in found] == ["a", "42", "c", "1.5"] and dataset.account.rows_left_out == {"empty": 1}
    odd = tmp_path / "m.jsonl"
    odd.write_text(
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "tool_calls": NaN, '
        '"function_call": {"name": null}}]}',
        encoding="utf-8",
    )
    assert [text for _, text in read(odd)[0]] == ["a", "b"]
    booleans = write(tmp_path / "b.jsonl", {"Q": "a", "A": "b"}, {"Q": "a", "A": True})
    assert "expected text or a list of parts, found true" in refusal(booleans, columns=columns)


def test_images_in_a_prompt_with_a_context_or_an_input_are_not_lost(tmp_path):
    picture = [{"type": "image_url", "image_url": {}}, {"type": "text", "text": "What is in it?"}]
    pairs = {"prompt": [{"role": "user", "content": picture}], "context": "A photo.", "response": "A cat."}
    said = "no conversation in it (left out: 1 images)"
    assert refusal(write(tmp_path / "p.jsonl", pairs)) == said
    alpaca = {"instruction": "What?", "input": picture, "output": "A cat."}
    assert refusal(write(tmp_path / "a.jsonl", alpaca), format="alpaca") == said


def test_odd_files_end_in_one_line(tmp_path):
    surrogate = write(tmp_path / "m.jsonl", {"id": "\ud800", "messages": HELLO})
    assert "line 1: not of the format messages: half of a surrogate pair" in refusal(surrogate)
    twice = tmp_path / "twice.parquet"
    pq.write_table(pa.table([["a"], ["b"], ["c"]], names=["prompt", "response", "prompt"]), twice)
    assert refusal(twice) == "column 'prompt' is there twice"
    times = tmp_path / "times.parquet"
    late = pa.array([2**62], pa.timestamp("us"))
    pq.write_table(pa.table({"prompt": ["a"], "response": ["b"], "id": late}), times)
    assert refusal(times).startswith("row 1: column 'id': a value that cannot be read")
    (tmp_path / ".jsonl").write_text(json.dumps({"messages": HELLO}), encoding="utf-8")
    assert len(read(tmp_path / ".jsonl")[0]) == 2
    many = tmp_path / "many.json"
    many.write_text("[" + ",".join(["{}"] * 50) + "]", encoding="utf-8")
    dataset = Dataset(limits=Limits(10, 10**6, "raise {key}", 10**6))
    with pytest.raises(UserError, match="row 11: more than 10 messages; raise rows"):
        list(open_file(many, dataset.limits).rows)
    for content, expected in (
        ("[{} {}]", "row 1: not JSON (Expecting ','"),
        ("[{}", "row 1: not JSON"),
        ("[", "row 1: not JSON"),
    ):
        (tmp_path / "broken.json").write_text(content, encoding="utf-8")
        assert refusal(tmp_path / "broken.json").startswith(expected)
    (tmp_path / "none.json").write_text(" [ ] ", encoding="utf-8")
    assert refusal(tmp_path / "none.json") == "no messages in it"


def test_the_ids_of_a_named_source_begin_with_its_name():
    table = fetched(SAMPLE)
    named = fetched(SAMPLE, Dataset("mine"))
    for name in ("message_id", "parent_id", "message_tree_id"):
        assert named[name].to_pylist() == [id_ and f"mine:{id_}" for id_ in table[name].to_pylist()]
    assert set(named["source"].to_pylist()) == {"mine"}


def test_no_text_of_a_file_forges_lines_of_the_inspection(tmp_path):
    row = {"id": "x\n  user (en): no", "a\nconfiguration: evil": 1, "messages": HELLO}
    said = describe(write(tmp_path / "m.jsonl", row), Dataset(languages=Languages("en")))
    assert not any(line.startswith(("configuration: evil", "  user (en)")) for line in said.splitlines())
    assert "the first messages:" in describe(SAMPLE, Dataset())


def test_inspecting_a_file_shows_conversations_and_a_configuration_that_works(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("Vraag,Antwoord\nHoi \x1b[31m,Hallo\n,leeg\n", encoding="utf-8")
    columns = {"prompt": "Vraag", "reply": "Antwoord"}
    said = describe(path, Dataset(columns=columns, languages=Languages("nl")))
    assert "format: table" in said
    assert "prompter (nl): Hoi \\u001b[31m" in said and "left out: empty" in said
    assert "2 rows = 1 conversations + 1 others: 1 empty" in said
    assert "  columns:\n    prompt: Vraag\n    reply: Antwoord\n  language: nl" in said


def test_a_folder_gives_its_files_in_the_order_of_their_names(tmp_path):
    for name in ("b/2.jsonl", "a.csv", "b/10.jsonl.gz", ".hidden/x.jsonl", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    found = dataset_reference.local_files([str(tmp_path)])["train"]
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.csv", "b/10.jsonl.gz", "b/2.jsonl"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no file of a known kind in the folder"):
        dataset_reference.local_files([str(tmp_path / "empty")])


def test_a_list_may_end_with_a_comma_and_errors_in_it_have_their_place(tmp_path):
    path = tmp_path / "m.json"
    rows = [json.dumps({"messages": HELLO, "id": str(at)}) for at in range(30_000)]
    path.write_text(f"[{','.join(rows)},]", encoding="utf-8")
    assert len(read(path)[0]) == 60_000
    content = f"\ufeff[{','.join(rows)}]".encode()
    at = content.index(b'"20000"')
    path.write_bytes(content[:at] + b"\xff" + content[at:])
    assert refusal(path) == f"not UTF-8 (invalid start byte at byte {at})"


def test_an_id_that_is_used_again_names_both_places_whatever_the_names_of_files(tmp_path):
    row = {"id": "a", "messages": HELLO}
    one = write(tmp_path / "odd\udcff.jsonl", row, row)
    two = write(tmp_path / "two.jsonl", {**row, "messages": [*HELLO[:1], {"role": "assistant", "content": "No."}]})
    assert len(fetched(one, Dataset(languages=Languages("en")))) == 2
    with pytest.raises(UserError) as caught:
        fetched({"train": [one, two]}, Dataset(languages=Languages("en")))
    assert str(caught.value).startswith(f"{two}: line 1: the id 'a' was used before, in {one}: line 1, for another")
