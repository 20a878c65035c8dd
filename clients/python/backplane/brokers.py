"""The list of brokers that a program is given."""

from collections.abc import Sequence


def broker_list(**endpoints: str | Sequence[str]) -> list[dict[str, str]]:
    """One dictionary for each broker, from one endpoint or several for each purpose: egress=…, control=…. The first
    endpoints of all purposes belong to the first broker, and so on. Raises ValueError if there are none, or if the
    numbers differ."""
    lists = {name: [each] if isinstance(each, str) else list(each) for name, each in endpoints.items()}
    counts = {len(each) for each in lists.values()}
    if len(counts) != 1 or 0 in counts:
        numbers = ", ".join(f"{len(each)} for {name}" for name, each in lists.items())
        raise ValueError(f"expected the same number of endpoints for each purpose, at least one, got {numbers}")
    return [dict(zip(lists, each)) for each in zip(*lists.values())]


def names_of(brokers: list[dict[str, str]], purpose: str) -> str:
    """The endpoints of a purpose, for messages."""
    return ", ".join(broker[purpose] for broker in brokers)
