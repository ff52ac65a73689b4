// The chat page. Talks only to the server it came from; text is only ever set as text, never as markup.

const ID = /^(?!\.{1,2}$)[A-Za-z0-9._:@-]{1,128}$/; // the server's rule, less what a browser takes for a folder above
const TRIES = 5; // sends of one message without being asked
const LONGEST_WAIT_S = 120; // a longer Retry-After is left to the person
const KEY = /^[\x21-\x7e]{1,512}$/; // what a header can carry
const FIRST = "ohlora"; // who is there on every server
const NAMES = new Map([[FIRST, "오로라"], ["tutor", "튜터"]]);
const MAX_VALUE = 200; // longest value of a memory
const POSES = {
  eyes: ["작게", "보통", "크게", "아주 크게"],
  mouth: ["보통", "크게", "아주 크게"],
  head: ["없음", "보통", "많이"],
};
const CATEGORIES = { love: "사랑 고백·만남 요구", politics: "정치 이야기", paedrip: "부모님에 대한 모욕", hate: "혐오·욕설" };
const PARTS = { memory_search: "기억 떠올리기", documents: "자료 찾기", memory: "기억하기", pose: "표정", summary: "대화 요약" };
const KINDS = { memories: "기억", sessions: "대화", turns: "주고받은 말", ledger_entries: "경고·차단 기록", idempotent_replies: "임시로 둔 답" };

const $ = (id) => document.getElementById(id);
const narrow = matchMedia("(max-width: 1099px)");

