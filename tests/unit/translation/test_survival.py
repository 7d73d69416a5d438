"""Tests of details that a translation must keep: each loss is named, and protected in a second attempt."""

from dataclasses import replace

import pytest
from translators import translated, way

from mothertongue.translation.engines.base import Output
from mothertongue.translation.survival import losses, tidy, without_added_brackets


def kinds(source, translation, lang="en", latin=True):
    return [loss.kind for loss in losses(source, translation, lang, latin)]


@pytest.mark.parametrize(
    ("source", "translation", "lost"),
    [
        ("It costs £18.", "Custa 18 euros.", ["amounts"]), ("It costs $5.", "Custa R$ 5.", ["amounts"]), ("It costs $5.", "Custa US$ 5.", []),
        ("It is €5 or £6.", "É €5 ou £6.", []), ("The value 2^n grows.", "O valor 2-n cresce.", ["signs"]), ("Ask @ann.", "Pergunte a ann.", ["signs"]),
        ("Is a < b?", "É a - b?", ["signs"]), ("About 20% of them", "Cerca de 20％ deles", []), ("-5 degrees", "5 graus", ["signs"]),
        ("I use C++ daily.", "Uso C diariamente.", ["signs"]), ("A and B, or R&D", "A e B, ou P&D", []), ("He has 25 cats.", "Ele tem gatos.", ["numbers"]),
        ("Wait 20 minutes.", "Espere 30 minutos.", ["numbers"]), ("Some 300 cats", "Uns 200 gatos", ["numbers"]), ("2,000,000 cats", "2 milhões de gatos", []),
        ("In 10 years", "Em dez anos", []), ("It is 3.5 m.", "São 3,5 m.", []), ("It is ３５ m, or 35.", "São ٣٥ m.", []), ("Water is H2O.", "Água é HO.", ["names"]),
        ("Use 3.11.2 now.", "Use 3.11 agora.", ["numbers", "names"]), ("the 2nd one", "o segundo", []), ("Hear Dvořák.", "Ouça Dvoák.", ["names"]),
        ("Hear Dvořák.", "Ouça Dvorak.", ["names"]), ("I saw Zürich.", "Vi Zurique.", []), ("a résumé", "um resumo", []), ("a naïve man", "um homem nave", ["names"]),
        ("He (Bob) left.", "Ele Bob) saiu.", ["brackets"]), ("He (Bob) left.", "Ele（Bob）saiu.", []), ('He said "no".', "Ele disse «não».", []),
        ("He's 'so' there.", 'Ele está "assim" lá.', []), ("It's John's, isn't it?", "É do João, não é?", []), ("the XQ1-axis", "o eixo XQ1", []),
        ('He said "no".', 'Ele disse "não.', ["quotes"]), ('A 5" disk', "Um disco de 5 polegadas", []), ("a | b", "a | b | c", ["signs"]), ("so", "< assim", ["signs"]),
    ],
)  # fmt: skip
def test_each_kind_of_loss_is_named(source, translation, lost):
    assert kinds(source, translation) == lost


@pytest.mark.parametrize(
    ("lang", "source", "right", "wrong"),
    [
        # Letters without capitals stand beside numbers; the digits are of any script.
        ("zh", "价格是1500元。", "Custa 1.500 yuans.", "Custa 150 yuans."), ("zh", "2024年11月25日", "25 de novembro de 2024", "25 de novembro de 2021"),
        ("ja", "2024年に250人", "250 em 2024", "350 em 2024"), ("ja", "人口は1億2500万人", "125 milhões de habitantes", "152 milhões de habitantes"),
        ("ko", "가격은 1500원", "1500 wons", "2500 wons"), ("hi", "कीमत १५०० रुपये", "1500 rúpias", "2500 rúpias"), ("ar", "السعر ١٥٠٠ ريال", "1500 riais", "2500 riais"),
        ("zh", "21世纪", "século XXI", None), ("zh", "20 世纪 60 年代, 90年代", "anos 60, anos 1990", None), ("zh", "200万人", "2 milhões de pessoas", None), ("zh", "水是H2O。", "Água é H2O.", "Água é HO."),
        # Times, ranges, dates and units, part by part.
        ("en", "at 14:30", "às 2:30 da tarde", "às 16:40"), ("en", "at 20:45", "8:45 p.m.", "8:54 p.m."), ("nl", "om 20.30 uur", "at 8:30 p.m.", "at 8:20 p.m."), ("en", "at 11pm", "às 23h", "às 22h"),
        ("en", "ages 15-20", "de 15 a 20 anos", "de 35 a 90 anos"), ("en", "1914-18", "1914–1918", "1941–1948"), ("en", "1914–1918", "1914-18", "1914-45"),
        ("en", "1985-03-12", "12 de março de 1985", "12 de março de 1958"), ("en", "on 2001-12-24", "24.12.01", "24.12.02"), ("en", "500kg", "500 kg", "300 kg"),
        ("en", "the 1990s, the 21st", "os anos 90, o vigésimo primeiro", None), ("en", "a 20-year-old, COVID-19", "um jovem de vinte anos, COVID-19", None),
        # A number is not found in another one, or in several.
        ("en", "23 of 100", "23 de 100", "12 de 3100"), ("en", "1,2 or 3", "1, 2 ou 3", None), ("en", "10,20,30", "10, 20 e 30", "10, 20 e 40"), ("en", "1.5 + 25 = 26.5", "1,5 + 25 = 26,5", "1,5 + 25 = 26."), ("en", "1,500 cats", "1500 gatos", "150 gatos"),
        ("en", "1.5 million, 12,500", "1.500.000, 12 500", "1.600.000, 12 500"), ("en", "120 million", "1.2億", "1.3億"), ("en", "302 million", "3億200万", "3億2000万"),
        ("en", "It is $2.50.", "São $2,5.", "São $2,7."), ("en", "in the 60s, 1970", "nos anos 1960, nos anos 70", None), ("en", "25 in 1925", "25 em 1925", "52 em 1925"), ("en", "20 miles, 120 people", "20 milhas, 120 pessoas", "2 milhas, 12 pessoas"), ("en", "JIS 0208", "JIS 0208", "JIS 0280"),
    ],
)  # fmt: skip
def test_a_number_is_told_in_another_way_but_is_no_other(lang, source, right, wrong):
    lost = ["names"] if "H2O" in source else ["numbers"]
    assert kinds(source, right, lang) == [] and (wrong is None or kinds(source, wrong, lang) == lost)


