"""Routes about what is kept of a person, and the administrator's."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import AfterValidator, Field

from deployments.http_service import Service, admitted
from deployments.schemas import records as wire
from deployments.schemas.errors import responses
from deployments.schemas.native import Id, known_zone

Limit = Annotated[int, Query(ge=1, le=500)]
Offset = Annotated[int, Query(ge=0, le=10**9)]


def router(service: Service) -> APIRouter:
    """Routes over the service's records, for who may see them."""
    records = service.records
    routes = APIRouter(responses=responses())

    def zone(
        timezone: Annotated[
            Annotated[str, Field(max_length=64), AfterValidator(known_zone)] | None,
            Query(description="IANA name of the person's time zone; the configured default where it is left out"),
        ] = None,
    ) -> str:
        return timezone or service.settings.default_timezone

    async def user(request: Request, user: Annotated[Id, Path(description="User id")]) -> str:
        return await admitted(request, service, user) or user

    async def admin(request: Request) -> None:
        await admitted(request, service, None, admin=True)

    Zone = Annotated[str, Depends(zone)]
    User = Annotated[str, Depends(user)]
    Admin = [Depends(admin)]

    @routes.get("/v1/users/{user}/memories", tags=["memories"])
    async def list_memories(user: User, zone: Zone) -> wire.Memories:
        """What she remembers, newest first, with history and expiry."""
        return await records.memories(user, zone)

    @routes.post(
        "/v1/users/{user}/memories",
        tags=["memories"],
        status_code=201,
        responses=responses("invalid_json", "body_too_large", "model_unavailable"),
    )
    async def remember(user: User, body: wire.NewMemory, zone: Zone) -> wire.Memory:
        """Writes a memory; the same key replaces its value and keeps the history."""
        return await records.remember(user, body, zone)

    @routes.patch(
        "/v1/users/{user}/memories/{memory_id}",
        tags=["memories"],
        responses=responses("memory_not_found", "invalid_json", "body_too_large", "model_unavailable"),
    )
    async def change(user: User, memory_id: Id, body: wire.ChangedMemory, zone: Zone) -> wire.Memory:
        """Changes a value; the old one goes into the history."""
        return await records.change(user, memory_id, body, zone)

    @routes.delete(
        "/v1/users/{user}/memories/{memory_id}",
        tags=["memories"],
        status_code=204,
        responses=responses("memory_not_found"),
    )
    async def forget(user: User, memory_id: Id) -> None:
        """Forgets a memory with its history."""
        await records.forget(user, memory_id)

    @routes.get("/v1/users/{user}/sessions", tags=["sessions"])
    async def list_sessions(user: User) -> wire.Sessions:
        """Conversations with at least one turn, the last used first."""
        return await records.sessions(user)

    @routes.get("/v1/users/{user}/sessions/{session}", tags=["sessions"], responses=responses("session_not_found"))
    async def read_session(user: User, session: Id) -> wire.SessionTurns:
        """All turns of a session, in order."""
        return await records.turns(user, session)

    @routes.delete(
        "/v1/users/{user}/sessions/{session}",
        tags=["sessions"],
        status_code=204,
        responses=responses("session_not_found"),
    )
    async def delete_session(user: User, session: Id) -> None:
        """Deletes turns and summary of a session; memories stay."""
        await records.delete_session(user, session)

    @routes.get("/v1/users/{user}/export", tags=["person"], responses=responses("user_not_found"))
    async def export(user: User) -> dict[str, Any]:
        """Everything kept about a person."""
        return await records.export(user)

    @routes.delete("/v1/users/{user}", tags=["person"])
    async def erase(user: User) -> wire.Erasure:
        """Erases a person and says what was erased; the ledger of an active block stays until it ends."""
        return await records.erase(user)

    @routes.get("/v1/users/{user}/sanctions", tags=["sanctions"])
    async def sanctions(user: User) -> wire.Sanctions:
        """The ledger and the block in force."""
        return await records.sanctions(user)

    @routes.post(
        "/v1/users/{user}/appeals",
        tags=["sanctions"],
        status_code=201,
        responses=responses("sanction_not_found", "invalid_json", "body_too_large"),
    )
    async def appeal(user: User, body: wire.NewAppeal) -> wire.Entry:
        """Appeals against a sanction; also while blocked."""
        return await records.appeal(user, body)

    @routes.get("/v1/admin/sanctions", tags=["admin"], dependencies=Admin)
    async def all_sanctions(limit: Limit = 50, offset: Offset = 0) -> wire.Page:
        """Warnings, blocks and lifts of all users, the newest first."""
        return await records.all_sanctions(limit, offset)

    @routes.get("/v1/admin/appeals", tags=["admin"], dependencies=Admin)
    async def all_appeals(limit: Limit = 50, offset: Offset = 0) -> wire.Page:
        """Appeals of all users, the newest first."""
        return await records.all_appeals(limit, offset)

    @routes.post(
        "/v1/admin/users/{user}/sanctions/{sanction_id}/lift",
        tags=["admin"],
        dependencies=Admin,
        responses=responses("sanction_not_found", "invalid_json", "body_too_large"),
    )
    async def lift(
        user: Annotated[Id, Path(description="User id")], sanction_id: Id, body: wire.LiftRequest
    ) -> wire.Entry:
        """Lifts a sanction; the lift is an entry of the ledger itself."""
        return await records.lift(user, sanction_id, body)

    return routes
