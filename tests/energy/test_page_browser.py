"""The page in a real browser: every control does what it says, and what is shown is what report.json says."""

from __future__ import annotations

import json

import page_reader
import pytest
from browser import chromium
from page_document import large_document
from sample_document import sample_document

from neuroemo.energy.page import render_page

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine to open the page in")
PRICES = "$('#choose-prices')"


def fresh(page, fragment=""):
    """Bring the page to the state that an address after "#" names."""
    page.run(f"location.hash = {json.dumps(fragment)}; dispatchEvent(new HashChangeEvent('hashchange'));")


def choose(page, prices, model, precision):
    """Choose with the controls, as far as they let."""
    page.run(f"{PRICES}.value = {json.dumps(prices)}; {PRICES}.dispatchEvent(new Event('change', {{bubbles: true}}));")
    for name, value in (("model", model), ("precision", precision)):
        chosen = f"input[name={name}][value={json.dumps(value)}]"
        page.run(f"const e = $({json.dumps(chosen)}); if (e.disabled) throw e.value; e.click();")


def explore(page, document):
    """Choose every scenario by the controls, the last one first, and compare all that is shown."""
    wrong = {}
    for scenario in reversed(document["scenarios"]):
        wanted = [scenario["prices"], scenario["model"], scenario["precision"]]
        choose(page, *wanted)
        shown = page.run(page_reader.COLLECT)
        found = page_reader.complaints(shown, document, scenario)
        found += [] if shown["chosen"] == wanted else [f"controls at {shown['chosen']}"]
        found += [] if shown["current"] == [scenario["id"]] else [f"rows {shown['current']}"]
        found += [] if scenario["words"] == shown["announced"] else ["not announced"]
        if scenario["id"] != document["default_scenario"]:
            found += (
                []
                if f"scenario={scenario['id'].replace('/', '%2F').replace('@', '%40').replace('+', '%2B')}"
                in shown["hash"]
                else [shown["hash"]]
            )
        if found:
            wrong[scenario["id"]] = found
    return wrong


def test_every_scenario_shows_the_numbers_of_the_report(small):
    document = sample_document()
    fresh(small)
    assert explore(small, document) == {}
    assert small.errors == []


@pytest.mark.slow
def test_every_scenario_of_a_large_report(large):
    fresh(large)
    assert explore(large, large_document()) == {}
    assert large.errors == []


def test_the_latex_table_is_that_of_the_scenario(small):
    from neuroemo.energy.latex import latex_table

    document = sample_document()
    fresh(small, "scenario=lemaire/cmos45/int8")
    assert small.run(page_reader.COLLECT)["latex"] == latex_table(document, document["scenarios"][2])
    fresh(small)
    assert small.run(page_reader.COLLECT)["latex"] == document["latex"]


def test_what_does_not_exist_is_disabled_with_the_reason(large):
    fresh(large, "scenario=davidson/cmos45/int8")
    disabled = large.run("return $$('#controls :disabled').map((e) => e.value)")
    assert disabled == ["loihi2", "per-event", "int32", "fp16", "fp32", "native"]
    reasons = large.run(page_reader.COLLECT)["unavailable"]
    assert reasons == [
        "Per event: priced with Loihi, TrueNorth only",
        "int32: not priced: its <unit> is a 32-bit add",
        "fp16: not priced: its <unit> is a 32-bit add",
        "fp32: not priced: its <unit> is a 32-bit add",
        "native: not with Davidson and 45 nm CMOS, 0.9 V",
        "Loihi 2: no energy per operation is published",
    ]


def test_prices_rule_and_what_was_chosen_stays_where_it_exists(large):
    fresh(large, "scenario=lemaire/cmos45/fp16")
    large.run(f"{PRICES}.value = 'cmos45@14HP-0.80V'; {PRICES}.dispatchEvent(new Event('change', {{bubbles: true}}));")
    assert large.run(page_reader.COLLECT)["chosen"] == ["cmos45@14HP-0.80V", "lemaire", "fp16"]
    large.run(f"{PRICES}.value = 'loihi1'; {PRICES}.dispatchEvent(new Event('change', {{bubbles: true}}));")
    shown = large.run(page_reader.COLLECT)
    assert shown["chosen"] == ["loihi1", "per-event", "native"]
    assert shown["badge"] == "No comparison"
    assert shown["reason"] == ["No comparison, because: no figure of the same grade for the twin."]