def test_names_may_be_adapted_to_languages_with_accents_and_other_scripts():
    assert (
        kinds("Vivo en Perú.", "Moro no Peru.", "es") == []
        and kinds("Hear Dvořák.", "Слушай Дворжака.", latin=False) == []
    )


@pytest.mark.parametrize(
    ("source", "translation", "plain"),
    [
        ("Haskell", "Haskell (em inglês)", "Haskell"), ("Golang", "Golang (", "Golang"), ("Kraftwerk plays.", "Kraftwerk (a) toca.", "Kraftwerk toca."),
        ("a (b)", "a (b) (c)", "a (b) (c)"), ("猫（犬）", "gato (cão)", "gato (cão)"), ("He left.", "Ele saiu.", "Ele saiu."),
        # Where an open remark ends cannot be seen, and what is shorter without one lacks a part of the source.
        ("I wrote it in Haskell for my thesis.", "Escrevi-o em Haskell (em inglês para a minha tese de doutoramento.", None),
        ("It prints, or shows, the numbers.", "Ele imprime (ou mostra) os números.", None), ("It prints, or shows, it.", "Ele imprime-o (ou mostra", None),
    ],
)  # fmt: skip
def test_remarks_in_brackets_added_by_the_model_are_removed(source, translation, plain):
    assert without_added_brackets(source, translation) == (plain or translation)


@pytest.mark.parametrize(
    ("source", "translation"),
    [
        ('Read "War and Peace" (25 pages), 100% free.', "请阅读《战争与和平》（25页），100％免费。"), ('He said "yes" at 50%.', "彼は50％で「はい」と言った。"),
        ("It is 25 km (or 30).", "إنها ٢٥ كم (أو ٣٠)."), ("It is 25% of it.", "यह इसका २५% है।"), ("Dvořák wrote 9 of them [sic].", "Дворжак написал 9 из них [sic]."),
        ("「猫」は25匹（多い）です。", 'There are 25 "cats" (many).'),
    ],
)  # fmt: skip
def test_equivalent_signs_of_other_scripts_are_not_losses(source, translation):
    assert kinds(source, translation, "ja" if "猫" in source else "en", latin=translation.isascii()) == []


def test_spaces_inside_brackets_follow_the_source():
    assert tidy("Note: [x]", "Nota: [ x]") == "Nota: [x]" and tidy("a ( b )", "a ( b )") == "a ( b )"


def test_added_brackets_are_removed_if_no_other_attempt_is_better():
    (result,) = translated(["Haskell"], lambda texts: ["Haskell (em"], lambda texts: ["Haskell (o)"])
    assert (result.text, result.status, result.reasons) == ("Haskell", "translated", ["cured: brackets"])


@pytest.mark.parametrize(
    ("faults", "complete", "left"),
    [((), True, []), (("orders",), True, ["orders"]), (("emphasis", "codes"), True, ["codes", "emphasis"]), ((), False, ["repetition"]),
     (("refused",), False, ["refused", "repetition"])],
)  # fmt: skip
def test_a_text_without_added_brackets_keeps_the_faults_that_it_does_not_show(faults, complete, left):
    """What the engine found wrong, and that the output was cut off, cannot be seen from the text."""
    output = Output("A porta está fechada (como pedido).", complete=complete)
    model = replace(way(lambda texts: [output for _ in texts]), faults=lambda text: faults)
    (result,) = translated(["The door is closed."], model)
    assert (result.text, result.reasons) == ("A porta está fechada.", [*left, "cured: brackets"])
    assert result.status == ("flagged" if left else "translated")


def test_lost_details_are_protected_in_a_second_attempt():
    asked = []

    def model(texts):
        asked.append(sorted(texts))
        return [text.replace("£18", "18 euros").replace("The book costs", "O livro custa") for text in texts]

    (result,) = translated(["The book costs £18."], model)
    assert (result.text, result.status, result.reasons) == ("O livro custa £18.", "translated", ["cured: amounts"])
    assert asked == [["The book costs £18."], ["The book costs XQ1."]]


def test_unbalanced_brackets_are_kept_and_the_text_around_them_translated():
    portuguese = {"The man": "O homem", "Bob": "Beto", "is here today.": "está aqui hoje."}
    (result,) = translated(
        ["The man (Bob) is here today."], lambda texts: [portuguese.get(text, "O homem Bob) está.") for text in texts]
    )
    assert (result.text, result.reasons) == ("O homem (Beto) está aqui hoje.", ["cured: brackets"])
    (result,) = translated(["The man (Bob) is here today."], lambda texts: ["O homem) está." for _ in texts])
    assert (result.status, result.reasons) == ("flagged", ["brackets"])
