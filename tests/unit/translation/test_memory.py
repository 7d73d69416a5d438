"""Tests of the translation memory: it returns the engine's outputs without a new call, for the same settings only."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from translators import translated

from mothertongue.common.errors import UserError
from mothertongue.translation import engines, memory
from mothertongue.translation.attempts import Strategy
from mothertongue.translation.engines.base import Output
from mothertongue.translation.settings import EngineSettings

OUTPUTS = st.builds(
    Output, st.text(st.characters(exclude_categories=["Cs"])), st.none() | st.floats(-50, 0), st.booleans()
)


class Model:
    """A model that records the texts that it is asked to translate."""

    def __init__(self, answer=str.upper):
        self.answer, self.asked = answer, []

    def translate(self, texts):
        for index, text in enumerate(texts):
            self.asked.append(text)
            yield index, Output(self.answer(text), -0.25)


def strategy(model, file, fingerprint="f", **more):
    own = memory.Memory(file)
    return Strategy(model.translate, lambda text: True, "m@1", remembered=own.of(fingerprint), **more), own


def run(texts, model, file, fingerprint="f"):
    one, own = strategy(model, file, fingerprint)
    found = translated(texts, one)
    own.write()
    return found


@settings(max_examples=20)
@given(st.dictionaries(st.text(), OUTPUTS, max_size=20))
def test_the_memory_returns_the_outputs_of_the_engine(tmp_path_factory, outputs):
    folder = tmp_path_factory.mktemp("memory")
    first = memory.Memory(folder / "a.parquet")
    assert dict(first.of("f").keep(outputs.items())) == outputs
    first.write()
    found = memory.Memory(folder / "b.parquet").of("f").recall([*outputs, "another"])
    assert found == {text: output for text, output in outputs.items() if text != "another"} | (
        {"another": outputs["another"]} if "another" in outputs else {}
    )
    assert memory.Memory(folder / "b.parquet").of("g").recall(outputs) == {}


def test_only_new_texts_are_translated_and_the_result_is_the_same(tmp_path):
    first = ["A house by the sea. It is old and quiet.", "The second message is here."]
    model = Model()
    before = run(first, model, tmp_path / "a.parquet")
    edited = ["A house by the sea. It is new and loud.", "The second message is here."]
    again, plain = Model(), Model()
    assert run(edited, again, tmp_path / "a.parquet") == translated(edited, way_of(plain))
    assert again.asked == ["It is new and loud."]
    nothing = Model()
    assert run(first, nothing, tmp_path / "a.parquet") == before and nothing.asked == []
    # The file of another job in the same folder.
    assert run(first, nothing, tmp_path / "b.parquet") == before and nothing.asked == []
    other = Model()
    run(first, other, tmp_path / "a.parquet", "other settings")
    assert other.asked == model.asked


def way_of(model):
    return Strategy(model.translate, lambda text: True, "m@1")


def test_a_failure_is_not_stored(tmp_path):
    def failing(texts):
        for index, text in enumerate(texts):
            if "bad" in text:
                raise RuntimeError("the engine cannot")
            yield index, Output(text.upper())

    own = memory.Memory(tmp_path / "a.parquet")
    one = Strategy(failing, lambda text: True, "m@1", remembered=own.of("f"))
    texts = ["This one is bad.", "This one is fine."]
    assert [found.status for found in translated(texts, one)] == ["failed", "translated"]
    own.write()
    model = Model()
    assert [found.status for found in run(texts, model, tmp_path / "a.parquet")] == ["translated", "translated"]
    assert model.asked == ["This one is bad."]


def test_a_broken_engine_is_detected_although_the_memory_has_texts(tmp_path):
    texts = [f"Message number {at} is about houses." for at in range(100)]
    run(texts[:50], Model(), tmp_path / "a.parquet")

    def broken(texts):
        yield from ()
        raise RuntimeError("the process died")

    own = memory.Memory(tmp_path / "b.parquet")
    with pytest.raises(RuntimeError, match="the process died"):
        translated(texts, Strategy(broken, lambda text: True, "m@1", remembered=own.of("f")))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PAR1" + b"x" * 100 + b"PAR1"),
        lambda path: path.write_bytes(path.read_bytes()[:-30]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"HOUSE", b"MOUSE", 1)),
        lambda path: pq.write_table(pq.read_table(path).drop_columns("score"), path),
        lambda path: pq.write_table(pq.read_table(path).replace_schema_metadata(None), path),
    ],
    ids=["empty", "no Parquet", "cut", "a changed letter", "another schema", "no fingerprints"],
)
def test_a_damaged_file_is_left_out_with_a_warning(tmp_path, capsys, monkeypatch, damage):
    monkeypatch.setitem(memory._WRITING, "compression", "none")
    texts = ["A house by the sea."]
    before = run(texts, Model(), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    damage(tmp_path / "a.parquet")
    damaged = (tmp_path / "a.parquet").read_bytes()
    assert damaged != content
    model = Model()
    assert run(texts, model, tmp_path / "b.parquet") == before and len(model.asked) == 1
    assert "a.parquet: not a readable translation memory, left out" in capsys.readouterr().err
    assert (tmp_path / "a.parquet").read_bytes() == damaged


def test_a_file_of_something_else_is_not_overwritten(tmp_path):
    pq.write_table(pa.table({"text": ["mine"]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: is no translation memory, and would be overwritten"):
        memory.Memory(tmp_path / "a.parquet")


def test_a_memory_that_was_cut_is_written_anew(tmp_path):
    texts = ["A house by the sea."]
    run(texts, Model(), tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-30])
    run(texts, Model(), tmp_path / "a.parquet")
    model = Model()
    run(texts, model, tmp_path / "a.parquet")
    assert not model.asked


def stale(*arguments, **more):
    raise OSError(116, "Stale file handle")


def test_a_temporarily_unreadable_file_is_kept(tmp_path, capsys, monkeypatch):
    run(["A house by the sea."], Model(), tmp_path / "a.parquet")

    monkeypatch.setattr(memory.pq, "ParquetFile", stale)
    assert memory.Memory(tmp_path / "b.parquet").of("f").recall(["A house by the sea."]) == {}
    assert "a.parquet: cannot be read now" in capsys.readouterr().err and (tmp_path / "a.parquet").exists()


def test_a_failure_to_write_is_only_a_warning(tmp_path, capsys):
    (tmp_path / "memory").write_text("a file in the place of the folder")
    found = run(["A house by the sea."], Model(), tmp_path / "memory/a.parquet")
    assert found[0].status == "translated" and "the translation memory was not written" in capsys.readouterr().err


def test_the_memory_is_written_during_translation(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_INTERVAL", 0)

    def killed(texts):
        yield from enumerate([Output("CASA")])
        raise KeyboardInterrupt

    own = memory.Memory(tmp_path / "a.parquet")
    with pytest.raises(KeyboardInterrupt):
        translated(["House", "Garden of the house"], Strategy(killed, lambda text: True, "m", remembered=own.of("f")))
    assert len(pq.read_table(tmp_path / "a.parquet")) == 1


def test_everything_that_affects_a_translation_is_in_the_fingerprint(tmp_path, monkeypatch):
    record = {
        "reference": "owner/model",
        "kind": "hub",
        "revision": "1",
        "licence": None,
        "files": {"model.bin": "sha256:1"},
    }
    (tmp_path / "fetched.json").write_text(json.dumps(record))

    def found(engine="firefox", careful=False, **values):
        return memory.fingerprint(engine, tmp_path, EngineSettings(**values), careful)

    first = found()
    assert found(batch_tokens=64, workers=7, device="cpu") == first
    others = [
        found(beam_size=4),
        found(target_code=">>por<<"),
        found(compute_type="float32"),
        found(careful=True),
        found(prompt="{text}"),
    ]
    others.append(found("opus-mt"))
    (tmp_path / "fetched.json").write_text(json.dumps(record | {"files": {"model.bin": "sha256:2"}}))
    others.append(found())
    (tmp_path / "fetched.json").write_text(json.dumps(record))
    monkeypatch.setattr(memory, "_version", lambda name: "99")
    others.append(found())
    monkeypatch.undo()
    monkeypatch.setattr(memory.imports, "modules", lambda *entry, **more: [tmp_path / "fetched.json"])
    others.append(found())
    monkeypatch.undo()
    monkeypatch.setattr(engines.find("firefox"), "machine", lambda settings: "cuda")
    others.append(found())
    assert len({first, *others}) == 1 + len(others)


def test_a_memory_that_cannot_be_read_for_a_moment_keeps_its_entries(tmp_path, capsys, monkeypatch):
    run([f"Message number {at} is here." for at in range(9)], Model(), tmp_path / "a.parquet")
    one, own = strategy(Model(), tmp_path / "a.parquet")
    translated(["Another one is here."], one)
    with monkeypatch.context() as patch:
        patch.setattr(memory.pq, "ParquetFile", stale)
        own.write()
    assert "the translation memory was not written" in capsys.readouterr().err
    assert len(pq.read_table(tmp_path / "a.parquet")) == 9
    own.write()
    assert len(pq.read_table(tmp_path / "a.parquet")) == 10
