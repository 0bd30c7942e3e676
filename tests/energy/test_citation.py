"""BibTeX: the tool and each source once, in the sources' own words."""

from __future__ import annotations

import re

from neuroemo.energy.citation import bibtex
from tests.energy.sample_document import LATEX_NASTY, larger_document, sample_document


def entries(text):
    """Return key -> (kind, fields) by a parser of its own that counts braces as BibTeX does."""
    found, at = {}, 0
    while match := re.compile(r"@(\w+)\{([^,\s]+),").search(text, at):
        depth, end = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        fields = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", text[match.end() : end - 1], re.M))
        assert match[2] not in found, "a key twice"
        found[match[2]] = (match[1], fields)
        at = end
    assert text[at:].strip() == ""
    return found


def test_the_tool_comes_first_with_its_version():
    found = entries(bibtex(sample_document()))
    assert next(iter(found)) == "neuroemo"
    kind, fields = found["neuroemo"]
    assert kind == "software"
    assert fields["version"] == "0.1.0"


def test_each_source_in_use_is_one_entry_in_its_own_words():
    found = entries(bibtex(sample_document()))
    assert set(found) == {"neuroemo", "arithmetic", "lemaire", "horowitz2014", "davies2018"}
    assert found["horowitz2014"][1] == {
        "howpublished": "Horowitz, ISSCC 2014", "year": "2014", "note": "Horowitz, ISSCC 2014, Fig. 1.1.9",
    }  # fmt: skip
    assert found["davies2018"][1]["howpublished"] == "Davies et al., IEEE Micro 38(1), 2018"
    assert found["lemaire"][1]["howpublished"].endswith("ICONIP 2022, arXiv:2210.13107.")
    assert found["lemaire"][1]["url"] == "https://arxiv.org/abs/2210.13107"


def test_nothing_is_made_up():
    document = sample_document()
    said = " ".join(str(value) for table in ("constants", "models") for value in document[table].values())
    for _, fields in list(entries(bibtex(document)).values())[1:]:
        assert fields["howpublished"].replace("\\&", "&") in said
        assert fields.get("url", "") in said
        assert fields.get("year", "") in said
        assert "doi" not in fields


def test_a_price_in_no_scenario_is_not_cited():
    document = sample_document()
    document["constants"]["loihi2:x"] = document["constants"]["cmos45:memory.dram"] | {"source": "Nobody, 2031"}
    assert "Nobody" not in bibtex(document)


def test_derived_prices_and_other_places_of_a_publication_are_the_same_entry():
    document = sample_document()
    document["constants"]["cmos45:arithmetic.fp32.mult"]["source"] = "add + mult of Horowitz, ISSCC 2014, Fig. 1.1.9"
    document["constants"]["cmos45:memory.sram_8kb"]["source"] = "Horowitz, ISSCC 2014, slides only"
    found = entries(bibtex(document))
    assert [key for key in found if key.startswith("horowitz")] == ["horowitz2014"]
    assert found["horowitz2014"][1]["note"] == "Horowitz, ISSCC 2014, Fig. 1.1.9; Horowitz, ISSCC 2014, slides only"


def test_another_publication_of_the_same_name_and_year_has_a_key_of_its_own():
    document = sample_document()
    document["constants"]["cmos45:memory.sram_8kb"]["source"] = "Horowitz et al., VLSI 2014"
    assert {"horowitz2014", "horowitz2014-2"} <= set(entries(bibtex(document)))


def test_a_model_without_a_publication_is_not_an_entry():
    document = sample_document()
    document["models"]["arithmetic"]["citation"] = "as arithmetic, with every neuron's update charged"
    assert "arithmetic" not in entries(bibtex(document))


def test_hostile_words_neither_break_an_entry_nor_make_a_link():
    document = sample_document()
    document["models"]["lemaire"] = {
        "title": LATEX_NASTY, "scope": "", "citation": "} , @misc{x, 2022 " + LATEX_NASTY, "url": "javascript:alert(1)",
    }  # fmt: skip
    document["constants"]["cmos45:memory.sram_8kb"]["source"] = "{ 2014"
    found = entries(bibtex(document))
    assert set(found) == {"neuroemo", "arithmetic", "lemaire", "horowitz2014", "davies2018", "source2014"}
    assert "url" not in found["lemaire"][1]


def test_a_price_of_a_model_is_cited_with_the_model_where_both_name_the_same_publication():
    found = entries(bibtex(larger_document()))
    assert not {key for key in found if re.match(r"(yan|davidson)\d", key)}
    assert "E\\_ACC" in found["yan"][1]["note"]
    assert {"horowitz2014", "davies2018", "merolla2014"} <= set(found)


def test_an_address_of_another_publication_is_not_given():
    document = sample_document()
    document["models"]["lemaire"]["url"] = "https://doi.org/10.1109/ISSCC.2014.6757323"
    assert "url" not in entries(bibtex(document))["lemaire"][1]


def test_prices_scaled_to_another_node_cite_both_sources():
    from neuroemo.profiling import load_prices
    from neuroemo.profiling.scaling import scaled

    document = sample_document()
    price = scaled(load_prices("cmos45"), "14HP", 0.8).price("arithmetic.fp32.add")
    document["constants"]["cmos45:arithmetic.fp32.add"] |= {"source": price.source, "year": price.year}
    found = entries(bibtex(document))
    assert found["horowitz2014"][1]["howpublished"] == "Horowitz, ISSCC 2014"
    (scaling,) = [fields for key, (_, fields) in found.items() if key.startswith("stillmaker2017")]
    assert scaling["howpublished"].startswith("Stillmaker")
    assert scaling["year"] == "2017"
