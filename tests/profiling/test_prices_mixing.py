"""Which prices stand in one sum, and which on the two sides of a comparison."""

from itertools import product

import pytest

from hw_targets.finding import InputError
from neuroemo.profiling.price_file import GRADES, Price
from neuroemo.profiling.prices import check_comparison, check_mix, load_prices

SUMMED = [grade for grade in GRADES if grade != "mem"]
TEXTBOOK = {"published", "derived"}


def row(name, grade, value=1.0):
    return Price(name, value, "pJ", f"source of {name}", 2020, grade, 28, 0.9)


def codes(call, *arguments, **options):
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    return [finding.code for finding in caught.value.findings]


@pytest.mark.parametrize(("first", "second"), product(SUMMED, SUMMED))
def test_grades_mix_by_the_rule(first, second):
    pair = [row("a.one", first), row("b.two", second)]
    alike = first == second or {first, second} == TEXTBOOK
    if alike and first != "measured_all_in":
        check_mix(pair)
    else:
        expected = ["E825"] if alike else ["E824"]
        assert codes(check_mix, pair) == expected
    if alike:  # two all-in figures are two sides of a comparison, not two terms of a sum
        check_comparison(pair[:1], pair[1:])
    else:
        assert codes(check_comparison, pair[:1], pair[1:]) == ["E824"]


def test_the_error_says_which_rows_their_grades_and_what_to_do():
    loihi, cmos = load_prices("loihi1"), load_prices("cmos45")
    with pytest.raises(InputError) as caught:
        check_mix([loihi.price("events.synaptic_operation"), cmos.accumulate("fp32")])
    (finding,) = caught.value.findings
    assert finding.node == "arithmetic.fp32.add"
    assert "arithmetic.fp32.add 0.9 pJ (published; Horowitz" in finding.found
    assert "events.synaptic_operation 23.6 pJ (simulated; Davies" in finding.found
    assert finding.fix.startswith("price both with rows of one grade")


def test_an_all_in_figure_takes_nothing_more():
    whole = load_prices("truenorth")
    operation = whole.price("events.synaptic_operation")
    check_mix([operation])
    check_mix([operation, operation])
    assert codes(check_mix, [operation, whole.price("parts.hop")]) == ["E824"]
    other = load_prices("odin@maximum_rate").price("events.synaptic_operation")
    assert codes(check_mix, [operation, other]) == ["E825"]
    check_comparison([operation], [other])
    check_comparison([operation], [operation])
    assert codes(check_comparison, [operation, other], [operation]) == ["E825"]


def test_a_row_from_memory_is_asked_for_by_name():
    loihi = load_prices("loihi1")
    operation, learning = loihi.price("events.synaptic_operation"), loihi.price("events.learning_update")
    with pytest.raises(
        InputError, match=r"E826 events\.learning_update: .*written down from memory; limit a checked figure"
    ):
        check_mix([operation, learning])
    check_mix([operation, learning], from_memory=["events.learning_update"])
    assert codes(check_comparison, [operation], [learning]) == ["E826"]
    check_comparison([operation], [learning], from_memory=["events.learning_update"])
    whole = load_prices("truenorth").price("events.synaptic_operation")
    assert codes(check_mix, [whole, learning], from_memory=["events.learning_update"]) == ["E825"]


def test_all_findings_come_at_once():
    rows = [row("a.one", "simulated"), row("b.two", "vendor"), row("c.three", "mem"), row("d.four", "survey")]
    assert sorted(codes(check_mix, rows)) == ["E824", "E824", "E826"]
    assert codes(check_comparison, rows[:1], rows[1:2] + rows[1:2]) == ["E824"]


def test_textbook_arithmetic_mixes_whole():
    prices = load_prices("cmos45")
    check_mix(price for price in prices if price.grade != "mem")
    check_mix([prices.accumulate("fp32"), load_prices("cmos45@14HP-0.80V").multiply_accumulate("fp32")])
    check_mix([])
