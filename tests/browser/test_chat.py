"""Tests of the page to chat in, in a real browser: by keyboard alone, at two widths, in both directions of text."""

import itertools

import pytest
from report_runs import TEXTS
from serving import scripted
from waiting import until

from mothertongue.formats.votes import read_votes
from mothertongue.serving.requests import Refusal

WIDTHS = (1280, 390)
HOSTILE = (
    "<script>console.log('run')</script><img src=http://example.org/x.png onerror=alert(1)> **a** &amp; \u202eb"
    + "x" * 400
)
OUTSIDE = """() => [...document.querySelectorAll("body *")].filter(one => one.checkVisibility() && !one.matches(".skip")
    && one.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(one => one.outerHTML.slice(0, 200))"""
FOCUSED = """() => {
    const one = document.activeElement, style = getComputedStyle(one);
    const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    return [one.id || one.textContent.trim(), seen];
}"""


def say(asked):
    number = sum(message["role"] == "user" for message in asked.messages)
    return f"Antwoord {number} van {asked.model}"


@pytest.fixture
def serve(tmp_path):
    """Yield a function that starts a server whose answers a test directs."""
    running = []

    def start(say=say, votes=tmp_path / "votes.jsonl", **more):
        running.append(scripted(say, votes, **more))
        return running[-1].__enter__()

    yield start
    for one in running:
        one.__exit__(None, None, None)


def ready(page):
    page.locator("#served", has_text="results/nl/adapter").wait_for()


def ask(page, question):
    """Ask as somebody does with a keyboard, who is in the field for messages."""
    page.keyboard.insert_text(question)
    page.keyboard.press("Enter")
    page.locator(".turn", has_text=question).last.wait_for()
    page.locator("#send").wait_for()


def tab_to(page, name):
    """Press Tab until a control has the focus."""
    for _ in range(20):
        if page.evaluate("document.activeElement.id") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{name} is not reached")


def fits(page, width):
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(OUTSIDE) == []


def texts(page, of):
    return page.locator(of).all_inner_texts()


