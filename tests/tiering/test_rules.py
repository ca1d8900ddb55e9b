"""Rules of the tiers: what they mean, how they are written, and that what is not understood moves nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_lde.errors import ConfigurationError
from lightning_lde.tiering import KEEPS, TARGETS, Prices, Rule, RunFacts, TierPolicy, list_prices, tier_policy_of

RUN = RunFacts(project="vision/digits", status="finished", tags={"paper": "icml", "keep": ""})
OLD = timedelta(days=40)

words = st.text(min_size=1, max_size=8).filter(
    lambda text: "," not in text and text == text.strip() and text != "running"
)
lists = st.lists(words, max_size=3).map(tuple)
rules = st.builds(
    Rule,
    to=st.sampled_from(TARGETS),
    kind=lists,
    project=lists,
    status=lists,
    tag=lists,
    older_than=st.integers(0, 10**7).map(lambda seconds: timedelta(seconds=seconds)),
    keep=st.lists(st.sampled_from(KEEPS), unique=True).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(rules)
def test_a_rule_is_read_as_it_was_written(rule: Rule) -> None:
    assert Rule.parse(str(rule)) == rule
    assert Rule.from_dict(rule.as_dict()) == rule


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("to=cold", True),
        ("kind=checkpoint to=cold", True),
        ("kind=check*,log to=cold", True),
        ("kind=log to=cold", False),
        ("project=vision/* status=finished,failed to=cold", True),
        ("project=vision to=cold", False),
        ("status=failed to=cold", False),
        ("tag=paper to=cold", True),
        ("tag=paper:icml to=cold", True),
        ("tag=paper:neurips to=cold", False),
        ("tag=keep to=cold", True),
        ("older_than=40d to=cold", True),
        ("older_than=6w to=cold", False),
        ("older_than=961h to=cold", False),
    ],
)
def test_what_a_rule_means(text: str, expected: bool) -> None:
    assert Rule.parse(text).means("checkpoint", RUN, OLD) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "goes to ''"),
        ("kind=checkpoint", "goes to ''"),
        ("to=warm", "cold|delete|stay"),
        ("checkpoint to=cold", "'checkpoint' in the rule"),
        ("age=30d to=cold", "'age=30d' in the rule"),
        ("older_than=30 to=cold", "older_than is '30'"),
        ("older_than=-3d to=cold", "older_than is '-3d'"),
        ("older_than=9e99d to=cold", "older_than is"),
        ("older_than=99999999999999y to=cold", "too long"),
        ("keep=first to=cold", "best, last"),
        ("kind= to=cold", "at least one"),
        ("status=running to=cold", "at work"),
        ("to=cold to=delete", "says to twice"),
        ("tag='x to=cold", "cannot be read"),
    ],
)
def test_what_is_no_rule_says_why(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message.replace("|", r"\|")):
        Rule.parse(text)


def test_tiers_survive_the_marker_with_keys_of_newer_versions() -> None:
    tiers = TierPolicy(tier_id="a").changed("tiers.cold", "s3://b/cold/").changed("tiers.storage_class", "GLACIER")
    tiers = tiers.changed("tiers.prices.cold_gb_month", "0.5").with_rules("older_than=1d to=cold")
    stored = {**tiers.as_dict(), "replicas": 3}
    again = tier_policy_of({"tiers": stored})
    assert again.as_dict() == stored
    assert (again.cold_root, again.storage_class, again.problem) == ("s3://b/cold", "GLACIER", None)
    assert tier_policy_of({}) == TierPolicy()


def test_former_roots_are_remembered() -> None:
    tiers = TierPolicy()
    for root in ("s3://b/one", "s3://b/two", "s3://b/one", ""):
        tiers = tiers.changed("tiers.cold", root)
    assert tiers.cold_root is None
    assert set(tiers.roots) == {"s3://b/one", "s3://b/two"}
    assert tiers.changed("tiers.former", "").roots == ()
    with pytest.raises(ConfigurationError, match="only be emptied"):
        tiers.changed("tiers.former", "s3://b/x")


@pytest.mark.parametrize(
    "wrong",
    [
        {"rules": [{"to": "cold", "unless": ["x"]}]},
        {"rules": [{"to": "cold", "older_than": 30}]},
        {"rules": "to=cold"},
        {"rules": [["to", "cold"]]},
        {"storage_class": "cold please"},
        {"prices": {"cold_gb_month": "much"}},
        {"prices": 3},
    ],
)
def test_tiers_that_are_not_understood_say_so_and_are_left_alone(wrong: dict[str, object]) -> None:
    tiers = tier_policy_of({"tiers": {"cold": "/cold", "former": ["s3://b/x"], **wrong}})
    assert tiers.problem
    assert tiers.roots == ("/cold", "s3://b/x"), "what was moved is still found"
    assert tiers.rules == ()
    for change in (
        lambda: tiers.changed("tiers.cold", "/y"),
        lambda: tiers.with_rules("to=cold"),
        tiers.require_understood,
    ):
        with pytest.raises(ConfigurationError, match="cannot be understood"):
            change()


@pytest.mark.parametrize(
    "marker", [{"tiers": 3}, {"tiers": []}, {"tiers": {"cold": "relative"}}, {"tiers": {"cold": 3}}]
)
def test_a_root_that_is_no_address_is_none(marker: dict[str, object]) -> None:
    tiers = tier_policy_of(marker)
    assert tiers.problem
    assert tiers.roots == ()


@pytest.mark.parametrize("root", ["s3:bucket/x", "s3://key:secret@bucket/x"])
def test_a_wrong_root_is_refused(root: str) -> None:
    with pytest.raises(ConfigurationError):
        TierPolicy().changed("tiers.cold", root)


@pytest.mark.parametrize(
    ("key", "value"),
    [("tiers.x", "1"), ("tiers.prices.x", "1"), ("tiers.prices.cold_gb_month", "-1"), ("tiers.prices.source", "me"),
     ("tiers.prices.cold_gb_month", "nan"), ("tiers.storage_class", "glacier")],
)  # fmt: skip
def test_a_wrong_setting_is_refused(key: str, value: str) -> None:
    with pytest.raises(ConfigurationError):
        TierPolicy().changed(key, value)


def test_prices_say_where_they_come_from() -> None:
    both = list_prices("s3://b/lake", "s3://b/cold", "DEEP_ARCHIVE")
    assert (both.hot_gb_month, both.cold_gb_month, both.minimum_days) == (0.023, 0.00099, 180)
    assert "list prices" in both.source
    nothing = list_prices("/lake", "/cold", None)
    assert not nothing.are_known
    assert nothing.source.startswith("none")
    said = TierPolicy("/cold").changed("tiers.prices.hot_gb_month", "0.1").prices_for("/lake")
    assert said.hot_gb_month == 0.1
    assert said.source == "the lake's policy (hot_gb_month)"
    assert list_prices("s3://b/lake", "s3://b/cold", "OUTPOSTS") == list_prices("s3://b/lake", None, None)


def test_small_objects_are_billed_as_larger_ones() -> None:
    assert Prices(smallest_kb=128, overhead_kb=40).billed_bytes(1) == 168 * 1024
    assert Prices().billed_bytes(7) == 7
