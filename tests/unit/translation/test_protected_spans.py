"""Tests of protected spans: code, markup and data are kept, the prose around them is translated."""

import re
from pathlib import Path

import pytest
from translators import translated

from mothertongue.translation import protected_spans


def shouted(text, lang="en"):
    """Translate a message with a model that converts words to upper case and keeps placeholders."""

    def model(batch):
        return [re.sub(r"(?<!\w)(?!XQ\d)\w+", lambda word: word[0].upper(), segment) for segment in batch]

    (result,) = translated([text], model, source=lang)
    return result.text


def kept(text, lang="zh"):
    return [text[start:end] for start, end in protected_spans.spans(text, lang)]


KEPT = [
    "```python\nprint('Hello. World')\n```",
    "~~~\nsome code\n~~~",
    "- \n  ```bash\n  ls -l all\n  ```",
    "> ```\n> quoted code\n> ```",
    "\n    indented_code\n    more of it\n",
    "1.\n\n        pip install foo\n        cd foo\n",
    "\n    name,age,city\n    Ann,31,Leeds",
    "def area(r):\n    # the area of a disc\n    return 3.14 * r ** 2\n\nprint(area(2))",
    "import numpy as np\n\nx = np.zeros(3)  # nothing\ny = x.sum()",
    '#include <stdio.h>\nint main(void) {\n    printf("hello world");\n    return 0;\n}',
    "SELECT name FROM users\nWHERE id = 5;",
    '{\n  "name": "John Smith",\n  "tags": ["good", "old"]\n}',
    ".box {\n  color: red;\n}",
    "sudo apt-get install some-package",
    'value = float(input("Enter a value: "))',
    "$ git status",
    "$ which python",
    'print("hello world")\nprint("good bye")',
    "import os\nimport sys",
    "def square(x):\nreturn x**2",
    'let name = "Bob Smith";',
    "SELECT name, age FROM users WHERE age > 30 ORDER BY name;",
    "UPDATE users SET age = 5 WHERE name = 'Ann';",
    "systemctl start nginx",
    "cd my-app\nnpm start",
    "git status",
    "git add .",
    "docker-compose up -d",
    "ls -la",
    "4. chmod +x script.sh",
    "1. pip install numpy\n2. git add .",
    '{"role": "user", "content": "Hi there"}',
    '>>> print("one", end="")\n>>> x.append("two")',
    "$$\n\\frac{a}{b} is a fraction\n$$",
    "\\[\n x = \\text{size} \\\\[1em]\n\\]",
    "\\begin{align}\na &= b \\text{ if so}\n\\begin{cases} one \\end{cases}\n\\end{align}",
    "https://www.wikipedia.org/wiki/Some_Page_(film)",
    "<https://example.org/a b>",
    "`inline code only`",
    "<!-- a comment -->",
    "<pre>\nlet it = be\n</pre>",
    '<img\n  src="some picture.png"\n  alt="">',
    "|---|:---:|",
    "| 50°F | A | x = 1 |",
    "🙂🎉👍🏽👩‍👩‍👧🇧🇷1️⃣",
    "12 + 30 = 42",
    "    /\\_/\\\n   ( o.o )\n    > ^ <",
]


@pytest.mark.parametrize("text", KEPT)
def test_code_links_formulas_and_drawings_are_kept(text):
    assert shouted(f"One line.\n\n{text}\n\nAnother line.") == f"ONE LINE.\n\n{text}\n\nANOTHER LINE."


