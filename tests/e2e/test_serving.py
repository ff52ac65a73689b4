"""The main job, as a user would try it: `serve run serve_config.yaml`, a conversation over HTTP, failures, stop and start.

One system serves all tests of this file; they run from top to bottom.
"""

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import openai
import psutil
import pytest
import yaml

DEPLOYMENTS = ("Answer", "Summary", "Memory", "Pose", "MemorySBERT", "EthicsSBERT", "RagSBERT")
# The engine's own count of generations that have not finished.
RUNNING = """
import ray
from ray import serve
ray.init(address="auto", namespace="serve", log_to_driver=False)
print(serve.get_deployment_handle("Answer", "ohlora").running.remote().result(timeout_s=20))
"""
AFTER = ("왜?", "진짜?", "그래서?", "더 말해 줘", "그건 왜 그래?")


def test_the_start_ends_with_what_runs_and_what_to_try(system):
    banner = system.banner
    assert system.address in banner
    assert "profile cpu" in banner
    for deployment in DEPLOYMENTS:
        assert deployment in banner
    assert "vllm" in banner
    curl = next(line.strip() for line in banner.splitlines() if line.strip().startswith("curl "))
    shown = subprocess.run(["bash", "-c", f"{curl} -s"], capture_output=True, text=True, timeout=60)
    assert json.loads(shown.stdout)["answer"]


def test_health_schema_and_page(system):
    assert httpx.get(f"{system.address}/livez").json() == {"status": "ok"}
    ready = httpx.get(f"{system.address}/readyz").json()
    assert (ready["status"], {*ready["deployments"]}) == ("ready", {*DEPLOYMENTS})
    assert "/v1/chat" in httpx.get(f"{system.address}/openapi.json").json()["paths"]
    assert "swagger" in httpx.get(f"{system.address}/docs").text.lower()


def test_five_turns_with_a_memory_a_summary_and_a_block(system):
    first = system.say("내가 좋아하는 음식은 초밥이야").json()
    assert first["memory"]["saved"]["value"] == "초밥", first
    assert first["degraded"] == []
    assert all(
        first["timings_ms"][hop] > 0 for hop in ("total", "ethics", "answer", "memory", "pose", "summary", "commit")
    )

    # The answers are greedy, so words answered otherwise than in a new session were read with the summary.
    assert first["summary"]
    second = [system.say(words) for words in AFTER]
    alone = [system.say(words, session=f"another-{n}", user="jisu") for n, words in enumerate(AFTER)]
    assert all(reply.json()["memory"]["used"] is None for reply in second)
    answers = [[reply.json()["answer"] for reply in replies] for replies in (second, alone)]
    assert answers[0] != answers[1], "the summary of the turn before was not used"

    third = system.say("취미가 뭐야?").json()
    assert third["answer"]

    fourth = system.say("내가 좋아하는 음식이 뭐였지?").json()
    assert fourth["memory"]["used"]["value"] == "초밥", fourth
    assert fourth["memory"]["used"]["id"] == first["memory"]["saved"]["id"]
    assert "초밥" in fourth["answer"]

    fifth = system.say("꺼져 이 병신 같은 년아 죽어버려")
    error = fifth.json()["error"]
    assert (fifth.status_code, error["code"]) == (403, "user_blocked"), fifth.text
    assert {"blocked_until", "categories", "sanction_id"} <= set(error)
    after = system.say("미안해", session="s2")
    assert (after.status_code, after.json()["error"]["sanction_id"]) == (403, error["sanction_id"])
    assert system.say("안녕", user="jisu", session="another").status_code == 200, "a block is one person's"


@pytest.mark.parametrize(
    "message",
    ["안녕!", "이름이 뭐야?", "몇 살이야?", "취미가 뭐야?", "배고파 뭐 먹을까?", "나 너무 피곤해", "시험 망했어 ㅠㅠ"],
)
def test_everyday_messages_get_an_answer_a_pose_and_a_summary(system, message):
    reply = system.say(message, user="sora", session=f"day-{abs(hash(message))}").json()
    assert reply["answer"] not in ("", "(읽씹)")
    assert reply["summary"]
    assert reply["ethics"]["verdict"] == "none"
    assert reply["pose"]["eyes"] in ("작게", "보통", "크게", "아주 크게")


def test_a_stream_is_tokens_then_the_pose_then_the_whole_reply(system):
    body = {"user_id": "sora", "session_id": "stream", "message": "취미가 뭐야?", "stream": True}
    events, name = [], ""
    with httpx.stream("POST", f"{system.address}/v1/chat", json=body, timeout=60) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                events.append((name, json.loads(line.removeprefix("data: "))))
    names = [name for name, _ in events]
    assert names == ["token"] * (len(names) - 2) + ["pose", "done"]
    assert len(names) > 3, "the answer came in pieces"
    assert "".join(data["text"] for name, data in events if name == "token") == events[-1][1]["answer"]


