"""Both themes are complete and readable, and no page needs anything inline or from another host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib import admin
from django.contrib.staticfiles import finders
from django.test import Client

ROOT = Path(__file__).resolve().parents[2]
STYLES = ROOT / "backoffice/static/backoffice"
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
VARIABLE = re.compile(r"--([\w-]+):\s*light-dark\((#[0-9a-f]{6,8}), (#[0-9a-f]{6,8})\);")
# Words and what they may stand on; 4.5 is WCAG AA for text.
ON = {
    "body-fg": ("canvas", "body-bg", "darkened-bg", "raised-bg", "selected-row", "good-bg", "bad-bg", "wait-bg",
                "info-bg"),
    "body-loud-color": ("canvas", "body-bg", "darkened-bg", "info-bg", "wait-bg", "selected-row"),
    "body-medium-color": ("canvas", "body-bg", "darkened-bg", "raised-bg", "wait-bg", "selected-row"),
    "body-quiet-color": ("canvas", "body-bg", "darkened-bg", "raised-bg", "info-bg", "wait-bg"),
    "link-fg": ("canvas", "body-bg", "darkened-bg", "selected-row", "wait-bg"),
    "link-hover-color": ("canvas", "body-bg", "darkened-bg"),
    "good-fg": ("body-bg", "canvas", "good-bg", "darkened-bg", "wait-bg", "info-bg"),
    "bad-fg": ("body-bg", "canvas", "bad-bg", "darkened-bg", "wait-bg"),
    "wait-fg": ("body-bg", "wait-bg", "darkened-bg"),
    "info-fg": ("body-bg", "info-bg", "canvas"),
    "live-fg": ("live-bg",),
    "error-fg": ("body-bg",),
    "button-fg": ("button-bg", "button-hover-bg", "close-button-bg", "delete-button-bg", "delete-button-hover-bg"),
    "object-tools-fg": ("object-tools-bg", "object-tools-hover-bg"),
    "header-link-color": ("header-bg",),
    "header-branding-color": ("header-bg",),
    "breadcrumbs-fg": ("breadcrumbs-bg",),
    "breadcrumbs-link-fg": ("breadcrumbs-bg",),
}  # fmt: skip


def colours() -> dict[str, tuple[str, str]]:
    """Each variable with its light and its dark colour."""
    return {name: (light, dark) for name, light, dark in VARIABLE.findall((STYLES / "theme.css").read_text())}


def luminance(colour: str) -> float:
    """WCAG's relative luminance of `#rrggbb`."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_measured_as_the_standard_says() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_word_can_be_read_on_everything_it_stands_on(theme: str) -> None:
    place = ("light", "dark").index(theme)
    found = colours()
    poor = {
        f"{word} on {ground}": round(value, 2)
        for word, grounds in ON.items()
        for ground in grounds
        if (value := contrast(found[word][place], found[ground][place])) < 4.5
    }
    assert not poor


def test_every_colour_that_django_names_is_ours_in_both_themes() -> None:
    named: set[str] = set()
    for sheet in ("admin/css/base.css", "admin/css/dark_mode.css"):
        path = finders.find(sheet)
        assert path
        text = Path(path).read_text()
        named |= set(re.findall(r"^\s+--([\w-]+):", text, flags=re.MULTILINE))
    fonts = {"font-family-primary", "font-family-monospace"}
    ours = set(colours()) | set(re.findall(r"--([\w-]+):", (STYLES / "theme.css").read_text()))
    assert named - fonts <= set(colours()), named - set(colours())
    assert fonts <= ours


def test_colours_are_named_in_the_theme_alone() -> None:
    stray = {}
    for sheet in STYLES.glob("*.css"):
        if sheet.name != "theme.css":
            found = re.findall(r"#[0-9a-fA-F]{3,8}\b(?![^{]*\{)|\brgba?\(|\bhsla?\(", sheet.read_text())
            if found:
                stray[sheet.name] = found
    assert not stray


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_a_template_has_nothing_inline_and_names_no_other_host(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"\sstyle=|<style|\son\w+=\"|javascript:", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"(?:src|href|action)=\"(?:https?:)?//", text)


def test_what_the_browser_loads_names_no_other_host() -> None:
    for path in STYLES.iterdir():
        if path.suffix in {".css", ".js", ".svg"}:
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"(?:https?:)?//[\w-]+\.\w+", text), path.name


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/healthz", "/admin/login/", "/admin/", "/nothing-here"])
def test_every_answer_forbids_everything_that_is_not_from_here(address: str, client: Client) -> None:
    policy = dict(part.split(" ", 1) for part in client.get(address)["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert not {"script-src", "style-src", "img-src", "connect-src"} & set(policy), "nothing is loosened"
    assert "unsafe" not in " ".join(policy.values())


@pytest.mark.django_db
def test_an_address_that_names_nothing_says_so_in_our_words(client: Client) -> None:
    answer = client.get("/nothing-here")
    assert answer.status_code == 404
    assert "There is no such page" in answer.content.decode()


@pytest.mark.django_db
def test_the_old_address_of_the_sign_leads_to_the_sign(client: Client) -> None:
    assert client.get("/favicon.ico").url == "/static/backoffice/favicon.svg"  # type: ignore[attr-defined]
    assert admin.site.site_header