@pytest.mark.parametrize(
    "span",
    [
        "`foo bar`", "``a ` b``", "`foo\nbar`", "```r```", "$a+b$", "$\\alpha$", "\\(x+y\\)", "\\[ a = b \\]", "$$ x^2 $$", "\\frac{a}{b}",
        "https://a.org/x_(y)", "www.example.com/path", "apps.example.net", "me@example.org", "me@host:~/folder/file", "ftp://x.y/z",
        "&amp;", "&#60;", "<br>", '<a href="x y">', "<code>let x</code>", "<user_id>", "<?php echo ?>", "[INST]", "<|im_start|>", "</s>", "<<SYS>>",
        "foo_bar", "foo_bar(x, y)", "function()", "obj.method(x)", "getUserName", "isEven(n)", "--dry-run", "~/.bashrc", "/etc/hosts", "./run.sh",
        "C:\\Users\\me", "$HOME", "${path}", "9f86d081884c7d659a2feaa0c55ad015", "e0cf4fa2-e944-44fb-b502-11f155062092", "1-2/3 = 1/3",
        "m²", "→", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "\ud83d", "\uf8ff", "\x07",
    ],
    ids=ascii,
)  # fmt: skip
def test_spans_inside_a_sentence_are_kept(span):
    assert shouted(f"See {span} for it, then go on.") == f"SEE {span} FOR IT, THEN GO ON."


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 and $10, or 20$ and 30$, or $$ and more $$ of it.",
        "Set \\[optional\\] and \\(other\\) values.",
        "Tell <insert your name here> and [Name] and the words and he/she and/or it.",
        "el hombre --dijo ella-- se fue",
        "A lone ` tick, and another\n\nparagraph with ` one.",
        "- one ` here\n- two ` there",
        "The JavaScript of iPhones and LeBron (see e.g. page 3) is semi-automatic, state-of-the-art.",
        "    This is an indented paragraph of prose (with an aside).\n    Money (64%)\n    Python",
        "1. first\n\n    more of the first, indented\n    - nested",
        "Roses are red;\nviolets are blue;",
        "Options:\n\n    yes\n    no\n    maybe later",
        "Buy:\n\n    milk, eggs\n    bread\n    butter",
        "Haiku:\n\n    old silent pond\n    a frog jumps in\n    splash again",
        "\ttwinkle, twinkle\n\tlittle star",
        "npm install will download all of the packages that you need",
        "docker run starts a new container from an image",
        "python example.py runs the program and prints the answer",
        "sudo is a command which gives you more rights",
        "$ and € are currencies",
        "git add is the command you want (see below)",
        "curl -O saves the file with its own name, and curl -o lets you choose one",
        "git clone kopiert das Archiv",
        "Roles(Admin): can do it;\nRoles(User): can not;",
        "Monday = rest;\nTuesday = run;",
        "Mercury -> Venus -> Earth\nA => B => C in words",
        "set A = {apples, pears}\nset B = {plums, figs}",
        "Here is code:\nimport x\n```\nThis code does stuff. It prints text and then ends.",
        "Unclosed\n```\nThis is a paragraph about my holidays.\n\nAnd this is another about my work.",
        "- milk, two litres (cold);\n- items;",
        "import duties rose\nand fell again",
        "# Heading\n\nif you like it, then go",
        "Total = 50\n\nSpeed = distance over time",
        "~~~~~~~~~~\nchapter one\n~~~~~~~~~~\nthe story",
        "put three backticks ```\nbefore it",
        "One line\rand another\u2028and more",
        "A | B or C",
        "<Scene: The hero enters the dark room> and <Enter your name: here>",
        "<don't read this text at all> and <your name or e-mail>",
        "I paid $20 = 2 hours of work, she paid 50$ more.",
    ],
)
def test_prose_is_translated(text):
    assert shouted(text) == re.sub(r"\w+", lambda word: word[0].upper(), text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Here: ```python\nfor x in y:\n    print(x)\n```\nDone now.",
            "HERE: ```python\nfor x in y:\n    print(x)\n```\nDONE NOW.",
        ),
        ("```python\nprint(1)```\nProse here.", "```python\nprint(1)```\nPROSE HERE."),
        ("Never closed:\n```\ncode\n\nand more", "NEVER CLOSED:\n```\ncode\n\nand more"),
        ("```\ncode\n``` And prose.\nMore.", "```\ncode\n``` AND PROSE.\nMORE."),
        (
            "A stray one:\n```\nNow some words of prose follow.\n```python\nprint(1)\n```\nDone now.",
            "A STRAY ONE:\n```\nNOW SOME WORDS OF PROSE FOLLOW.\n```python\nprint(1)\n```\nDONE NOW.",
        ),
        ("```\nHere some words of prose stand.\n```\nMore.", "```\nHere some words of prose stand.\n```\nMORE."),
        ("Use `<pre>` and `</pre>` now.", "USE `<pre>` AND `</pre>` NOW."),
        ("Use <svg> for drawings, then </svg> it.", "USE <svg> FOR DRAWINGS, THEN </svg> IT."),
        ("Try <svg><path d=x></svg> now.", "TRY <svg><path d=x></svg> NOW."),
        ("the $n$th of <b>bold</b> words", "THE $n$TH OF <b>BOLD</b> WORDS"),
        ('See [it](img.png "A title") now.', 'SEE [IT](img.png "A title") NOW.'),
        ("Its ![alt](a.png), [ref][one].", "ITS ![ALT](a.png), [REF][one]."),
        ("(see https://a.org/b.)", "(SEE https://a.org/b.)"),
        (
            "Run this:\nfor i in range(3):\n    print(i)\nit fails",
            "RUN THIS:\nfor i in range(3):\n    print(i)\nIT FAILS",
        ),
        ("`foo` - a name: `bar`", "`foo` - A NAME: `bar`"),
        ("in 2020\n- 3 items", "IN 2020\n- 3 ITEMS"),
        ("one   two\tthree  four", "ONE   TWO\tTHREE FOUR"),
        ("1. **Flour**: two cups\n* **Eggs** - three", "1. **FLOUR**: TWO CUPS\n* **EGGS** - THREE"),
        ("**Note:** all good.\n__All bold. Here__", "**NOTE:** ALL GOOD.\n__ALL BOLD. HERE__"),
        ("| `a|b` | **xx yy** |\n|--|--|\n| cc \\| dd |  ee|", "| `a|b` | **XX YY** |\n|--|--|\n| CC \\| DD |  EE|"),
        ("## Title here ##\n\n* [x] done\n> > - [ ] open", "## TITLE HERE ##\n\n* [x] DONE\n> > - [ ] OPEN"),
        ("[^note]: a footnote\nand its mark[^note]", "[^note]: A FOOTNOTE\nAND ITS MARK[^note]"),
        ("(a) first\n1.) second\n**3.** third\n=>fourth", "(a) FIRST\n1.) SECOND\n**3.** THIRD\n=>FOURTH"),
    ],
)
def test_prose_next_to_code_is_translated(text, expected):
    assert shouted(text) == expected