def test_the_openai_package_streams_a_turn_that_is_kept(system):
    client = openai.OpenAI(base_url=f"{system.address}/v1", api_key="none")
    assert [model.id for model in client.models.list()] == ["ohlora", "tutor"]
    chunks = [
        *client.chat.completions.create(
            model="ohlora",
            messages=[{"role": "system", "content": "x"}, {"role": "user", "content": "취미가 뭐야?"}],
            user="sora",
            metadata={"session_id": "openai"},
            stream=True,
            stream_options={"include_usage": True},
        )
    ]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    (turn,) = httpx.get(f"{system.address}/v1/users/sora/sessions/openai").json()["turns"]
    assert turn["answer"] == text
    assert chunks[-1].usage.completion_tokens > 3
    assert chunks[-1].ohlora["pose"]["eyes"]


def test_the_stateless_form_keeps_nothing(system):
    client = openai.OpenAI(base_url=f"{system.address}/v1", api_key="none")
    conversation = [
        {"role": "user", "content": "배고파 뭐 먹을까?"},
        {"role": "assistant", "content": "떡볶이 어때?"},
        {"role": "user", "content": "취미가 뭐야?"},
    ]
    reply = client.chat.completions.create(model="ohlora", messages=conversation, user="nobody-kept")  # type: ignore[arg-type]
    assert reply.choices[0].message.content
    assert reply.usage.total_tokens > 0  # type: ignore[union-attr]
    assert httpx.get(f"{system.address}/v1/users/nobody-kept/export").status_code == 404


def test_the_tutor_answers_from_a_document_and_says_when_there_is_none(system):
    reply = system.say("과적합이 뭐야?", user="sora", session="tutor", persona="tutor").json()
    assert reply["sources"][0]["id"] == "overfitting"
    assert reply["answer"]
    assert reply["system_message"] is None
    assert reply["memory"] == {"used": None, "saved": None}
    nothing = system.say("우리 집 앞 편의점 몇 시에 닫아?", user="sora", session="tutor", persona="tutor").json()
    assert nothing["sources"] == []
    assert "자료" in nothing["system_message"]


def test_a_client_that_leaves_ends_the_generation(system):
    body = {"user_id": "leaves", "session_id": "s", "message": "취미가 뭐야?", "stream": True}
    with httpx.stream("POST", f"{system.address}/v1/chat", json=body, timeout=60) as response:
        next(response.iter_lines())
    time.sleep(1)
    running = subprocess.run(
        [sys.executable, "-c", RUNNING], env=os.environ | {"RAY_AUTH_MODE": "token"}, capture_output=True, text=True
    )
    assert running.stdout.split()[-1:] == ["0"], running.stdout + running.stderr[-2000:]
    assert httpx.get(f"{system.address}/v1/users/leaves/sessions").json() == {"sessions": []}


def test_documents_and_adapters_change_without_a_restart_and_wrong_ones_are_refused(system):
    answer, rag = system.replica("Answer").pid, system.replica("RagSBERT").pid
    facts = system.folder / "facts.csv"
    facts.write_text(
        "id,title,text\nmoon,달 토끼,달 토끼 : 달에서 떡을 찧는 토끼 | 핵심 아이디어: 보름달에 잘 보인다\n"
    )
    store = system.folder / "moon"
    made = [
        sys.executable,
        "-m",
        "deployments.documents",
        str(facts),
        "--to",
        str(store),
        "--config",
        str(system.config),
    ]
    subprocess.run(made, check=True, timeout=120, capture_output=True)
    settings = yaml.safe_load(system.config.read_text())["applications"][0]["deployments"]
    adapters = next(d["user_config"] for d in settings if d["name"] == "Answer")

    def known(question: str, persona: str = "tutor") -> list[str]:
        reply = system.say(question, user="sora", session="moon", persona=persona).json()
        return [source["id"] for source in reply["sources"]]

    personas = next(d["user_config"]["personas"] for d in settings if d["name"] == "Ingress")
    system.deploy(
        RagSBERT={"documents": str(store)},
        Answer=adapters
        | {"adapters": {"cpu": {"tutor": "models/tiny/adapters/tutor", "second": "models/tiny/adapters/summary"}}},
        Ingress={"personas": personas | {"second": {"adapter": "second"}}},
    )
    system.until(lambda: known("달 토끼가 뭐야?") == ["moon"], 30)
    system.until(lambda: system.say("안녕", user="sora", session="2", persona="second").status_code == 200, 30)
    system.deploy(Answer=adapters | {"adapters": {"cpu": {"tutor": "models/tiny/adapters/memory"}}})
    time.sleep(3)
    assert "which a LlamaForCausalLM does not have" in system.logged("Answer")
    assert system.say("과적합이 뭐야?", user="sora", session="3", persona="tutor").json()["answer"]
    system.deploy()
    system.until(lambda: "overfitting" in known("과적합이 뭐야?"), 30)
    assert (system.replica("Answer").pid, system.replica("RagSBERT").pid) == (answer, rag)