def test_the_keyboard_reaches_and_works_every_control(small):
    fresh(small)
    small.run("$('#choose-prices').focus()")
    small.press("Tab")
    small.press("ArrowRight")  # radio buttons of one group: arrows choose
    assert small.run(page_reader.COLLECT)["chosen"][1] == "lemaire"
    outline = small.run("return getComputedStyle(document.activeElement.nextElementSibling).outlineStyle")
    assert outline == "solid"
    reached = []
    small.run("document.activeElement.blur(); getSelection().removeAllRanges(); $('nav a').focus();")
    for _ in range(70):
        reached.append(
            small.run("const e = document.activeElement; return e.id || e.name || e.classList[0] || e.tagName")
        )
        small.press("Tab")
    wanted = {"choose-prices", "model", "precision", "cut", "constant", "sort", "heat", "numbers", "choose-steps",
              "show", "copy", "text-latex", "text-bibtex", "scroll"}  # fmt: skip
    cells = small.run("return $('#heat td[tabindex=\"0\"]').className")
    assert {name for name in wanted if name not in reached} == set()
    assert cells in reached


def test_layers_sort_by_every_column(large):
    document = large_document()
    fresh(large)
    columns = large.run("return $$('#layer-table [data-column]').map((e) => e.dataset.column)")
    table = "#layer-table"
    rows = f"return $$('{table} tbody tr').map((r) => [...r.cells].map((c) => c.textContent.trim()))"
    flow = large.run(rows)
    assert [row[0] for row in flow] == [layer["name"] for layer in document["networks"]["deployed"]["layers"]]
    for index, column in enumerate(columns):
        head = f"{table} [data-column={column}]"
        for way in ("descending", "ascending"):
            large.click(f"{head} button")
            assert large.run(f"return $('{head}').ariaSort") == way
            cells = [row[index] for row in large.run(rows)]
            if index > 2:
                known = [page_reader.quantity(cell)[0] for cell in cells if cell != "—"]
                assert cells[len(known) :] == ["—"] * (len(cells) - len(known))
                assert known == sorted(known, reverse=way == "descending")
        assert len(large.run(rows)) == len(flow)
        large.click(f"{head} button")
        assert large.run(rows) == flow
    large.run(f"$('{table} [data-column=acs] button').focus()")
    large.press("Enter")
    assert "sort=acs&way=descending" in large.run("return location.hash")


def test_the_heat_map_shows_each_measure(large):
    document = large_document()
    network = document["networks"]["deployed"]
    cells = "return $$('#heat tbody tr').map((r) => [...r.cells].slice(1).map((c) => [c.textContent, c.className]))"
    fresh(large)
    for measure in ("operations", "energy", "density"):
        large.click(f"#choose-heat label:has([value={measure}])")
        shown = large.run(cells)
        values = [[_expected(measure, layer, step) for step in range(68)] for layer in network["layers"]]
        most = max(value for row in values for value in row if value is not None)
        for row, texts in zip(values, shown, strict=True):
            for value, (text, css) in zip(row, texts, strict=True):
                assert page_reader.shows(text, value), (measure, text, value)
                assert (
                    (css == "none") if value is None else abs(int(css[1:]) - 15 * (value / most) ** 0.5) <= 0.5 + 1e-9
                )
    assert page_reader.shows(large.run("return $('#heat-high').textContent"), most)
    assert page_reader.shows(large.run("return $('#heat-middle').textContent"), most / 4)


def _expected(measure, layer, step):
    """Density from elements = spikes / density, per step as many each; energy at 0.9 pJ per AC and 4.6 per MAC."""
    counts = {key: values[step] for key, values in layer["per_step"].items()}
    if layer["kind"] == "neuron":
        return counts["spikes_out"] / (layer["neuron_updates"] / 68) if measure == "density" else None
    if measure == "density":
        return counts["spikes_in"] / (layer["spikes_in"] / layer["density"] / 68)
    if measure == "operations":
        return (counts["acs"] + counts["macs"]) / 240
    return (0.9 * counts["acs"] + 4.6 * counts["macs"]) / 240


def test_energy_per_step_is_offered_only_where_it_is_known(large):
    fresh(large, "scenario=lemaire/cmos45/int8&heat=energy")
    state = "const e = $('[name=heat][value=energy]'); return [e.disabled, e.checked, $('#heat-note').textContent]"
    assert large.run(state) == [True, False, "This energy model does not say at which step its energy is spent."]
    fresh(large, "heat=energy")
    assert large.run(state) == [False, True, ""]


def test_arrow_keys_walk_over_the_heat_map(large):
    fresh(large)
    large.run("$('#heat td[tabindex=\"0\"]').focus()")
    large.press("ArrowRight", 3)
    large.press("ArrowDown")
    words = "return [$('#heat-readout').textContent, document.activeElement.textContent]"
    readout, cell = large.run(words)
    assert readout == f"features.0.neurons, step 4: {cell}"
    large.press("End")
    large.press("ArrowRight")
    assert large.run(words)[0].startswith("features.0.neurons, step 68: ")
    large.hover("#heat tbody tr:nth-child(3) td:nth-child(6)")
    assert large.run(words)[0].startswith("features.3, step 5: ")
    large.click("#choose-heat label:has([name=numbers])")
    assert large.run("return $('#heat').className") == "heat numbers"