def test_markers_tables_and_blank_lines_keep_their_place():
    text = (
        "# Title of it\n\n- first thing\n  1. second thing\n> quoted words\n\n\n"
        "| one cell | two |\n|---|---|\n| three | `x` |\n\r\nEnd 🙂 here.  \n"
    )
    (result,) = translated([text], lambda batch: ["T" for _ in batch])
    assert result.text == ("# T\n\n- T\n  1. T\n> T\n\n\n| T | T |\n|---|---|\n| T | `x` |\n\r\nT 🙂 T  \n")


def test_spans_are_found_in_text_of_other_scripts():
    assert shouted("Используй foo_bar() или нет.", "ru") == "ИСПОЛЬЗУЙ foo_bar() ИЛИ НЕТ."
    assert shouted("Молоко (два литра);\nхлеб;", "ru") == "МОЛОКО (ДВА ЛИТРА);\nХЛЕБ;"
    text = "看https://a.org/b。温度±5度，运行foo_bar(x)，写信给foo@bar.com吧！函数(function)和方法(method)；"
    assert kept(text) == ["https://a.org/b", "±5", "foo_bar(x)", "foo@bar.com"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is 0.6 μm, and Σ (x-μ)² of (γ-Fe).", ["0.6 μm", "Σ", "x-μ", "²", "γ-Fe"]),
        ("→https://a.org/b and 5×7", ["→https://a.org/b", "5×7"]),
        ("A ½ cup, © 2020, §5, 5µm", ["½", "©", "§5", "5µm"]),
        ("C# and SDR# for #travel, #1 of the (#2)", ["C#", "SDR#", "#travel", "#1", "#2"]),
        (
            "The {U}{B} deck for {{ name }}, {% if x %} and {user.name}.",
            ["{U}{B}", "{{ name }}", "{% if x %}", "{user.name}"],
        ),
        ("5 \\* 3 is \\_good\\_ for \\$5.50, snake\\_case_name", ["\\*", "\\_", "\\_", "\\$5.50", "snake\\_case_name"]),
        ("cook 2-3 minutes on 2023-02-07, 10:30 - 11:45, 1/2 cup of 50-60%", []),
        (
            "so 12 + 30 = 42 and 5-3 = 2, (1-3)^2 + (2)^2, 3 × (4), 50% + 20%",
            ["12 + 30 = 42", "5-3 = 2", "(1-3)^2 + (2)^2", "3 × (4)", "50% + 20%"],
        ),
        ('Use =SUM(A1:A10) or =IF(AND(A1>5,B1),"yes","no") in B2', ["=SUM(A1:A10)", '=IF(AND(A1>5,B1),"yes","no")']),
        (
            r"in C:\Program Files\Foo\bar.exe and C:\temp or ^[a-z]+\d{2,3}$ for #00FF00",
            [r"C:\Program Files\Foo\bar.exe", r"C:\temp", r"^[a-z]+\d{2,3}$", "#00FF00"],
        ),
        ("a ~~b c~~ d; a code block (```).", ["~~", "~~", "```"]),
        ('the kanji "mountain" (山) is 山さん', ["山", "山さん"]),
        ("Say שלום עולם, or «Как дела?» to a USB-порт", ["שלום עולם", "Как дела", "порт"]),
        ("Wait {not this one} or # that, issue#5, 5#", []),
    ],
)
def test_characters_that_small_models_lose_are_kept(text, expected):
    assert kept(text, "en") == expected


