"""Tests of the checks of a teacher's answer: what it must be to be learned."""

import pytest

from mothertongue.endpoints.answers import Answer
from mothertongue.teaching.checks import Checks
from mothertongue.translation.settings import QualityLimits

CHECKS = Checks("pt", QualityLimits())
QUESTION = "Como posso assar batatas sem forno?"
GOOD = "Pode cortar as batatas em fatias finas e fritá-las numa frigideira com um pouco de azeite."
ENGLISH = "You can cut the potatoes into thin slices and fry them in a pan with a little olive oil."


def check(text, question=QUESTION, **options):
    return CHECKS.check(Answer(text, **options), question)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "42",
        "Sim.",
        "`print(1)`",
        f"{GOOD}\n\n```python\nfor word in words:\n    print(word)  # what this prints is shown to the user\n```\n\nÉ assim.",
        # A legend of a control token in code.
        f"{GOOD} O modelo termina com `<|im_end|>`.",
        # Lists have alike lines.
        "Os dias da semana são:\n\n- segunda-feira\n- terça-feira\n- quarta-feira\n- quinta-feira\n- sexta-feira",
    ],
)
def test_a_good_answer_is_taken_as_it_is(text):
    found = check(f"\n{text}\n")
    assert (found.text, found.faults, found.doubts) == (text, (), ())


def test_a_thought_before_the_answer_is_left_out():
    assert check(f"<think>The user wants potatoes.\n\nSo ...</think>\n\n{GOOD}").text == GOOD


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "empty"),
        ("<think>...</think>\n\n", "empty"),
        (ENGLISH, "language: en"),
        ("The capital of France is Paris.", "language: en"),
        ("Sure!\n\n- Red apples\n- Green pears\n- Sweet cherries\n- Yellow bananas", "language: en"),
        ("Você pode. " + ENGLISH, "language: en"),
        ("Pode fritar as batatas. " * 9, "repetition"),
        ("Corte as batatas em fatias bem finas e espere.\n" * 9, "repetition"),
        ("Não sei não sei não sei não sei não sei não sei.", "repetition"),
        (f"{GOOD}<|im_end|>", "control tokens"),
        (f"{GOOD}\n<|im_end|>\n<|im_start|>user\nE agora?", "control tokens"),
        (f"{GOOD} [/INST]", "control tokens"),
        (f"{GOOD}<｜end▁of▁sentence｜>", "control tokens"),
        (f"<think>Hm {GOOD}", "control tokens"),
        (f"{GOOD}\n\n" + "!" * 2000, "repetition"),
        ("```\n" + "x = 1\n" * 100 + "```", "repetition"),
        (f"{GOOD}\n\nUser: E no forno?\n\nAssistant: No forno, asse-as durante meia hora.", "another turn"),
        (f"{GOOD}\nUser: E no forno?", "another turn"),
        (f"{GOOD}\n\nHuman: Obrigado!\n\n{GOOD[:-1]} quente.", "another turn"),
        (f"{GOOD}\n\n**User:** Obrigado!\n\n**Assistant**: De nada.", "another turn"),
        (f"{GOOD}\n\n### Instruction:\nEscreva mais.\n\n### Response:\nPois bem.", "another turn"),
        (f"{GOOD}\n\nAssistant: Também pode cozê-las.", "another turn"),
        (f"{GOOD} 😊\n\n---\n\nUSER: Obrigado!", "another turn"),
        (f"- {GOOD}\n- Prove as batatas\n\nUser : Obrigado!", "another turn"),
        ("Veja:\n\n```\nfritar(batatas)\n```\n\nUser: Obrigado!", "another turn"),
        (f"Assistant: {GOOD}", "another turn"),
        (f"{GOOD}\nuser\nE no forno?\nassistant\nNo forno, asse-as durante meia hora.", "another turn"),
        (f"{GOOD}\n\nassistant\n\nTambém pode cozê-las.", "another turn"),
        (f"assistant\n\n{GOOD}", "another turn"),
        (f"{GOOD}\x1b[2J", "control characters"),
        (f"{GOOD} \ufffd", "control characters"),
        (QUESTION, "question repeated"),
    ],
)
def test_an_answer_that_must_not_be_learned_is_a_fault(text, fault):
    assert check(text).faults == (fault,)