def test_the_slider_shows_each_step(small):
    document = sample_document()
    scenario = document["scenarios"][2]
    fresh(small, "scenario=lemaire/cmos45/int8")
    small.run("$('#choose-steps').focus()")
    shown = "return $$('#at-step dd').map((d) => d.textContent)"
    cursor = "const c = $('.curve-figure .cursor-point'); return [c.getAttribute('cx'), c.getAttribute('cy')]"
    places = []
    for step in (4, 3, 2, 1):
        spent, ann, cheaper, accuracy, stable = small.run(shown)
        assert page_reader.shows(spent, scenario["curve"]["snn_pj"][step - 1])
        assert page_reader.shows(ann, 6000.0)
        assert cheaper.startswith("ANN" if step == 4 else "SNN")
        assert page_reader.shows(accuracy, document["decision"]["steps"][step - 1]["accuracy"])
        assert page_reader.shows(stable, document["decision"]["steps"][step - 1]["stable"])
        places.append([float(value) for value in small.run(cursor)])
        small.press("ArrowLeft")
    assert "steps=1" in small.run("return location.hash")
    assert [x for x, _ in places] == sorted((x for x, _ in places), reverse=True)
    assert [y for _, y in places] == sorted(y for _, y in places)


def test_bars_switch_between_parts_and_layers(small):
    fresh(small)
    seen = "return ['.cut-part', '.cut-layer'].map((s) => getComputedStyle($(s)).display !== 'none')"
    assert small.run(seen) == [True, False]
    small.click("#choose-cut label:nth-of-type(2)")
    assert small.run(seen) == [False, True]
    assert "cut=layer" in small.run("return location.hash")


def test_provenance_shows_on_hover_and_focus_and_escape_hides_it(small):
    fresh(small)
    seen = "return $$('.tip').filter((t) => getComputedStyle(t).display !== 'none').map((t) => t.textContent)"
    for button in ("#slot-energy .priced:first-child .constant", ".flips tr:first-child .constant"):
        small.hover("h1")
        assert small.run(seen) == []
        small.hover(button)
        (tip,) = small.run(seen)
        assert "Horowitz, ISSCC 2014, Fig. 1.1.9 (2014)" in tip
        assert "grade: published" in tip
        small.press("Escape")
        assert small.run(seen) == []
        small.hover("h1")
        small.run(f"$({json.dumps(button)}).focus()")
        assert len(small.run(seen)) == 1
        small.press("Escape")
        assert small.run(seen) == []
        small.run("document.activeElement.blur()")


def test_copy_buttons_copy_or_select(small):
    fresh(small)
    stub = (
        "Object.defineProperty(navigator, 'clipboard', {configurable: true, value: {writeText: async (t) => { %s }}});"
    )
    small.run(stub % "window.copied = t")
    for name in ("latex", "bibtex", "command"):
        small.click(f"[data-copies=text-{name}]")
        pair = small.run(f"return [window.copied, document.getElementById('text-{name}').textContent]")
        assert pair[0] == pair[1] != ""
    small.run(stub % "throw new Error('denied')" + "document.execCommand = () => false;")
    small.click("[data-copies=text-bibtex]")
    said = "return [getSelection().toString(), $('[data-copies=text-bibtex]').nextElementSibling.textContent]"
    assert small.run(said) == [sample_document()["citation"], "Selected: press Ctrl+C to copy."]


def test_links_scroll_and_choose_without_losing_the_state(small):
    fresh(small, "cut=layer")
    small.click("nav a[href='#constants']")
    assert small.run("return [location.hash, document.activeElement.id]") == ["#cut=layer", "constants"]
    small.click("#chip-table a.show")
    assert small.run("return location.hash") == "#scenario=per-event%2Floihi1%2Fnative&cut=layer"


def test_an_address_brings_back_what_its_sender_saw(browser, tmp_path):
    fragment = (
        "#scenario=arithmetic%2Fcmos45%2Fint8&steps=2&cut=layer&heat=operations&numbers=yes&sort=acs&way=ascending"
    )
    page = browser.open(render_page(sample_document()), tmp_path, fragment=fragment)
    shown = page.run(page_reader.COLLECT)
    assert shown["chosen"] == ["cmos45", "arithmetic", "int8"]
    assert [row[0] for row in shown["layers"]] == ["fc", "conv1", "conv1.neurons", "fc.neurons"]
    assert page.run(
        "return [$('#chosen-step').value, $('[name=heat]:checked').value, $('[name=numbers]').checked]"
    ) == ["2", "operations", True]
    nonsense = "scenario=nowhere&steps=-3&cut=<b>&heat=__proto__&sort=constructor&way=descending"
    fresh(page, nonsense)
    assert page.run(page_reader.COLLECT)["chosen"] == ["cmos45", "arithmetic", "fp32"]
    assert page.errors == []
    page.close()
