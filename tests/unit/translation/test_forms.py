"""Tests of text forms: capitals, emphasis and plurals in brackets are removed for the model, and restored after it."""

import pytest
from translators import translated

from mothertongue.translation.forms import is_capitals

PORTUGUESE = {
    "Do not open the window": "Não abra a janela", "The shop is right next to the station.": "A loja fica ao lado da estação.", "right next to": "bem ao lado de",
    "You must never do that.": "Você nunca deve fazer isso.", "never": "Nunca.", "I like cats and dogs.": "Gosto de gatos e cães.", "cats": "gatos",
    "dogs": "Os cachorros", "Bring your bags.": "Traga suas malas.", "Call XQ1 now, please": "Ligue XQ1 agora, por favor", "The cat sees the other cat.": "O gato vê o gato.",
    "cat": "gato", "Please, do not stop here.": "Por favor, não pare aqui.", "Do not stop": "Não pare", "Now get out of here, please.": "Agora saia, por favor.",
    "Get out of here": "Saia daqui", "Use **XQ1** and cats.": "Use **XQ1** e gatos.", "It is very good.": "É muito bom.", "very good": "Ótimo", "It is **very good**.": "É **muito bom**.", "Install updates, and go.": "Instale atualizações e vá.", "Install updates": "Instalar atualizações",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected", "notes"),
    [
        ("DO NOT OPEN THE WINDOW", "NÃO ABRA A JANELA", []),
        ("CALL `f()` NOW, PLEASE", "LIGUE `f()` AGORA, POR FAVOR", []),
        ("You must ***never*** do that.", "Você ***nunca*** deve fazer isso.", []),
        ("I like *cats* and __dogs__.", "Gosto de *gatos* e cães.", ["emphasis removed"]),
        ("The shop is *right next to* the station.", "A loja fica ao lado da estação.", ["emphasis removed"]),
        ("The *cat* sees the other cat.", "O gato vê o gato.", ["emphasis removed"]),
        ("It is **very good**.", "É **muito bom**.", []),
        ("**Install updates**, and go.", "**Instale atualizações** e vá.", []),
        ("Use **`f()`** and *cats*.", "Use **`f()`** e *gatos*.", []),
        ("Bring your bag(s).", "Traga suas malas.", []),
        ("Please, DO NOT STOP here.", "Por favor, NÃO PARE aqui.", []),
        ("Now GET OUT OF HERE, please.", "Agora saia, por favor.", ["capitals removed"]),
    ],
)  # fmt: skip
def test_forms_are_removed_for_the_model_and_restored(text, expected, notes):
    (result,) = translated([text], lambda texts: [PORTUGUESE.get(one, "?") for one in texts])
    assert (result.text, result.status, result.reasons) == (expected, "translated", notes)


@pytest.mark.parametrize(
    "text", ["2 * 3 * 4 is much", "a snake_case_name and another_one", "5*x*y", "* a list", "**", "f(s) of (s)"]
)
def test_text_without_such_forms_is_unchanged(text):
    asked = []
    translated([f"See {text} here."], lambda texts: asked.extend(texts) or texts)
    assert not any(text != asked[0] and one in text for one in asked[1:])


def test_the_original_form_is_restored_if_the_model_copies():
    text = "SEE *the* bag(s)! AND GO HOME NOW, ALL OF YOU."
    (result,) = translated([text], lambda texts: texts)
    assert result.text == text


def test_acronyms_do_not_count_as_shouting():
    shouted = ("STOP RIGHT NOW", "CONCLUSION", "HOW TO MAKE A CAKE", "ЭТО ВАЖНО")
    assert [
        text
        for text in (*shouted, "NASA", "HTML CSS", "UK", "I AM", "Stop NOW", "中文 ABC", "XQ1 XQ2", "")
        if is_capitals(text)
    ] == list(shouted)


def test_turkish_capitals_keep_their_dots():
    (result,) = translated(["OPEN THE WINDOW"], lambda texts: ["pencereyi aç" for _ in texts], target="tr")
    assert result.text == "PENCEREYİ AÇ"
