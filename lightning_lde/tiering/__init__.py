"""A lake's tiers as its policy has them: where the cold root is, which files go there or away, what storage costs."""

from lightning_lde.tiering._policy import TierPolicy, new_tier_id, tier_policy_of
from lightning_lde.tiering._prices import Prices, list_prices
from lightning_lde.tiering._rules import KEEPS, TARGETS, Rule, RunFacts

__all__ = [
    "KEEPS",
    "TARGETS",
    "Prices",
    "Rule",
    "RunFacts",
    "TierPolicy",
    "list_prices",
    "new_tier_id",
    "tier_policy_of",
]