def test_without_a_base_model_nothing_is_compared(serve, open_address):
    page = open_address(serve(models=("adapter",))[0])
    ready(page)
    assert not page.locator("#both").is_visible() and not page.locator("#blind").is_visible()
    ask(page, "Hoi!")
    assert texts(page, ".answer .text") == ["Antwoord 1 van adapter"]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_conversation_by_keyboard_alone(serve, open_address, width):
    address, talker = serve()
    page = open_address(address, width)
    ready(page)
    page.keyboard.insert_text("Hoi")
    page.keyboard.press("Shift+Enter")
    ask(page, "daar!")
    ask(page, "En nu?")
    assert texts(page, ".question") == ["Hoi\ndaar!", "En nu?"]
    assert texts(page, ".answer .text") == ["Antwoord 1 van adapter", "Antwoord 2 van adapter"]
    assert talker.asked[-1].messages == [
        {"role": "system", "content": "Wees kort."},
        {"role": "user", "content": "Hoi\ndaar!"},
        {"role": "assistant", "content": "Antwoord 1 van adapter"},
        {"role": "user", "content": "En nu?"},
    ]
    assert "Antwoord 2 van adapter" in page.locator("[role=status]").inner_text()
    fits(page, width)
    # Every control is reached in order, seen when it is, and has a name.
    page.keyboard.press("Tab")
    page.evaluate("document.activeElement.blur(); document.querySelector('.skip').focus()")
    reached = []
    while not reached or reached[-1][0] != "send":
        reached.append(page.evaluate(FOCUSED))
        page.keyboard.press("Tab")
    names = [name for name, _ in reached]
    assert names[0] == "Skip to the message" and all(seen for _, seen in reached)
    assert [name for name in names if name in ("new", "System prompt", "message", "send")] == [
        "new",
        "System prompt",
        "message",
        "send",
    ]
    nameless = "[...document.querySelectorAll('input, textarea, button')].filter(one => !one.labels?.length && !one.textContent.trim())"
    assert page.evaluate(f"{nameless}.length") == 0
    # The system prompt can be changed, and left out.
    tab_to(page, "new")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.locator("#system").input_value() == "Wees kort."
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    tab_to(page, "new")
    page.keyboard.press("Enter")
    assert page.locator(".turn").count() == 0
    ask(page, "Nog eens")
    assert [message["content"] for message in talker.asked[-1].messages] == ["", "Nog eens"]
    fits(page, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_blind_comparison_by_keyboard_alone(serve, open_address, tmp_path, width):
    address, talker = serve()
    page = open_address(address, width)
    ready(page)
    tab_to(page, "both")
    page.keyboard.press("Space")
    tab_to(page, "message")
    left = set()
    keys = itertools.cycle("1234")
    number = 0
    # The order is drawn for each question.
    while number < 4 or len(left) < 2:
        number += 1
        assert number < 40
        ask(page, f"Vraag {number}")
        turn = page.locator(".turn").last
        turn.locator(".votes").wait_for()
        assert turn.locator("h2").all_inner_texts() == ["A", "B"]
        sides = [text.split()[-1] for text in turn.locator(".answer .text").all_inner_texts()]
        assert [asked.model for asked in talker.asked[-2:]] == sides
        assert page.evaluate("document.activeElement.className") == "votes" and page.evaluate(FOCUSED)[1]
        # Enter, pressed once more by habit, is no vote.
        page.keyboard.press("Enter")
        fits(page, width)
        key = next(keys)
        assert (
            len(read_votes(tmp_path / "votes.jsonl")) == number - 1
            if number > 1
            else not (tmp_path / "votes.jsonl").exists()
        )
        page.keyboard.press(key)
        turn.locator(".note", has_text="Your vote").wait_for()
        names = {"adapter": "Adapter", "base": "Base model"}
        assert turn.locator("h2").all_inner_texts() == [
            f"{letter}: {names[side]}" for letter, side in zip("AB", sides, strict=True)
        ]
        vote = read_votes(tmp_path / "votes.jsonl")[-1]
        assert (vote.left, vote.blind) == (sides[0], True)
        assert vote.vote == {"1": sides[0], "2": sides[1], "3": "tie", "4": "both bad"}[key]
        assert vote.answers == {side: f"Antwoord {number} van {side}" for side in names}
        for side in names:
            expected = next(one for one in talker.asked[-2:] if one.model == side).messages
            assert vote.asked(side) == expected
        assert page.evaluate("document.activeElement.id") == "message"
        left.add(sides[0])
    first, second = read_votes(tmp_path / "votes.jsonl")[:2]
    assert first.conversations is None and [turn["content"] for turn in first.messages] == ["Wees kort.", "Vraag 1"]
    # From the second question on, each side has its own answers before.
    assert [turn["content"] for turn in second.messages] == ["Wees kort.", "Vraag 1", "Vraag 2"]
    assert second.conversations["base"][2]["content"] == "Antwoord 1 van base"
    assert len(read_votes(tmp_path / "votes.jsonl")) == number


def test_digits_in_the_message_are_no_vote_and_names_can_be_shown(serve, open_address, tmp_path):
    address, _ = serve()
    page = open_address(address)
    ready(page)
    page.check("#both")
    page.uncheck("#blind")
    page.locator("#message").focus()
    ask(page, "Hoeveel is 1 + 1?")
    page.locator(".votes").wait_for()
    assert texts(page, ".answer h2") == ["Adapter", "Base model"]
    page.locator("#message").focus()
    page.keyboard.type("1234")
    page.keyboard.press("Enter")
    page.locator(".turn").nth(1).locator(".votes").wait_for()
    assert not (tmp_path / "votes.jsonl").exists() and page.locator(".votes").count() == 1
    page.get_by_role("button", name="Base model is better").click()
    page.locator(".note", has_text="Your vote").wait_for()
    (vote,) = read_votes(tmp_path / "votes.jsonl")
    assert (vote.vote, vote.left, vote.blind) == ("base", "adapter", False)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("lang", ["ar", "he"])
def test_text_has_the_direction_of_its_language(serve, open_address, lang, width):
    question, answer = TEXTS[lang]
    address, _ = serve(lambda asked: f"{answer}\nAnd English.", language=lang)
    page = open_address(address, width)
    ready(page)
    page.check("#both")
    page.locator("#message").focus()
    page.keyboard.insert_text(question)
    assert page.evaluate("getComputedStyle(document.getElementById('message')).direction") == "rtl"
    page.keyboard.press("Enter")
    page.locator(".votes").wait_for()
    for text in page.locator(".question, .answer .text").all():
        assert text.get_attribute("lang") == lang
        assert text.evaluate("one => getComputedStyle(one).direction") == "rtl"
    # Each paragraph has the side of its own first letter.
    sides = page.locator(".answer .text").first.evaluate("""one => {
        const box = one.getBoundingClientRect(), range = document.createRange(), text = one.firstChild;
        return [0, text.data.indexOf("And")].map(at => {
            range.setStart(text, at); range.setEnd(text, at + 1);
            const letter = range.getBoundingClientRect();
            return letter.left - box.left < box.right - letter.right ? "left" : "right";
        });
    }""")
    assert sides == ["right", "left"]
    assert page.evaluate("getComputedStyle(document.body).direction") == "ltr"
    fits(page, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_markup_in_answers_and_questions_is_shown_as_text(serve, open_address, width):
    address, _ = serve(lambda asked: HOSTILE)
    page = open_address(address, width)
    ready(page)
    page.check("#both")
    page.locator("#message").focus()
    page.keyboard.insert_text(HOSTILE)
    page.keyboard.press("Enter")
    page.locator(".votes").wait_for()
    assert texts(page, ".question, .answer .text") == [HOSTILE] * 3
    assert page.locator("script").count() == 1 and page.locator("img, [onerror]").count() == 0
    fits(page, width)


def test_an_answer_can_be_stopped_and_what_was_said_stays_in_the_conversation(serve, open_address, tmp_path):
    address, talker = serve()
    page = open_address(address)
    ready(page)
    talker.goes_on.clear()
    page.keyboard.insert_text("Hoi")
    page.keyboard.press("Enter")
    page.locator(".answer .text", has_text="Ant").wait_for()
    page.keyboard.press("Escape")
    page.locator(".note", has_text="stopped").wait_for()
    until(lambda: talker.left == 1, 10)
    page.keyboard.insert_text("En nu")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Stop").click()
    page.locator("#send").wait_for()
    until(lambda: talker.backend.unfinished == 0, 10)
    talker.goes_on.set()
    page.locator("#message").focus()
    ask(page, "Verder")
    assert [message["content"] for message in talker.asked[-1].messages][:3] == ["Wees kort.", "Hoi", "Ant"]
    # What was stopped cannot be voted on.
    page.locator("#new").click()
    page.check("#both")
    talker.goes_on.clear()
    page.locator("#message").focus()
    page.keyboard.insert_text("Hoi")
    page.keyboard.press("Enter")
    page.locator(".answer .text", has_text="Ant").wait_for()
    page.keyboard.press("Escape")
    page.locator("#send").wait_for()
    assert page.locator(".votes").count() == 0 and not (tmp_path / "votes.jsonl").exists()
    assert "no part of the conversation" in page.locator(".turn").inner_text()


def test_errors_are_told_and_nothing_that_was_written_is_lost(serve, open_address, tmp_path):
    def refuse(asked):
        if "lang" in asked.messages[-1]["content"]:
            raise Refusal("the conversation is <b>too long</b>")
        return say(asked)

    votes = tmp_path / "later" / "votes.jsonl"
    address, talker = serve(refuse, votes)
    page = open_address(address, expected=("status of 400", "status of 500"))
    ready(page)
    page.check("#both")
    page.locator("#message").focus()
    ask(page, "Hoi")
    page.locator(".votes").wait_for()
    page.keyboard.press("3")
    page.locator(".failed", has_text="The vote is not kept: cannot write").wait_for()
    votes.parent.mkdir()
    page.keyboard.press("3")
    page.locator(".note", has_text="Your vote: A tie").wait_for()
    assert [vote.vote for vote in read_votes(votes)] == ["tie"]
    ask(page, "Te lang")
    assert page.locator(".failed").first.inner_text() == "the conversation is <b>too long</b>"
    assert page.locator("#message").input_value() == "Te lang"
    page.keyboard.press("Control+A")
    ask(page, "Kort")
    said = [message["content"] for message in talker.asked[-1].messages]
    assert "Te lang" not in said and said[-1] == "Kort"


@pytest.mark.parametrize("key", ["1", "3"])
def test_a_vote_whose_answer_was_lost_counts_once(serve, open_address, tmp_path, key):
    address, _ = serve()
    page = open_address(address, expected=("ERR_FAILED", "status of 409"))
    ready(page)
    page.check("#both")
    page.locator("#message").focus()
    ask(page, "Hoi")
    page.locator(".votes").wait_for()

    def lose(route):
        route.fetch()
        route.abort()

    page.route("**/votes", lose, times=1)
    page.keyboard.press("1")
    page.locator(".failed", has_text="No answer says whether the vote is kept").wait_for()
    page.keyboard.press(key)
    note = page.locator(".note", has_text="Your vote: A is better")
    note.wait_for()
    assert ("the first one had arrived, and stays" in note.inner_text()) == (key == "3")
    assert (
        page.locator(".answer").first.get_attribute("class") == "answer chosen" and not page.locator(".votes").count()
    )
    # The next comparison is another one.
    ask(page, "En nu?")
    page.locator(".votes").wait_for()
    page.keyboard.press("4")
    page.locator(".note", has_text="Your vote: Both bad").wait_for()
    first, second = read_votes(tmp_path / "votes.jsonl")
    assert (first.vote, second.vote) == (first.left, "both bad") and first.id != second.id


def test_a_key_is_asked_for(serve, open_address):
    address, _ = serve(key="sk-canary")
    page = open_address(address, expected=("status of 401",))
    page.get_by_label("This server asks for its key").wait_for()
    page.keyboard.insert_text("sk-other")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+A")
    page.keyboard.insert_text("sk-canary")
    page.keyboard.press("Enter")
    ready(page)
    ask(page, "Hoi")
    assert texts(page, ".answer .text") == ["Antwoord 1 van adapter"]
    assert not page.get_by_label("This server asks for its key").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read(serve, open_address, scheme):
    address, _ = serve()
    page = open_address(address, color_scheme=scheme)
    colours = page.evaluate("""() => Object.fromEntries(
        ["back", "box", "text", "quiet", "accent", "on-accent", "asked", "chosen", "bad"].map(name =>
            [name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()]))""")

    def luminance(name):
        parts = [int(colours[name][at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for text, back in (*itertools.product(["text", "quiet"], ["back", "box"]), ("text", "asked"), ("text", "chosen"),
        ("quiet", "chosen"), ("accent", "back"), ("on-accent", "accent"), ("bad", "box"), ("bad", "back")):  # fmt: skip
        low, high = sorted((luminance(text), luminance(back)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, back)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(250, 250, 248)"
    assert dark == (scheme == "dark")


def test_a_page_of_another_site_in_the_same_browser_can_neither_chat_nor_vote(serve, chromium, tmp_path):
    address, talker = serve()
    context = chromium.new_context()
    context.route("http://evil.example/", lambda route: route.fulfill(body="<p>hello", content_type="text/html"))
    page = context.new_page()
    page.goto("http://evil.example/")
    for path in ("/votes", "/v1/chat/completions"):
        for options in (
            "{method: 'POST', mode: 'no-cors', body: '{}'}",
            "{method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'}",
        ):
            page.evaluate(f"fetch('{address}{path}', {options}).catch(() => null)")
        page.evaluate(f"navigator.sendBeacon('{address}{path}', '{{}}')")
    assert page.evaluate(f"fetch('{address}/settings').catch(() => 'blocked')") == "blocked"
    page.evaluate(
        f"document.body.innerHTML = '<form method=post enctype=text/plain action={address}/votes><input name=a></form>'"
    )
    page.evaluate("document.forms[0].submit()")
    page.wait_for_url(f"{address}/votes")
    assert "a page of another site cannot ask this server" in page.inner_text("body")
    # Nor can it show the page inside of its own.
    page.goto("http://evil.example/")
    page.evaluate(f"document.body.innerHTML = '<iframe src={address}/></iframe>'")
    page.wait_for_timeout(300)
    assert all(frame.evaluate("document.querySelector('#message')") is None for frame in page.frames[1:])
    assert not talker.asked and not (tmp_path / "votes.jsonl").exists()
    context.close()
