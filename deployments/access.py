"""Who may do what: API keys, what each kind of key is for, and how often.

Knows nothing about HTTP but the two headers it reads and writes. Keys are kept as SHA-256 of a random key (32 bytes: nothing
to guess, so no slow hash is needed), and compared in constant time. `python -m deployments.access` makes one.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from deployments.config import AccessSettings, ApiKey
from deployments.schemas.errors import ApiError
from state.limits import Allowance
from state.store import Store


@dataclass(frozen=True)
class Caller:
    """Who sent a request. ``open`` is everybody on a server without keys, which listens on loopback only."""

    kind: Literal["open", "user", "service", "admin"]
    key: str | None = None
    user_id: str | None = None

    def acting_for(self, user_id: str | None) -> str | None:
        """The user that a request is about, or None where it names none. Raises ApiError not_permitted."""
        if self.kind == "admin" or (self.kind == "user" and user_id not in (None, self.user_id)):
            raise ApiError("not_permitted")
        return self.user_id if self.kind == "user" else user_id

    def administering(self) -> None:
        """Raises ApiError not_permitted for anybody but an administrator."""
        if self.kind not in ("open", "admin"):
            raise ApiError("not_permitted")


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def caller(access: AccessSettings, authorization: str) -> Caller:
    """Who sent a request with this ``Authorization`` header. Raises ApiError invalid_api_key."""
    if not access.keys:
        return Caller("open")
    scheme, _, given = authorization.partition(" ")
    presented = digest(given.strip())
    # Every key is compared, so that the time tells nothing about which one was near.
    matching = [key for key in access.keys if hmac.compare_digest(key.sha256, presented)]
    if scheme.lower() != "bearer" or not matching:
        raise ApiError("invalid_api_key")
    return Caller(matching[0].kind, matching[0].name, matching[0].user_id)


async def count(store: Store, access: AccessSettings, user_id: str | None, key: str | None) -> list[Allowance]:
    """Counts one request of ``key`` about ``user_id`` against the limits of each. Raises StoreUnavailable."""
    taken = []
    if user_id and access.user_limit:
        taken.append(store.take_of_user(user_id, access.user_limit.requests, access.user_limit.per_s))
    if key and access.key_limit:
        taken.append(store.take_of_key(key, access.key_limit.requests, access.key_limit.per_s))
    return [*await asyncio.gather(*taken)]


def headers(allowances: Sequence[Allowance]) -> dict[str, str]:
    """``RateLimit-*`` of the limit with the least left."""
    if not allowances:
        return {}
    least = min(allowances, key=lambda a: (a.allowed, a.remaining / a.limit))
    return {
        "RateLimit-Limit": str(least.limit),
        "RateLimit-Remaining": str(least.remaining),
        "RateLimit-Reset": str(least.reset_s),
    }


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_open_address(host: str, access: AccessSettings) -> None:
    """Raises ValueError for a server that others could reach without a key."""
    if not access.keys and not is_loopback(host):
        raise ValueError(
            f"http_options.host: {host} is reachable from elsewhere, and there are no API keys: use 127.0.0.1, or add keys "
            f"to deployments.Ingress.user_config.access.keys (python -m deployments.access makes one)"
        )


def _main() -> None:
    import typer

    def main(
        name: Annotated[str, typer.Argument(help="Name of the key, for limits and logs")],
        kind: Annotated[
            str, typer.Option(help="user: acts for one user; service: for any (a front end); admin: administrators")
        ] = "service",
        user: Annotated[str | None, typer.Option(help="The user of a user key")] = None,
    ) -> None:
        """Make an API key. The key is shown once and kept nowhere; the file gets its hash.

        Example: python -m deployments.access web --kind service
        """
        key = "ohlora-" + secrets.token_urlsafe(32)
        try:
            made = ApiKey.model_validate({"name": name, "kind": kind, "sha256": digest(key), "user_id": user})
        except ValueError as error:
            typer.secho(f"error: {error}", fg="red", err=True)
            raise typer.Exit(2) from None
        line = ", ".join(f"{k}: {json.dumps(v)}" for k, v in made.model_dump(exclude_none=True).items())
        typer.echo(f"key, shown only now:  {key}")
        typer.echo("add to serve_config.yaml, under deployments: Ingress: user_config: access: keys:")
        typer.echo(f"- {{{line}}}")

    typer.run(main)


if __name__ == "__main__":
    _main()
