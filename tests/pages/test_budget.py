"""The Budget page: answers, bad input, and the address that reproduces it."""

from __future__ import annotations

import pytest

from privlab.privacy.accounting import epsilon_of
from privlab.privacy.phases import Phase
from privlab.ui.budget.case import at_first, problems_of, reckon, up
from tests.pages.conftest import address, errors

#: q = .01, σ = .7, T = 120, δ = 1e-5, for which dp-accounting's tests say ε = 2.4612381.
GOLDEN = {"noise_multiplier": "0.7", "batch_size": "100", "records": "10000", "epochs": "1", "delta": "1e-05"}
#: What the page starts with.
START = {"noise_multiplier": 1.1, "batch_size": 512, "records": 60_000, "epochs": 15, "delta": 1e-5, "epsilon": 1.8}
HOW = {"adjacency": "add-or-remove-one", "accountant": "pld"}


def answer(app) -> str:
    """The number in the place of its field; the large one is the browser's own work."""
    (found,) = [text for part in app.markdown if (text := part.value).startswith("**= ") or text == "–"]
    return found.removeprefix("**= ").removesuffix("**")


def test_a_link_reproduces_the_page(visit) -> None:
    app = visit("budget", **GOLDEN | {"find": "epsilon", "limit": "1.5", "axes": "log"})
    steps = 100
    expected = epsilon_of((Phase(0.01, 0.7, steps),), 1e-5)
    assert answer(app) == f"{up(expected, 4):.4g}"
    for name, text in GOLDEN.items():
        assert float(address(app, name)) == float(text)
    assert (address(app, "axes"), address(app, "limit")) == ("log", "1.5")
    assert "epsilon" not in app.query_params


def test_asking_for_another_number_starts_from_the_answer(visit) -> None:
    app = visit("budget")
    spent = answer(app)
    app.segmented_control(key="find").select("noise_multiplier").run()
    assert not app.exception
    assert float(app.number_input(key="epsilon").value) == pytest.approx(float(spent), rel=1e-3)
    assert answer(app) == "1.1"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("noise_multiplier", None, "σ is empty; give a number from 0.05 to 1,000."),
        ("noise_multiplier", 0.0, "σ = 0 adds no noise"),
        ("noise_multiplier", -1.0, "σ = -1 is outside 0.05 … 1,000."),
        ("noise_multiplier", 1e9, "σ = 1,000,000,000 is outside 0.05 … 1,000."),
        ("delta", 1.0, "δ = 1 is outside 1e-10 … 0.5."),
        ("delta", 1e-4, "δ = 0.0001 must be below 1/N = 1.66e-05"),
        ("records", 0, "N = 0 is outside 2 … 1,000,000,000."),
        ("batch_size", 60_001, "B = 60,001 is more than all N = 60,000 records."),
        ("epochs", 10**12, "E = 1,000,000,000,000 is outside 1 … 100,000."),
        ("group_size", 0, "k = 0 is outside 1 … 1,000."),
    ],
)
def test_bad_input_is_named_beside_its_field_and_kept(visit, field, value, said) -> None:
    app = visit("budget")
    app.number_input(key=field).set_value(value).run()
    assert not app.exception
    assert said in errors(app)
    assert app.number_input(key=field).value == value
    if field != "group_size":
        assert answer(app) == "–"
    app.number_input(key=field).set_value(1 if field == "group_size" else START[field]).run()
    assert not app.error
    assert answer(app) != "–"


def test_a_target_out_of_reach_is_said_at_epsilon(visit) -> None:
    app = visit("budget", find="noise_multiplier", epsilon="900.0", records="1000", batch_size="1000", epochs="1")
    assert "noise_multiplier=0.05" in errors(app)
    assert answer(app) == "–"


def test_a_group_and_the_stronger_adjacency(visit) -> None:
    app = visit("budget", group_size="2", records="10000", batch_size="819", epochs="10", noise_multiplier="10.0")
    assert any("group of 2" in each.value for each in app.markdown)
    one = float(answer(app))
    app.selectbox(key="adjacency").select("replace-one").run()
    assert not app.exception
    assert float(answer(app)) > 1.5 * one
    assert address(app, "adjacency") == "replace-one"


def test_the_forecast_says_where_the_budget_ends(visit) -> None:
    app = visit("budget", limit="1.2")
    assert "ends at step **885** of 1,758" in app.warning[0].value
    app.number_input(key="limit").set_value(5.0).run()
    assert "All 1,758 steps fit" in app.success[0].value


def test_the_explorer_holds_epsilon_and_its_values_can_be_taken(visit) -> None:
    app = visit("budget")
    spent = float(answer(app))
    slider = app.select_slider(key="slider-batch_size")
    slider.set_value(2000).run()
    assert not app.exception
    assert float(address(app, "at")) == 2000
    app.button(key="take").click().run()
    assert app.number_input(key="batch_size").value == 2000
    assert spent * 0.998 <= float(answer(app)) <= spent
    assert app.number_input(key="noise_multiplier").value > 1.5


# Without a page ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unknown", ["epsilon", "noise_multiplier", "batch_size", "epochs", "records", "delta"])
def test_the_first_answer_is_near_the_exact_one_and_on_its_safe_side(unknown) -> None:
    first, case = at_first(unknown, START, **HOW), reckon(unknown, START, **HOW)
    assert case.epsilon <= START["epsilon"] * (1 + 1e-9)
    if unknown in ("batch_size", "epochs"):
        assert 0.9 * case.answer - 1 <= first <= case.answer
    else:
        assert case.answer * (1 - 1e-9) <= first <= 1.02 * case.answer


def test_no_first_answer_where_it_would_not_be_the_accountants() -> None:
    assert at_first("epsilon", START, adjacency="add-or-remove-one", accountant="rdp") is None
    assert at_first("epsilon", START | {"batch_size": 60_001}, **HOW) is None


def test_what_is_shown_never_understates() -> None:
    assert up(1.69541, 4) == 1.696
    assert up(1.696, 4) == 1.696
    assert up(9.9999e-6, 3) == 1e-5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_what_is_no_number_is_refused(value) -> None:
    assert problems_of({"delta": value})