SAID = "User: Olá, como está?\nAssistant: Estou bem, obrigado. Em que posso ajudar?\nUser: Quero assar batatas."


@pytest.mark.parametrize(
    "text",
    [
        SAID,
        SAID.replace("\n", "\n\n").replace("User:", "**User:**"),
        f"Aqui está um exemplo:\n\n{SAID}\n\nComo se vê, o assistente responde com simpatia.",
        f"Claro! Segue um diálogo entre os dois.\n\n{SAID}",
        f"**Cena 1: na cozinha**\n\n{SAID}",
        f"## Uma noite na cozinha\n\n{SAID}",
        f"(Um robô está na cozinha. Entra uma pessoa com batatas.)\n\n{SAID}",
        # A play with other people, too.
        "Um robô está na cozinha. Entra uma pessoa.\n\nHUMAN: Boa noite!\n\nROBOT: Boa noite, que tal batatas?",
        f"{GOOD}\n\n> User: Olá!\n> Assistant: Olá!",
        f"{GOOD}\n\n```\nUser: Olá!\nAssistant: Olá!\n```",
        # No turns.
        "Preencha o ficheiro de configuração da seguinte forma.\n\nUser: maria\nPassword: a sua palavra-passe",
        f"{GOOD}\n\n**Admin:** gere todas as contas do sistema.\n\n**User:** usa o sistema todos os dias.",
        f"{GOOD}\n\n- User: quem usa o sistema todos os dias.\n- Admin: quem o gere.",
        f"{GOOD} Os papéis são estes:\n\nuser\nassistant",
        f"{GOOD}\n\n- user\n- assistant",
        f"{GOOD}\n\nUser Interface: o que se vê no ecrã quando se usa o programa.",
        f"{GOOD} User: é a palavra inglesa para quem usa um programa.",
    ],
)
def test_a_dialogue_that_was_asked_for_is_no_fault(text):
    assert check(text, "Escreva o que lhe peço.").faults == ()


def test_whether_a_dialogue_was_asked_for_is_seen_in_the_question_and_in_the_replaced_reply():
    text = f"{GOOD}\n\n{SAID}"
    assert check(text).faults == ("another turn",)
    assert check(text, "Responda, e escreva depois uma conversa: diálogo com um assistente.").faults == ()
    assert check(text, "Continue:\n\nUser: Olá!").faults == ()
    assert CHECKS.check(Answer(text), QUESTION, "Fry them.\n\nUser: Hi!\nAssistant: Hello!", "en").faults == ()


def test_an_answer_that_is_cut_off_or_withheld_or_missing_is_a_fault():
    assert check(GOOD, complete=False).faults == ("cut off",)
    assert check("", refused=True).faults == ("refused",)
    assert CHECKS.check("no answer", QUESTION).faults == ("no answer",)


def test_a_refusal_and_a_sentence_in_another_language_are_doubts():
    found = check("Desculpe, mas não posso ajudar com esse pedido porque é perigoso.")
    assert (found.faults, found.doubts) == ((), ("refused",))
    found = check(f"{GOOD} {GOOD}\n\n{ENGLISH}")
    assert (found.faults, found.doubts) == ((), ("language: en",))


CHINESE = "它是一个非常美丽的城市。有很多著名的景点。每年有很多游客去那里。"