def test_no_script_is_foreign_in_its_own_language():
    assert kept("Ο κόσμος, α.", "el") == kept("Привет, мир!", "ru") == kept("안녕 세계", "ko") == []
    assert kept("угол α, 5 μм", "ru") == ["α", "5 μм"]
    assert kept("Не английский, хотя так названо: mistake", "en") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("已知$x=2$，求$x^2+1$的值", ["$x=2$", "$x^2+1$"]),
        ("値は$n$個です。", ["$n$"]),
        ("값은 $x^2$입니다.", ["$x^2$"]),
        ("ค่า$x^2$คือ", ["$x^2$"]),
        ("而\\alpha是角度", ["\\alpha"]),
        ("访问www.baidu.com查询，或example.org吧", ["www.baidu.com", "example.org"]),
        ("使用camelCase命名，加--dry-run选项", ["camelCase", "--dry-run"]),
        ("比例是1/2+3/5之间", ["1/2+3/5"]),
        ("请访问https://example.com了解更多信息,谢谢。", ["https://example.com"]),
        ("https://example.com/pathをご覧ください。", ["https://example.com/path"]),
        (
            "http://example.jp/を見てください。www.example.jp/をwww.example.jp.",
            ["http://example.jp/", "www.example.jp/", "www.example.jp"],
        ),
        ("https://example.org/ar؟", ["https://example.org/ar"]),
        ("https://example.kr에서 ", ["https://example.kr"]),
        ("https://example.comสำหรับข้อมูล", ["https://example.com"]),
        ("见https://zh.example.org/wiki/日本#历史。", ["https://zh.example.org/wiki/日本#历史"]),
    ],
)
def test_spans_are_found_without_spaces_around_them(text, expected):
    assert kept(text) == expected


def test_no_pattern_repeats_a_group_possessively():
    """Python before 3.11.5, as in Debian 12, matches such patterns incorrectly."""
    for path in Path("scripts").rglob("*.py"):
        found = re.search(r"(?<!\\)\)(?:[*+?]|\{+[0-9,]+\}+)\+", path.read_text(encoding="utf-8"))
        assert not found, f"{path}: {found}"
