"""Which data set of one run stands beside which of another."""

from __future__ import annotations

from typing import Any

from lightning_lde.query import placed_uses


def use(config: str, dataset: str, name: str | None = "digits", relation: str = "trained_on") -> dict[str, Any]:
    return {"relation": relation, "dataset_config_id": config, "dataset_id": dataset, "dataset": name}


def titles(*data: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [{title: row["dataset_config_id"] for title, row in uses.items()} for uses in placed_uses(data)]


def test_the_same_configuration_comes_first_then_the_data_set_then_the_name() -> None:
    one, two, three = use("c1", "d1"), use("c2", "d2"), use("c3", "d3", "letters")
    expected = {"trained_on 1": "c1", "trained_on 2": "c2", "trained_on 3": "c3"}
    assert titles([one, two, three], [three, two, one]) == [expected, expected]
    moved = [use("x", "new", "letters"), use("y", "d2")]
    assert titles([one, two, three], moved)[1] == {"trained_on 2": "y", "trained_on 3": "x"}


def test_what_fits_nowhere_takes_the_place_that_is_left() -> None:
    assert titles([use("c", "d", "digits")], [use("x", "y", "letters")]) == [{"trained_on": "c"}, {"trained_on": "x"}]
    assert titles([use("c", "d")], [use("x", "y", "letters"), use("c", "d")])[1] == {
        "trained_on 1": "c",
        "trained_on 2": "x",
    }


def test_purposes_stay_apart() -> None:
    [first, second] = titles([use("c", "d"), use("v", "d", relation="validated_on")], [use("c", "d")])
    assert first == {"trained_on": "c", "validated_on": "v"}
    assert second == {"trained_on": "c"}