@pytest.mark.parametrize(
    ("lang", "text", "faults", "doubts"),
    [
        # Short sentences of a script without spaces, and short answers.
        ("pt", f"Claro! A capital fica no centro do país. {CHINESE}", (), ("language: zh",)),
        ("pt", f"Claro! {CHINESE}", ("language: zh",), ()),
        ("pt", "好的，没问题，我可以帮你。", ("language: zh",), ()),
        ("pt", "I do not know, sorry.", (), ("language: en",)),
        # Words of another script in a sentence.
        ("pt", "O gato 是一种动物 que dorme muito durante o dia.", (), ("script: Hani",)),
        ("pt", "Да.", (), ("script: Cyrl",)),
        ("ar", "القطة هي نوع من الحيوانات that sleeps a lot during the day في البيت.", (), ("script: Latn",)),
        ("ko", "고양이는 一种动物 낮에 많이 잡니다.", (), ("script: Hani",)),
        # Names, quotations and symbols are in texts of all languages, and short texts of the right one.
        ("pt", "O ângulo α é de 30°, e Δx é a distância em µm.", (), ()),
        ("ar", "نشرت شركة Apple Computer لغة Swift سنة 2014 (the name of a small bird).", (), ()),
        ("ko", "하늘 천(天)은 한자입니다.", (), ()),
        ("zh", "好的，没问题。指定的宏已执行。", (), ()),
        ("ja", "はい。日本国憲法。", (), ()),
    ],
)
def test_letters_that_the_language_is_not_written_in_are_seen_in_short_sentences_too(lang, text, faults, doubts):
    found = Checks(lang, QualityLimits()).check(Answer(text), "?")
    assert (found.faults, found.doubts) == (faults, doubts)


def test_what_the_question_or_a_persons_reply_has_in_another_script_the_answer_may_too():
    text = "A palavra 猫 lê-se neko."
    assert check(text).doubts == ("script: Hani",)
    assert check(text, "Como se lê 犬?").doubts == ()
    for lang, doubts in (("en", ()), ("zh", ("script: Hani",))):
        assert CHECKS.check(Answer(text), QUESTION, "猫 is a cat.", lang).doubts == doubts


def test_an_answer_that_mostly_repeats_the_question_is_a_doubt():
    asked = "Isso foi ótimo! Eu fiz muito, aliás. Quanto tempo ele dura e posso congelá-lo?"
    found = check("Isso foi ótimo! Eu fiz muito, aliás. Quanto tempo ele posso congelá-lo.", asked)
    assert (found.faults, found.doubts) == ((), ("question repeated",))
    assert check("Ele dura três dias, e posso dizer que congelá-lo é fácil.", asked).doubts == ()


def test_what_people_answered_in_a_third_language_the_teacher_may_too():
    spanish = "Puedes cortar las patatas en rodajas finas y freírlas en una sartén con un poco de aceite."
    asked = "Responde em espanhol: como posso assar batatas?"
    assert check(spanish, asked).faults == ("language: es",)
    assert CHECKS.check(Answer(spanish), asked, spanish, "en").faults == ()
    # The reply of an English dataset is English, and its language is not asked for.
    assert CHECKS.check(Answer(ENGLISH), QUESTION, ENGLISH, "en").faults == ("language: en",)


@pytest.mark.parametrize(
    ("lang", "original"),
    [
        (
            "nb",
            "Kunstig intelligens vil i de neste ti årene endre måten vi lever på, blant annet innen helse og utdanning.",
        ),
        (
            "zh-Hant",
            "人工智慧在未來十年內將會改變我們的生活方式，包括醫療、教育和交通運輸等許多領域。我們需要認真考慮它的影響。",
        ),
        ("ca", "Doncs mira, la ciutat és gran i té museus, platges i mercats."),
    ],
)
def test_the_replaced_replys_own_language_is_no_third_one(lang, original):
    found = CHECKS.check(Answer(original), QUESTION, original, lang)
    assert len(found.faults) == 1 and found.faults[0].startswith("language: ")
    assert not CHECKS.check(Answer(original), QUESTION, original, "en").faults


def test_an_answer_in_english_is_found_in_a_language_that_lid176_does_not_know():
    checks = Checks("zu", QualityLimits())
    for good in (
        "Ungalungisa kanjani amazambane ngaphandle kwehhavini?",
        "Ngiyabonga kakhulu ngosizo lwakho namhlanje.",
    ):
        assert not checks.check(Answer(good), QUESTION, ENGLISH, "en").faults
    assert checks.check(Answer(ENGLISH), QUESTION, ENGLISH, "en").faults == ("language: en",)
