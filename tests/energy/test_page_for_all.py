"""The page for everybody: nothing fetched, every text readable, any width and colour scheme, scripts or none."""

from __future__ import annotations

import re

import page_reader
import pytest
from browser import chromium
from sample_document import partial_document, sample_document

from neuroemo.energy.page import render_page

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine to open the page in")


def fresh(page, fragment=""):
    """Bring the page to the state that an address after "#" names."""
    page.run(f"location.hash = {fragment!r}; dispatchEvent(new HashChangeEvent('hashchange'));")


def test_nothing_is_fetched_and_no_label_runs(large, small):
    for page in (large, small):
        assert page.run("return [window.broken, document.querySelectorAll('main script, header script').length]") == [
            None,
            0,
        ]
        assert page.run("return performance.getEntriesByType('resource').length") == 0
        assert [address for address in page.requests if not re.match(r"file://.*/page\d+\.html", address)] == []
        assert page.errors == []
    assert small.run("return $('h1').textContent") == sample_document()["title"]
    tried = "try { await fetch('https://example.org'); return 'fetched' } catch { return 'refused' }"
    assert small.run(tried) == "refused"
    small.errors.clear()


def test_an_inline_handler_would_not_run(browser, tmp_path):
    html = render_page(sample_document()).replace(
        "<header>", '<header onclick="window.broken = 1"><script>window.broken = 2</script>'
    )
    page = browser.open(html, tmp_path)
    page.click("h1")
    assert page.run("return window.broken") is None
    assert any("Content Security Policy" in error for error in page.errors)
    page.close()


def test_ids_are_unique_and_controls_have_names(large):
    fresh(large)
    names = large.run("return $$('[id]').map((e) => e.id)")
    assert len(names) == len(set(names))
    named = "e.labels.length && e.labels[0].textContent.trim()"
    unnamed = f"return $$('input, select').filter((e) => !({named})).map((e) => e.outerHTML)"
    assert large.run(unnamed) == []
    at = "e.getAttribute('aria-describedby') || e.getAttribute('aria-labelledby') || e.htmlFor"
    pointing = f"return $$('[aria-describedby], [aria-labelledby], label[for]').map((e) => {at})"
    assert large.run(f"{pointing}.filter((id) => !document.getElementById(id))") == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_the_page_never_scrolls_sideways(large, small, width):
    for page in (large, small):
        page.look(width, dark=False)
        for fragment in ("", "cut=layer&numbers=yes"):
            fresh(page, fragment)
            assert page.run("return document.documentElement.scrollWidth") <= width
        page.look(1280, dark=False)
        fresh(page)


CONTRAST = """
const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const parse = (c) => { const n = c.match(/[\\d.]+/g).map(Number); return n.length === 3 ? [...n, 1] : n; };
const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const behind = (e) => {
  const c = parse(getComputedStyle(e).backgroundColor);
  return c[3] === 1 || !e.parentElement ? c : behind(e.parentElement);
};
const weak = {};
for (const e of document.querySelectorAll('body *')) {
  if (!e.checkVisibility() || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
  if (e.closest('script, template, .hidden, title')) continue;
  const svg = e.namespaceURI.endsWith('svg');
  const ink = parse(svg ? getComputedStyle(e).fill : getComputedStyle(e).color);
  const [a, b] = [light(ink), light(behind(svg ? e.ownerSVGElement.parentElement : e))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) weak[`${e.tagName}.${e.getAttribute('class')} ${e.textContent.slice(0, 20)}`] = ratio;
}
return weak;
"""


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_has_contrast(small, dark):
    small.look(1280, dark=dark)
    for fragment in ("numbers=yes", "scenario=lemaire/cmos45/int8&cut=layer", "scenario=per-event/loihi1/native"):
        fresh(small, fragment)
        assert small.run(CONTRAST) == {}
    small.look(1280, dark=False)


def test_what_was_not_counted_is_loud(browser, tmp_path):
    page = browser.open(render_page(partial_document()), tmp_path)
    alarm = page.run("const e = $('main').firstElementChild; return [e.className, e.textContent]")
    assert alarm[0] == "alarm"
    assert "Partial: 1 module was not counted. Every energy and every count of this network is a lower bound." in alarm[
        1
    ].replace("\u00a0", " ")
    assert "attention<b>: no rule for this module" in alarm[1]
    assert "A lower bound" in page.run("return $('#slot-verdict').textContent")
    assert page.run("return $('#slot-verdict .t-snn .value').textContent").startswith("≥")
    assert page.run("return $('#slot-verdict .t-ann .value').textContent[0]").isdigit()
    page.close()


def test_without_scripts_the_default_scenario_is_whole(browser, tmp_path):
    document = sample_document()
    page = browser.open(render_page(document), tmp_path, scripts=False)
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    seen = page.run("return $$('#controls, .switch, .slider').map((e) => getComputedStyle(e).display)")
    assert set(seen) == {"none"}
    shown = page.run(page_reader.COLLECT)
    assert page_reader.complaints(shown, document, document["scenarios"][0]) == []
    page.close()


def test_print_shows_both_cuts_and_no_controls(browser, tmp_path):
    page = browser.open(render_page(sample_document()), tmp_path, print_style=True)
    shown = "return ['#controls', '.slider', '.cut-part', '.cut-layer'].map((s) => getComputedStyle($(s)).display)"
    assert page.run(shown) == ["none", "none", "block", "block"]
    page.close()
