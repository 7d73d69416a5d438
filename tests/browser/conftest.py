"""Fixtures: a real headless Chromium without network access."""

import shutil

import pytest

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


# Of one module: while Playwright runs, no other test of this process can start an event loop.
@pytest.fixture(scope="module")
def chromium():
    if not CHROMIUM:
        pytest.skip("no Chromium is installed; on Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Yield a function that opens a file at a width; fail if the page loads another file or logs to the console."""
    contexts = []

    def open_(path, width=1280):
        asked, said = [], []
        context = chromium.new_context(viewport={"width": width, "height": 900}, offline=True)
        contexts.append((context, asked, said))
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
        return page

    yield open_
    for context, asked, said in contexts:
        assert not said and not [url for url in asked if not url.startswith(("data:", "file:"))]
        context.close()


@pytest.fixture
def open_address(chromium):
    """Yield a function that opens a server's page; fail if it loads anything from elsewhere or logs to the console."""
    contexts = []

    def open_(address, width=1280, expected=(), **more):
        asked, said = [], []
        context = chromium.new_context(viewport={"width": width, "height": 844}, **more)
        contexts.append((context, address, expected, asked, said))
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        return page

    yield open_
    for context, address, expected, asked, said in contexts:
        # Chromium itself logs responses with an error.
        assert [line for line in said if not any(part in line for part in expected)] == []
        assert [url for url in asked if not url.startswith((f"{address}/", "data:"))] == []
        context.close()