/** An element with properties and children; strings become text. */
function make(tag, props = {}, ...children) {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// ---------------------------------------------------------------- what is kept in this browser: ids and, for the tab, a key; nothing said

function stored(area, key, value) {
  try {
    if (value === undefined) return area().getItem(key);
    if (value === null) area().removeItem(key);
    else area().setItem(key, value);
  } catch {
    // A browser that keeps nothing: ids last as long as the page.
  }
  return null;
}
const local = (key, value) => stored(() => localStorage, `ohlora.${key}`, value);
const perTab = (key, value) => stored(() => sessionStorage, `ohlora.${key}`, value);

function randomId() {
  // Not randomUUID: that one is missing where the page comes over plain HTTP from another machine.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function timezone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return zone && zone !== "Etc/Unknown" ? zone : null;
}

const state = {
  user: "",
  session: "",
  persona: FIRST,
  personas: null, // ids of those that the server has, once it has told
  view: 0, // grows when another person or conversation is shown; what belongs to an older one is dropped
  running: null, // the AbortController of the turn that is being answered
  blocked: false,
  recheck: 0,
};

// ---------------------------------------------------------------- HTTP

class Failure extends Error {
  constructor(status, error, retryAfter) {
    super(error.message || "알 수 없는 문제가 생겼어요. 잠시 뒤 다시 해 주세요.");
    Object.assign(this, { status, retryAfter, fields: error, code: error.code || "" });
  }
}
const LOST = "서버에 닿지 않아요. 연결을 확인하고 다시 보내 주세요.";
const said = (error) => (error instanceof Failure ? error.message : LOST);

/** Seconds of a Retry-After, which is a number of them or, from some proxies, a date. */
function secondsToWait(text) {
  const seconds = /^\d/.test(text ?? "") ? Number.parseFloat(text) : (Date.parse(text) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(seconds, 0) : null;
}

const bearer = (key) => (key ? { Authorization: `Bearer ${key}` } : {});

async function call(method, path, { body, headers = {}, signal } = {}) {
  for (;;) {
    const { value: key, round } = access;
    const sent = { "Accept-Language": "ko", ...bearer(key), ...headers };
    if (body !== undefined) sent["Content-Type"] = "application/json";
    const response = await fetch(path, {
      method, signal, headers: sent, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store",
    });
    if (response.ok) return response;
    if (response.status === 401 && (await anotherKey(key, round))) continue;
    const found = await response.json().catch(() => ({}));
    throw new Failure(response.status, found.error || {}, secondsToWait(response.headers.get("Retry-After")));
  }
}

// The key lasts as long as the tab, and is only ever sent as a header.
const access = { value: KEY.test(perTab("key") ?? "") ? perTab("key") : null, round: 0, asking: null };

function keepKey(key) {
  access.value = key;
  perTab("key", key);
  showKey();
  void loadPersonas();
}

/** Why this can't be a key, or "". */
function keyProblem(key) {
  if (!key) return "키를 넣어 주세요.";
  return KEY.test(key) ? "" : "키에는 영문, 숫자, 기호만 쓸 수 있어요.";
}

/** After a refusal of the key `used`: whether there is another to try. All that were refused wait for one dialog. */
async function anotherKey(used, round) {
  if (access.value !== used) return true;
  if (access.round !== round) return false; // the person has declined while this was on its way
  access.asking ??= askKey(used).finally(() => {
    access.asking = null;
    access.round += 1;
  });
  return access.asking;
}

function askKey(used) {
  const dialog = $("ask-key");
  const input = $("ask-key-value");
  const why = used ? "서버가 이 키를 받아 주지 않아요. 확인하고 다시 넣어 주세요." : "이 서버는 키가 있어야 쓸 수 있어요.";
  $("ask-key-text").textContent = `${why}\n키는 이 탭을 닫으면 지워져요.`;
  const complain = (problem) => {
    $("ask-key-error").textContent = problem;
    input.setAttribute("aria-invalid", String(problem !== ""));
  };
  complain("");
  return new Promise((resolve) => {
    $("ask-key-form").onsubmit = (event) => {
      event.preventDefault();
      const key = input.value.trim();
      complain(keyProblem(key));
      if (keyProblem(key)) return void input.focus();
      keepKey(key);
      dialog.close("key");
    };
    $("ask-key-no").onclick = () => dialog.close("no");
    dialog.onclose = () => {
      input.value = "";
      resolve(dialog.returnValue === "key");
    };
    dialog.returnValue = "no";
    dialog.showModal();
  });
}

const path = (...parts) => ["v1", "users", state.user, ...parts].map(encodeURIComponent).join("/");

function inZone(address) {
  const zone = timezone();
  return zone ? `${address}?${new URLSearchParams({ timezone: zone })}` : address;
}

/** Server-sent events of a body: [name, data]. Comments, such as ": ping", are left out. */
async function* serverEvents(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let name = "";
  let data = [];
  for (;;) {
    const { value, done } = await reader.read();
    rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
    const lines = rest.split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (data.length) yield [name || "message", JSON.parse(data.join("\n"))];
        [name, data] = ["", []];
      } else if (!line.startsWith(":")) {
        const [, field, text] = /^([^:]*):? ?(.*)$/.exec(line);
        if (field === "event") name = text;
        if (field === "data") data.push(text);
      }
    }
    if (done) return;
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

// ---------------------------------------------------------------- the face

function showPose(pose) {
  const words = { eyes: "보통", mouth: "보통", head: "없음" };
  for (const part of Object.keys(POSES)) {
    if (pose && POSES[part].includes(pose[part])) words[part] = pose[part];
    $("face").dataset[part] = words[part];
  }
  const texts = [`눈 ${words.eyes}`, `입 ${words.mouth}`, `고개 돌림 ${words.head}`];
  $("pose-text").replaceChildren(...texts.map((text) => make("span", {}, text)));
  $("face-title").textContent = `오로라의 얼굴: ${texts.join(", ")}`;
}

/** What she is doing: "thinking", "talking" or nothing. */
function busyFace(doing) {
  $("face").classList.toggle("thinking", doing === "thinking");
  $("face").classList.toggle("talking", doing === "talking");
}

// ---------------------------------------------------------------- turns on the page

const announce = (text) => ($("announce").textContent = text);
const alarm = (text) => ($("alert").textContent = text);

/** Whether the end of the conversation is in sight, so that new text may move the view. */
const atEnd = () => $("scroll").scrollHeight - $("scroll").scrollTop - $("scroll").clientHeight < 90;
const toEnd = () => ($("scroll").scrollTop = $("scroll").scrollHeight);

function keepingEnd(change) {
  const follow = atEnd();
  change();
  if (follow) toEnd();
}

class TurnView {
  constructor(text) {
    this.text = text;
    this.name = nameOf(state.persona);
    this.hers = null;
    this.after = make("div", { className: "turn" });
    this.item = make(
      "li", { className: "turn" },
      make("div", { className: "bubble mine" }, make("span", { className: "sr-only" }, "나: "), text),
      this.after,
    );
  }

  clear() {
    this.after.replaceChildren();
    this.hers = null;
  }

  waiting() {
    this.clear();
    const dots = make("span", { className: "dots" }, make("i"), make("i"), make("i"));
    dots.setAttribute("aria-hidden", "true");
    this.after.append(make("div", { className: "bubble hers" }, make("span", { className: "sr-only" }, `${this.name}: 생각하고 있어요`), dots));
  }

  write(text) {
    if (!this.hers) {
      this.clear();
      this.hers = make("span");
      this.bubble = make("div", { className: "bubble hers writing" }, make("span", { className: "sr-only" }, `${this.name}: `), this.hers);
      this.after.append(this.bubble);
    }
    this.hers.append(text);
  }

  /** The whole reply in place of what was streamed. */
  finish(reply) {
    this.clear();
    this.write(reply.answer);
    this.bubble.classList.remove("writing");
    const chips = make("div", { className: "chips" });
    const { used, saved } = reply.memory || {};
    if (used) chips.append(chip("떠올린 기억", `${used.key}: ${used.value}`));
    if (saved) chips.append(chip("새로 기억함", `${saved.key}: ${saved.value}`));
    const missing = (reply.degraded || []).map((part) => PARTS[part] || part);
    if (missing.length) chips.append(chip("이번에는 못 했어요", missing.join(", "), "chip part"));
    if (chips.childElementCount) this.after.append(chips);
    if (reply.sources?.length) this.after.append(sourceList(reply.sources));
    if (reply.system_message) this.after.append(notice(reply.system_message, "notice warn"));
  }

  /** Ends without a whole reply: keeps what was streamed, marked as unfinished. */
  end(box) {
    if (this.hers) {
      this.bubble.classList.remove("writing");
      this.bubble.classList.add("stopped");
    } else this.clear();
    this.after.append(box);
  }
}

const chip = (name, text, className = "chip") => make("span", { className }, make("b", {}, name), text);

/** What an answer was made from, folded. */
function sourceList(sources) {
  const item = ({ title, text, similarity }) =>
    make(
      "li", {},
      make("p", { className: "title" }, make("b", {}, title), make("span", {}, `비슷한 정도 ${percent(similarity)}`)),
      make("p", { className: "text" }, text),
    );
  return make("details", { className: "sources" }, make("summary", {}, `자료 (${sources.length})`), make("ol", {}, ...sources.map(item)));
}

const percent = (share) => new Intl.NumberFormat("ko-KR", { style: "percent" }).format(share);

function notice(text, className = "notice", ...buttons) {
  return make("div", { className }, make("p", {}, text), ...buttons);
}

function button(text, onclick, className = "") {
  return make("button", { type: "button", textContent: text, className, onclick });
}

function showWelcome() {
  $("welcome").hidden = $("log").childElementCount > 0;
}

// ---------------------------------------------------------------- sending

function startTurn(text) {
  const body = { user_id: state.user, session_id: state.session, persona: state.persona, message: text, stream: true };
  const zone = timezone();
  if (zone) body.timezone = zone;
  // One key for all sends of this message: the server answers it once, however often it arrives.
  const turn = { view: state.view, body, key: randomId(), shown: new TurnView(text) };
  $("log").append(turn.shown.item);
  showWelcome();
  toEnd();
  void run(turn);
}

async function run(turn) {
  if (state.running || turn.view !== state.view) return;
  const controller = new AbortController();
  state.running = controller;
  showRunning();
  try {
    await sendUntilTaken(turn, controller.signal);
  } catch (error) {
    if (turn.view === state.view) keepingEnd(() => failed(turn, error));
  } finally {
    if (state.running === controller) {
      state.running = null;
      busyFace(null);
      showRunning();
    }
  }
}

async function sendUntilTaken(turn, signal) {
  for (let attempt = 1; ; attempt += 1) {
    keepingEnd(() => turn.shown.waiting());
    busyFace("thinking");
    try {
      return await sendOnce(turn, signal);
    } catch (error) {
      const again = error instanceof Failure && !error.inStream && [409, 429, 503].includes(error.status);
      const wait = again ? (error.retryAfter ?? Math.min(attempt, 4)) : 0;
      if (!again || attempt >= TRIES || wait > LONGEST_WAIT_S) throw error;
      await countDown(turn, Math.max(Math.ceil(wait), 1), attempt, signal);
    }
  }
}

/** Waits in sight of the person; said aloud once, not every second. */
async function countDown(turn, seconds, attempt, signal) {
  const text = (left) => `지금은 바로 답할 수 없어서 ${left}초 뒤에 다시 보낼게요. (${attempt}/${TRIES - 1})`;
  const box = notice(text(seconds), "notice quiet");
  keepingEnd(() => {
    turn.shown.clear();
    turn.shown.after.append(box);
  });
  busyFace(null);
  if (attempt === 1) announce(text(seconds));
  const end = performance.now() + seconds * 1000; // seconds of a tab in the background are long ones
  for (let left = end - performance.now(); left > 0; left = end - performance.now()) {
    box.firstChild.textContent = text(Math.ceil(left / 1000));
    await pause(Math.min(left / 1000, 1), signal);
  }
}

async function sendOnce(turn, signal) {
  const response = await call("POST", "v1/chat", { body: turn.body, headers: { "Idempotency-Key": turn.key }, signal });
  const mine = () => turn.view === state.view;
  for await (const [name, data] of serverEvents(response.body)) {
    if (!mine()) return;
    if (name === "token") {
      busyFace("talking");
      keepingEnd(() => turn.shown.write(data.text));
    } else if (name === "pose") {
      busyFace(null);
      showPose(data);
    } else if (name === "error") {
      throw Object.assign(new Failure(0, data.error || {}, null), { inStream: true });
    } else if (name === "done") {
      keepingEnd(() => turn.shown.finish(data));
      showPose(data.pose);
      const sources = data.sources?.length ? `자료 ${data.sources.length}개가 있어요.` : null;
      const told = [`${turn.shown.name}: ${data.answer}`, data.system_message, sources];
      announce(told.filter(Boolean).join(" "));
      if (data.memory && (data.memory.saved || data.memory.used)) void loadMemories();
      return;
    }
  }
  throw new Failure(0, { message: "답이 끝나기 전에 연결이 끊겼어요. 다시 보내면 이어서 확인할게요." }, null);
}

function failed(turn, error) {
  const retry = button("다시 보내기", () => void run(turn));
  if (error.name === "AbortError") {
    turn.shown.end(notice("멈췄어요. 여기까지의 이야기는 기억하지 않아요.", "notice quiet", retry));
    announce("멈췄어요.");
    return;
  }
  const text = said(error);
  const edit = button("고쳐 쓰기", () => rewrite(turn));
  if (error.code === "user_blocked") {
    turn.shown.end(notice("이 말은 전해지지 않았어요."));
    showBlock(error.fields.blocked_until, error.fields.categories || [], error.fields.sanction_id, false);
    alarm(text);
    return;
  }
  if (error.code === "idempotency_mismatch") turn.key = randomId();
  const wrong = [400, 404, 413, 422].includes(error.status) && error.code !== "idempotency_mismatch";
  turn.shown.end(notice(text, "notice", wrong ? edit : retry));
  if (error.code === "not_permitted") {
    showPanel(true);
    document.querySelector(".key").open = true;
  }
  alarm(text);
}

/** Takes a message that could not be sent back into the input. */
function rewrite(turn) {
  const input = $("message");
  input.value = input.value.trim() ? `${turn.body.message}\n${input.value}` : turn.body.message;
  turn.shown.item.remove();
  showWelcome();
  fit();
  input.focus();
}

function stop() {
  state.running?.abort();
}

function showRunning() {
  const running = state.running !== null;
  const focused = [$("send"), $("stop")].includes(document.activeElement);
  $("send").hidden = running;
  $("stop").hidden = !running;
  $("send").disabled = $("message").disabled = state.blocked;
  $("log").setAttribute("aria-busy", String(running));
  if (focused) $("message").focus();
}

function submit() {
  const text = $("message").value.trim();
  if (!text || state.running || state.blocked) return;
  $("message").value = "";
  fit();
  startTurn(text);
}

/** The input is as high as its text, within limits. */
function fit() {
  const input = $("message");
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight + 2}px`;
}

// ---------------------------------------------------------------- blocks and appeals

const moment = (text) => new Intl.DateTimeFormat("ko-KR", { dateStyle: "long", timeStyle: "short" }).format(new Date(text));

function showBlock(until, categories, sanction, appealed) {
  state.blocked = true;
  const names = [...new Set(categories)].map((key) => CATEGORIES[key] || key).join(", ");
  const title = make("h2", { tabIndex: -1 }, "지금은 대화할 수 없어요");
  const why = `${names ? `${names} 때문에 ` : ""}${moment(until)}까지 쉬어 가야 해요.`;
  const text = make("textarea", { id: "appeal", rows: 2, maxLength: 2000, required: true });
  const result = make("p", {});
  result.setAttribute("role", "status");
  const recheck = button("풀렸는지 확인", () => void checkBlock(true));
  const form = make(
    "form", {},
    make("label", { htmlFor: "appeal" }, "잘못된 조치라고 생각하면 까닭을 적어 주세요"),
    text,
    make("div", { className: "actions" }, make("button", { type: "submit" }, "이의 제기"), recheck),
  );
  const received = () => {
    form.replaceChildren(recheck);
    result.textContent = "이의 제기를 받았어요. 운영자가 살펴보고 잘못된 조치이면 풀어 드려요.";
  };
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (!text.value.trim()) return void (result.textContent = "까닭을 적어 주세요.");
    try {
      await call("POST", path("appeals"), { body: { sanction_id: sanction, text: text.value.trim() } });
      received();
    } catch (error) {
      result.textContent = said(error);
    }
  };
  if (appealed) received();
  $("block-bar").replaceChildren(title, make("p", {}, why), form, result);
  $("block-bar").hidden = false;
  showRunning();
  title.focus();
  clearTimeout(state.recheck);
  const left = new Date(until).getTime() - Date.now() + 1000;
  state.recheck = setTimeout(() => void checkBlock(false), Math.min(Math.max(left, 1000), 2 ** 31 - 1));
}

function hideBlock() {
  clearTimeout(state.recheck);
  state.blocked = false;
  $("block-bar").hidden = true;
  showRunning();
}

async function checkBlock(asked) {
  const view = state.view;
  try {
    const found = await (await call("GET", path("sanctions"))).json();
    if (view !== state.view) return;
    if (!found.blocked_until) {
      if (state.blocked) announce("이제 다시 이야기할 수 있어요.");
      hideBlock();
      if (asked) $("message").focus();
      return;
    }
    const ids = found.sanction_ids;
    const categories = found.ledger.filter((entry) => ids.includes(entry.id)).map((entry) => entry.category);
    const appealed = found.ledger.some((entry) => entry.kind === "appeal" && ids.includes(entry.sanction_id));
    showBlock(found.blocked_until, categories, ids[ids.length - 1], appealed);
    if (asked) announce("아직 풀리지 않았어요.");
  } catch (error) {
    if (asked && view === state.view) alarm(said(error));
  }
}

// ---------------------------------------------------------------- memories

let asking = 0; // the newest reading of the list wins

async function loadMemories(reopen) {
  const mine = (asking += 1);
  try {
    const { memories } = await (await call("GET", inZone(path("memories")))).json();
    if (mine !== asking) return;
    $("memories").replaceChildren(...memories.map(memoryItem));
    $("memories-note").textContent = memories.length ? "" : "아직 기억하는 것이 없어요. 나에 대해 이야기하면 여기에 쌓여요.";
    if (reopen) (document.querySelector(`[data-memory="${CSS.escape(reopen)}"] button`) || $("memories-title").parentElement.querySelector("button")).focus();
  } catch (error) {
    if (mine === asking) $("memories-note").textContent = said(error);
  }
}

function memoryItem(memory) {
  const item = make("li", { className: "memory" });
  item.dataset.memory = memory.id;
  const when = `${moment(memory.told_at)}에 들었어요${memory.expires_at ? ` · ${moment(memory.expires_at)}까지 기억해요` : ""}`;
  const edit = button("고치기", () => editMemory(item, memory), "link");
  const forget = button("잊기", () => void forgetMemory(memory), "link danger");
  edit.setAttribute("aria-label", `${memory.key} 고치기`);
  forget.setAttribute("aria-label", `${memory.key} 잊기`);
  item.append(
    make("p", { className: "name" }, memory.key),
    make("p", { className: "value" }, memory.value),
    make("p", { className: "when" }, when),
  );
  if (memory.history.length) {
    const old = memory.history.map((entry) => make("li", {}, `${entry.value} (${moment(entry.told_at)})`));
    item.append(make("details", {}, make("summary", {}, `예전에는 (${old.length})`), make("ul", {}, ...old)));
  }
  item.append(make("div", { className: "actions" }, edit, forget));
  return item;
}

function editMemory(item, memory) {
  const input = make("input", { value: memory.value, maxLength: MAX_VALUE, required: true });
  input.setAttribute("aria-label", `${memory.key}의 새 내용`);
  const problem = make("p", { className: "field-error" });
  problem.setAttribute("role", "alert");
  const back = () => {
    const fresh = memoryItem(memory);
    item.replaceWith(fresh);
    fresh.querySelector("button").focus();
  };
  const form = make(
    "form", {}, input, problem,
    make("div", { className: "actions" }, make("button", { type: "submit", className: "link" }, "저장"), button("그만두기", back, "link")),
  );
  form.onkeydown = (event) => {
    if (event.key === "Escape" && !event.isComposing) {
      event.stopPropagation();
      back();
    }
  };
  form.onsubmit = async (event) => {
    event.preventDefault();
    const value = input.value.trim();
    if (!value || /[[\]]/.test(value)) return void (problem.textContent = "대괄호 없이 한 글자 이상 적어 주세요.");
    try {
      await call("PATCH", inZone(path("memories", memory.id)), { body: { value } });
      announce("기억을 고쳤어요.");
      await loadMemories(memory.id);
    } catch (error) {
      problem.textContent = said(error);
    }
  };
  item.replaceChildren(make("p", { className: "name" }, memory.key), form);
  input.focus();
  input.select();
}

async function forgetMemory(memory) {
  const sure = await confirmed("이 기억을 잊을까요?", `${memory.key}: ${memory.value}\n되돌릴 수 없어요.`, "잊기");
  if (!sure) return;
  try {
    await call("DELETE", path("memories", memory.id));
    announce("잊었어요.");
  } catch (error) {
    if (error.code !== "memory_not_found") return void ($("memories-note").textContent = said(error));
  }
  await loadMemories("-");
}

// ---------------------------------------------------------------- the person and their data

function confirmed(title, text, yes) {
  const dialog = $("confirm");
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  return new Promise((resolve) => {
    $("confirm-yes").onclick = () => dialog.close("yes");
    $("confirm-no").onclick = () => dialog.close("no");
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
    dialog.returnValue = "no";
    dialog.showModal();
  });
}

/** Where the id of a person's conversation is kept; each persona has its own. No id has a slash. */
const sessionKey = (user) => (state.persona === FIRST ? `session.${user}` : `session.${user}/${state.persona}`);

/** Shows a conversation of a person; without a session that of this browser, or a new one. */
function open(user, session) {
  stop();
  state.running = null;
  state.view += 1;
  state.user = user;
  const known = session || local(sessionKey(user));
  state.session = known && ID.test(known) ? known : randomId();
  local("user", user);
  local(sessionKey(user), state.session);
  $("user").value = user;
  $("log").replaceChildren();
  $("memories").replaceChildren();
  $("data-note").textContent = "";
  showPersona();
  showWelcome();
  showPose(null);
  busyFace(null);
  hideBlock();
  void loadMemories();
  void checkBlock(false);
  if (known && !session) void restore();
}

/** What was said in this conversation before. */
async function restore() {
  const view = state.view;
  try {
    const { turns } = await (await call("GET", path("sessions", state.session))).json();
    if (view !== state.view) return;
    const shown = turns.filter((turn) => turn.reply && turn.reply.memory).map((turn) => {
      const item = new TurnView(turn.prompt);
      item.finish(turn.reply);
      return item.item;
    });
    $("log").prepend(...shown);
    if (shown.length && !state.running) showPose(turns[turns.length - 1].reply.pose);
    showWelcome();
    toEnd();
  } catch (error) {
    if (view === state.view && error.status !== 404) alarm(said(error));
  }
}

function newSession() {
  open(state.user, randomId());
  announce("새 대화를 시작했어요.");
  $("message").focus();
}

function changeUser(event) {
  event.preventDefault();
  const user = $("user").value.trim();
  const right = ID.test(user);
  $("user").setAttribute("aria-invalid", String(!right));
  $("user-error").textContent = right ? "" : "영문, 숫자, . _ : @ - 로 1자에서 128자까지 쓸 수 있어요.";
  if (!right) return void $("user").focus();
  if (user === state.user) return;
  open(user);
  announce(`아이디를 ${user}(으)로 바꿨어요.`);
}

async function exportAll() {
  const note = $("data-note");
  try {
    const kept = await (await call("GET", path("export"))).json();
    const url = URL.createObjectURL(new Blob([JSON.stringify(kept, null, 2)], { type: "application/json" }));
    const name = `ohlora-${state.user.replace(/[^A-Za-z0-9.-]/g, "_")}-${new Date().toISOString().slice(0, 10)}.json`;
    make("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    note.textContent = `${name} 파일로 내려받았어요.`;
  } catch (error) {
    note.textContent = error.code === "user_not_found" ? "아직 저장된 것이 없어요." : said(error);
  }
}

async function eraseAll() {
  const text = `아이디 ${state.user}의 대화, 요약, 기억을 서버에서 모두 지워요. 되돌릴 수 없어요.`;
  if (!(await confirmed("정말 모두 지울까요?", text, "모두 지우기"))) return;
  stop();
  try {
    const { erased, kept } = await (await call("DELETE", path())).json();
    open(state.user, randomId());
    const counted = Object.entries(erased).filter(([, count]) => count > 0);
    const list = counted.map(([kind, count]) => `${KINDS[kind] || kind} ${count}개`).join(", ");
    const rest = kept ? ` 지금 걸려 있는 차단 기록은 ${moment(kept.until)}까지 남아요.` : "";
    $("data-note").textContent = (list ? `모두 지웠어요: ${list}.` : "지울 것이 없었어요.") + rest;
  } catch (error) {
    $("data-note").textContent = error.code === "user_not_found" ? "지울 것이 없었어요." : said(error);
  }
}

// ---------------------------------------------------------------- who is talked to

const nameOf = (persona) => NAMES.get(persona) ?? persona;

function showPersona() {
  const name = nameOf(state.persona);
  const offered = state.personas ?? [FIRST];
  $("persona").replaceChildren(...offered.map((id) => make("option", { value: id }, nameOf(id))));
  $("persona").value = state.persona;
  $("persona-choice").hidden = offered.length < 2;
  for (const spot of document.querySelectorAll("[data-name]")) spot.textContent = name;
  for (const greeting of document.querySelectorAll("[data-greeting]")) greeting.hidden = greeting.dataset.greeting !== state.persona;
  $("message").placeholder = `${name}에게 말 걸기`;
}

/** Who can be talked to. Where the server doesn't say, only the first. */
async function loadPersonas() {
  try {
    const { data } = await (await call("GET", "v1/models")).json();
    const ids = data.map(({ id }) => id).filter((id) => ID.test(id));
    if (ids.length) state.personas = ids;
  } catch {
    // An earlier list stays; without one there is only the first.
  }
  const offered = state.personas ?? [FIRST];
  const wanted = local("persona");
  const begun = state.running || $("log").childElementCount;
  const stays = offered.includes(state.persona) && (begun || !offered.includes(wanted));
  const next = stays ? state.persona : offered.includes(wanted) ? wanted : offered[0];
  if (next === state.persona) return showPersona();
  state.persona = next;
  open(state.user);
}

function changePersona() {
  state.persona = $("persona").value;
  local("persona", state.persona);
  open(state.user);
  announce(`이제 ${nameOf(state.persona)}와 이야기해요.`);
}

// ---------------------------------------------------------------- the key, as the settings show it

function showKey() {
  $("forget-key").hidden = access.value === null;
  $("key-help").textContent = access.value
    ? "이 탭에서 키를 쓰고 있어요. 이 탭을 닫으면 지워져요."
    : "서버가 키를 요구할 때만 넣으세요. 이 탭을 닫으면 지워져요.";
}

function changeKey(event) {
  event.preventDefault();
  const key = $("key").value.trim();
  const problem = keyProblem(key);
  $("key").setAttribute("aria-invalid", String(problem !== ""));
  $("key-error").textContent = problem;
  if (problem) return void $("key").focus();
  $("key").value = "";
  keepKey(key);
  open(state.user);
}

function forgetKey() {
  access.value = null;
  perTab("key", null);
  showKey();
  $("key-error").textContent = "";
  announce("키를 지웠어요.");
  $("key").focus();
}

// ---------------------------------------------------------------- the panel: beside the chat, over it where it is narrow

function showPanel(shown) {
  const over = shown && narrow.matches;
  $("panel").hidden = !shown;
  $("scrim").hidden = !over;
  $("app").classList.toggle("with-panel", shown);
  $("open-panel").setAttribute("aria-expanded", String(shown));
  for (const part of document.querySelectorAll(".top, .stage, .chat")) part.inert = over;
}

function closePanel() {
  showPanel(false);
  $("open-panel").focus();
}

function togglePanel() {
  if (!$("panel").hidden) return closePanel();
  showPanel(true);
  $("panel-title").focus();
  void loadMemories();
}

// ---------------------------------------------------------------- readiness

async function watchHealth(waited = false) {
  let [kind, text, again] = ["ready", "이야기할 수 있어요", 0];
  try {
    const response = await fetch("readyz", { headers: bearer(access.value), cache: "no-store" });
    if (!response.ok) [kind, text, again] = ["waiting", "준비하고 있어요", 5];
  } catch {
    [kind, text, again] = ["down", "서버에 닿지 않아요", 10];
  }
  $("health").className = `health ${kind}`;
  if ($("health-text").textContent !== text) $("health-text").textContent = text;
  if (again) setTimeout(() => void watchHealth(true), again * 1000);
  else if (waited && !state.personas) void loadPersonas();
}

// ---------------------------------------------------------------- wiring

$("composer").onsubmit = (event) => {
  event.preventDefault();
  submit();
};
$("message").oninput = fit;
$("message").onkeydown = (event) => {
  // While a syllable is being composed, Enter belongs to the input method (229: browsers that end it first).
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  submit();
};
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || document.querySelector("dialog[open]")) return;
  if (!$("scrim").hidden) closePanel();
  else stop();
});
for (const starter of document.querySelectorAll(".starter")) {
  starter.onclick = () => {
    if (state.running || state.blocked) return;
    startTurn(starter.textContent);
    $("message").focus();
  };
}
$("stop").onclick = stop;
$("new-session").onclick = newSession;
$("open-panel").onclick = togglePanel;
$("close-panel").onclick = closePanel;
$("scrim").onclick = closePanel;
$("reload-memories").onclick = () => void loadMemories();
$("user-form").onsubmit = changeUser;
$("key-form").onsubmit = changeKey;
$("forget-key").onclick = forgetKey;
$("persona").onchange = changePersona;
$("export").onclick = () => void exportAll();
$("erase").onclick = () => void eraseAll();
narrow.onchange = () => showPanel(!$("panel").hidden && !narrow.matches);

{
  const known = local("user");
  const persona = local("persona");
  if (persona && ID.test(persona)) state.persona = persona;
  showKey();
  showPanel(!narrow.matches);
  open(known && ID.test(known) ? known : `guest-${randomId()}`);
  void loadPersonas();
  void watchHealth();
  if (matchMedia("(hover: hover)").matches) $("message").focus();
}