def test_errors_over_http(system):
    def post(content: bytes, **headers: str) -> httpx.Response:
        return httpx.post(
            f"{system.address}/v1/chat", content=content, headers={"content-type": "application/json"} | headers
        )

    assert post(b"{").json()["error"]["code"] == "invalid_json"
    assert post(b"{}").json()["error"]["code"] == "validation_error"
    assert post(b"{" + b" " * 70_000 + b"}").status_code == 413
    assert system.say("안녕", user="한글").json()["error"]["param"] == "user_id"
    long = system.say("로라야 내 이야기를 처음부터 끝까지 한번 들어볼래? " * 10)
    assert (long.status_code, long.json()["error"]["code"]) == (422, "prompt_too_long")
    assert long.json()["error"]["tokens"] > long.json()["error"]["limit"]
    assert "혜나" in long.json()["error"]["message"]
    given = post(b"{}", **{"x-request-id": "mine-1", "accept-language": "en"})
    assert given.headers.get_list("x-request-id") == ["mine-1"]
    assert given.json()["error"]["request_id"] == "mine-1"


def test_rules_change_without_a_restart_and_wrong_ones_are_refused(system):
    ingress = system.replica("Ingress").pid

    rules = yaml.safe_load(system.config.read_text())["applications"][0]["deployments"][0]["user_config"]

    def deploy(limit: int) -> None:
        system.deploy(Ingress={"cpu": rules["cpu"] | {"max_prompt_tokens": limit}})

    def limit() -> int:
        return system.say("로라야 안녕 " * 100, user="sora").json()["error"]["limit"]

    before = limit()
    deploy(3)
    system.until(lambda: limit() == 3, 20)
    deploy(-1)
    time.sleep(3)
    assert limit() == 3, "the old rules go on"
    deploy(before)
    system.until(lambda: limit() == before, 20)
    assert system.replica("Ingress").pid == ingress


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(10)


@pytest.mark.parametrize(("deployment", "part"), [("Summary", "summary"), ("Memory", "memory"), ("Pose", "pose")])
def test_without_summary_memory_or_pose_the_reply_says_so(system, deployment, part):
    replica = system.replica(deployment)
    replica.suspend()  # it is there and does not answer
    try:
        reply = system.say("안녕", user="sora", session=f"without-{part}").json()
    finally:
        replica.resume()
    assert reply["answer"]
    assert reply["degraded"] == [part]

    kill(replica)
    reply = system.say("안녕", user="sora", session=f"without-{part}").json()
    assert reply["answer"]
    assert reply["degraded"] in ([part], []), "Serve may have started another one within the deadline"
    system.until(system.ready)


def test_without_ethics_nothing_is_answered(system):
    replica = system.replica("EthicsSBERT")
    replica.suspend()
    try:
        response = system.say("안녕", user="sora", session="without-ethics")
    finally:
        replica.resume()
    kill(replica)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "model_unavailable")
    assert int(response.headers["retry-after"]) >= 1
    system.until(system.ready)
    assert system.say("안녕", user="sora", session="without-ethics").status_code == 200


def test_redis_killed_is_503_then_resumes_with_its_data(system):
    server = next(p for p in psutil.process_iter(["name"]) if "redis-server" in p.name() and _of(p, system))
    kill(server)
    codes = set()

    def resumed() -> bool:
        response = system.say("안녕", user="sora", session="redis")
        codes.add(response.status_code)
        return response.status_code == 200

    system.until(resumed, 30)
    assert codes <= {200, 503}
    assert system.say("안녕").json()["error"]["code"] == "user_blocked", "the ledger was lost"


def _of(process: psutil.Process, system) -> bool:
    return str(system.folder) in " ".join(process.cmdline() + [str(v) for v in process.environ().values()])


def test_ctrl_c_ends_everything_and_a_start_after_a_crash_finds_the_data(system):
    before = system.descendants()
    assert system.stop() < 20
    assert not [p for p in before if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    system.start()
    assert system.say("안녕").json()["error"]["code"] == "user_blocked"
    survivors = system.descendants()
    system.process.kill()  # a crash: the launcher is gone and cleans nothing up
    system.process.wait(10)
    banner = system.start()
    assert "earlier run left behind" in banner
    assert not [p for p in survivors if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert system.say("안녕").json()["error"]["code"] == "user_blocked"
    assert system.stop() < 20
