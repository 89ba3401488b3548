"""A real browser over the real web and a real database. Without a chromium these tests are skipped.

What always holds: a page that logs an error, throws, loses a request, is answered with an error, asks any other host or
breaks the content security policy fails its test. Whatever a test wants of the database it asks before the browser
starts or after it has ended (Django refuses both at once).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Request, Response, sync_playwright

from tests.conftest import CommittedDatabase
from tests.screens.showcase import Showcase, build_showcase
from tests.servers import Simulator
from trading.models import Account
from trading.services import people
from trading.services.audit import Actor
from trading.services.setup import ensure_account

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
COLOURS = 256
# Chromium tells of a broken policy on the console too; the event names the directive.
WATCH_POLICY = """
document.addEventListener("securitypolicyviolation", event =>
    console.error(`policy ${event.violatedDirective} broken by ${event.blockedURI} in ${event.sourceFile}`));
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here; skip it where there is no browser."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.screens)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="no chromium on this machine: the screen tests are not run"))


@dataclass
class Screens:
    """The web under a browser: its address, the demo cast's passwords, and where pictures go."""

    url: str
    passwords: dict[str, str]
    pictures: Path | None
    clicks: list[str] = field(default_factory=list)

    def window(self, browser: Browser, theme: str = "light", width: int = 1400, height: int = 1000) -> Page:
        """A fresh window on the sign-in page."""
        page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme).new_page()  # type: ignore[arg-type]
        page.goto(f"{self.url}/admin/")
        return page

    def sign_in(self, browser: Browser, name: str, theme: str = "light", **size: int) -> Page:
        """A fresh window in which somebody has signed in."""
        page = self.window(browser, theme, **size)
        self.fill_in(page, name)
        page.click("input[type=submit]")
        page.wait_for_selector("#user-tools")
        return page

    def fill_in(self, page: Page, name: str) -> None:
        """Type name and password."""
        page.fill("#id_username", name)
        page.fill("#id_password", self.passwords[name])

    def click(self, page: Page, what: str) -> None:
        """A click that a person would make: counted."""
        self.clicks.append(what)
        page.click(what)

    def picture(self, page: Page, name: str, *, whole: bool = True) -> Path | None:
        """Keep what the page looks like, where pictures are wanted: with few colours, so that they are small."""
        if self.pictures is None:
            return None
        path = self.pictures / f"{name}.png"
        page.screenshot(path=path, full_page=whole)
        with Image.open(path) as taken:
            taken.convert("RGB").quantize(COLOURS, kmeans=1).save(path, optimize=True)
        return path


@pytest.fixture
def screens(web: str, committed_db: CommittedDatabase, settings: Any) -> Screens:
    """The web with the demo cast, running its demo. Pictures are taken where BACKOFFICE_PICTURES names a directory."""
    settings.BACKOFFICE_DEMO = True
    cast = people.seed_demo_cast(actor=Actor.system("test"))
    wanted = os.environ.get("BACKOFFICE_PICTURES")
    if wanted:
        Path(wanted).mkdir(parents=True, exist_ok=True)
    passwords = {member.username: member.password or "" for member in cast}
    return Screens(web, passwords, Path(wanted) if wanted else None)


@pytest.fixture
def account(screens: Screens, simulator: Simulator) -> Account:
    """One account at the simulator, reconciled by nobody yet."""
    return ensure_account(
        name="oanda-simulator",
        broker=Account.Broker.OANDA,
        environment=Account.Environment.SIMULATOR,
        external_id=simulator.account,
        currency="USD",
        endpoint=simulator.oanda_url,
    )


@pytest.fixture
def showcase(screens: Screens) -> Showcase:
    """A desk in full life; a week of it only for pictures."""
    return build_showcase() if screens.pictures else build_showcase(trades=3)


def failure_of(request: Request) -> list[str]:
    """What went wrong with a request; one that ended because its page was left is nothing."""
    why = request.failure or ""
    return [] if "ERR_ABORTED" in why else [f"{request.url}: {why}"]


@pytest.fixture
def chromium(web: str) -> Callable[[], AbstractContextManager[Browser]]:
    """Opens a browser that notices everything that goes wrong on a page."""

    @contextmanager
    def open_browser() -> Iterator[Browser]:
        wrong: list[str] = []

        def refused(response: Response) -> None:
            if response.status >= 400:
                wrong.append(f"{response.url}: {response.status}")

        def watch(page: Page) -> None:
            page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
            page.on("requestfailed", lambda request: wrong.extend(failure_of(request)))
            page.on("response", refused)
            page.on("console", lambda told: wrong.append(f"{page.url}: {told.text}") if told.type == "error" else None)
            page.on("request", lambda request: None if request.url.startswith(web) else wrong.append(request.url))

        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            make = browser.new_context

            def new_context(**options: Any) -> Any:
                context = make(**options)
                context.add_init_script(WATCH_POLICY)
                context.on("page", watch)
                return context

            browser.new_context = new_context  # type: ignore[method-assign]
            try:
                yield browser
            finally:
                browser.close()
        assert not wrong, "\n".join(wrong)

    return open_browser
