"""What requests have cost, and what they may: a number of requests, of tokens, or money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.endpoints.settings import EndpointSettings

_MILLION = 1_000_000


@dataclass(frozen=True)
class Spent:
    """Requests, and the tokens that the model read and wrote for them."""

    requests: int = 0
    input: int = 0
    output: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.requests + other.requests, self.input + other.input, self.output + other.output)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.requests - other.requests, self.input - other.input, self.output - other.output)

    @property
    def tokens(self) -> int:
        """The tokens, read and written."""
        return self.input + self.output

    def cost(self, price_input: float, price_output: float) -> float:
        """Return the price of the tokens, from the prices of a million."""
        return (self.input * price_input + self.output * price_output) / _MILLION


@dataclass(frozen=True)
class Budget:
    """The limits of the settings."""

    settings: EndpointSettings

    def __post_init__(self) -> None:
        settings = self.settings
        check_prices(
            {
                "max_cost": settings.endpoint_max_cost,
                "price_input": settings.endpoint_price_input,
                "price_output": settings.endpoint_price_output,
            }
        )

    def cost(self, spent: Spent) -> float:
        """Return the price of an amount."""
        return spent.cost(self.settings.endpoint_price_input, self.settings.endpoint_price_output)

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        settings = self.settings
        limits = settings.endpoint_max_requests, settings.endpoint_max_tokens, settings.endpoint_max_cost
        return limits != (None, None, None)

    def exceeded(self, spent: Spent) -> str | None:
        """Return the limit that an amount exceeds, as text; None where it is within all."""
        settings = self.settings
        amounts = {"max_requests": spent.requests, "max_tokens": spent.tokens, "max_cost": self.cost(spent)}
        limits = {name: getattr(settings, f"endpoint_{name}") for name in amounts}
        over = [name for name, limit in limits.items() if limit is not None and amounts[name] > limit]
        return f"endpoint.{over[0]} is {limits[over[0]]:,}" if over else None


def check_prices(keys: Mapping[str, Any]) -> None:
    """Raise UserError where the keys of an endpoint limit the cost and give no price."""
    if keys["max_cost"] is not None and not (keys["price_input"] or keys["price_output"]):
        raise UserError("endpoint.max_cost needs the prices: set endpoint.price_input and endpoint.price_output")
