"""What a person and an administrator can do with what is kept, over HTTP in this process."""

from tests.unit.deployments.test_http import client, code, service  # noqa: F401 - fixtures

BODY = {"user_id": "mina", "session_id": "s1", "message": "안녕"}
FRUIT = {"key": "좋아하는 과일", "value": "딸기"}


async def test_a_memory_is_written_changed_listed_and_forgotten(client):  # noqa: F811
    made = await client.post("/v1/users/mina/memories", json=FRUIT)
    assert made.status_code == 201
    memory = made.json()
    again = await client.post("/v1/users/mina/memories", json={"key": "좋아하는과일 ", "value": "포도"})
    assert again.json()["id"] == memory["id"]
    changed = await client.patch(f"/v1/users/mina/memories/{memory['id']}", json={"value": "귤"})
    assert changed.json()["value"] == "귤"
    (listed,) = (await client.get("/v1/users/mina/memories")).json()["memories"]
    assert [old["value"] for old in listed["history"]] == ["딸기", "포도"]
    assert listed["told_at"].endswith("Z")
    assert (await client.delete(f"/v1/users/mina/memories/{memory['id']}")).status_code == 204
    assert (await client.get("/v1/users/mina/memories")).json() == {"memories": []}
    assert code(await client.delete(f"/v1/users/mina/memories/{memory['id']}")) == (404, "memory_not_found")
    gone = await client.patch(f"/v1/users/mina/memories/{memory['id']}", json={"value": "귤"})
    assert code(gone) == (404, "memory_not_found")


async def test_memories_are_one_persons(client):  # noqa: F811
    memory = (await client.post("/v1/users/mina/memories", json=FRUIT)).json()
    assert (await client.get("/v1/users/jisu/memories")).json() == {"memories": []}
    assert code(await client.delete(f"/v1/users/jisu/memories/{memory['id']}")) == (404, "memory_not_found")


async def test_a_memory_about_tomorrow_expires_after_it(client):  # noqa: F811
    memory = (await client.post("/v1/users/mina/memories", json={"key": "내일 일정", "value": "치과"})).json()
    assert memory["expires_at"].endswith("T19:00:00Z"), "04:00 in Seoul"


async def test_control_text_in_a_memory_is_refused_or_taken_out(client):  # noqa: F811
    marks = await client.post("/v1/users/mina/memories", json={"key": "이름", "value": "(답변 종료)"})
    assert code(marks) == (422, "validation_error")
    for wrong in ({"key": "a]b", "value": "x"}, {"key": "a:b", "value": "x"}, {"key": "a", "value": "[b: c]"}):
        assert code(await client.post("/v1/users/mina/memories", json=wrong)) == (422, "validation_error")


async def test_sessions_are_listed_read_and_deleted(client):  # noqa: F811
    reply = (await client.post("/v1/chat", json=BODY)).json()
    (session,) = (await client.get("/v1/users/mina/sessions")).json()["sessions"]
    assert (session["session_id"], session["turns"]) == ("s1", 1)
    (turn,) = (await client.get("/v1/users/mina/sessions/s1")).json()["turns"]
    assert (turn["prompt"], turn["answer"], turn["turn_id"]) == ("안녕", reply["answer"], reply["turn_id"])
    assert (await client.delete("/v1/users/mina/sessions/s1")).status_code == 204
    assert code(await client.get("/v1/users/mina/sessions/s1")) == (404, "session_not_found")


async def test_export_has_everything_and_erasure_leaves_nothing(client):  # noqa: F811
    await client.post("/v1/chat", json=BODY)
    await client.post("/v1/users/mina/memories", json=FRUIT)
    exported = (await client.get("/v1/users/mina/export")).json()
    assert "딸기" in str(exported)
    assert "안녕" in str(exported)
    erased = (await client.delete("/v1/users/mina")).json()
    assert erased["kept"] is None
    assert sum(erased["erased"].values()) >= 2
    assert code(await client.get("/v1/users/mina/export")) == (404, "user_not_found")


async def test_a_block_is_appealed_against_and_lifted(client, service):  # noqa: F811
    service.conversation._models.score(**{"혐오/기타": 0.95})
    blocked = (await client.post("/v1/chat", json=BODY)).json()["error"]
    service.conversation._models.score()
    sanctions = (await client.get("/v1/users/mina/sanctions")).json()
    assert sanctions["sanction_ids"] == [blocked["sanction_id"]]
    assert sanctions["blocked_until"][:19] == blocked["blocked_until"][:19]
    appeal = {"sanction_id": blocked["sanction_id"], "text": "오해예요"}
    assert (await client.post("/v1/users/mina/appeals", json=appeal)).status_code == 201
    assert code(await client.post("/v1/users/mina/appeals", json=appeal | {"sanction_id": "x"})) == (
        404, "sanction_not_found",
    )  # fmt: skip
    (listed,) = (await client.get("/v1/admin/appeals")).json()["entries"]
    assert (listed["user_id"], listed["entry"]["text"]) == ("mina", "오해예요")

    address = f"/v1/admin/users/mina/sanctions/{blocked['sanction_id']}/lift"
    assert (await client.post(address, json={"reason": "오해였음"})).json()["kind"] == "lift"
    assert (await client.get("/v1/users/mina/sanctions")).json()["blocked_until"] is None
    assert (await client.post("/v1/chat", json=BODY)).status_code == 200
    kinds = [e["entry"]["kind"] for e in (await client.get("/v1/admin/sanctions")).json()["entries"]]
    assert sorted(kinds) == ["block", "lift"]
