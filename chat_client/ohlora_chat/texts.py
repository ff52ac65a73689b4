"""Every sentence of the client, in Korean and in English. Knows nothing else.

What the server says comes from the server, in the language it is asked for.
"""

from typing import Literal

Lang = Literal["ko", "en"]

# name -> (Korean, English)
TEXTS: dict[str, tuple[str, str]] = {
    # the help page
    "about": (
        "터미널에서 오로라(Oh-LoRA)와 이야기해요.\n\n"
        "말을 주지 않으면 대화를 시작해요. /도움 을 치면 할 수 있는 일이 나와요. "
        "Ctrl-C는 쓰던 줄을 지우거나 답을 멈추고, Ctrl-D는 나가요.\n\n"
        "말을 주거나 파이프로 이으면(한 줄이 한 마디) 표준 출력에는 오로라의 말만, 나머지는 표준 오류에 써요. "
        "답을 못 받은 말이 있으면 1로 끝나요.",
        "Talk with Oh-LoRA in the terminal.\n\n"
        "Without a message a conversation begins; /help lists what can be done in it. "
        "Ctrl-C clears the line or stops an answer, Ctrl-D leaves.\n\n"
        "With a message, or with lines from a pipe (each is one message), stdout holds her words alone and stderr the rest. "
        "The exit code is 1 if a message had no answer.",
    ),
    "examples": (
        "\b\n예:\n"
        "  ohlora-chat                            대화하기\n"
        '  ohlora-chat "로라야 안녕"                한마디만 하기\n'
        "  ohlora-chat < 할말.txt > 답.txt         여러 마디 하기\n"
        "  OHLORA_API_KEY=… ohlora-chat --url https://example.com --user mina",
        "\b\nExamples:\n"
        "  ohlora-chat                            talk\n"
        '  ohlora-chat "로라야 안녕"                say one thing\n'
        "  ohlora-chat < messages.txt > answers.txt\n"
        "  OHLORA_API_KEY=… ohlora-chat --url https://example.com --user mina",
    ),
    "opt_message": ("건넬 말. 답 하나를 받고 끝나요.", "What to say. One answer, then the end."),
    "opt_url": ("서버 주소", "Address of the server"),
    "opt_key": (
        "API 키. 명령줄은 다른 사용자에게 보일 수 있으니 환경 변수로 주세요. 화면에는 나오지 않아요.",
        "API key. Others may read a command line, so better give it by the environment variable. Never printed.",
    ),
    "opt_user": (
        "누구로 이야기할지. 기억이 이 아이디에 쌓여요. 기본값은 로그인 이름이에요.",
        "Who is talking; memories belong to this id. Without it, the login name.",
    ),
    "opt_session": (
        "이어서 할 대화의 아이디. 없으면 새 대화예요.",
        "Id of a conversation to go on with. Without it, a new one.",
    ),
    "opt_persona": ("누구와 이야기할지: ohlora, tutor …", "Whom to talk with: ohlora, tutor, …"),
    "opt_timezone": (
        "시간대(예: Asia/Seoul). 없으면 이 컴퓨터의 시간대예요.",
        "Time zone, such as Asia/Seoul. Without it, that of this machine.",
    ),
    "opt_lang": (
        "화면과 오류의 언어. 기본값은 LANG을 따라요. 오로라는 한국어로 말해요.",
        "Language of screen and errors; from LANG without it. She speaks Korean.",
    ),
    "opt_plain": ("색을 쓰지 않아요. (NO_COLOR도 같아요)", "No colours (NO_COLOR does the same)."),
    # wrong options
    "bad_url": (
        "http:// 나 https:// 로 시작하는 주소를 주세요.",
        "Give an address that begins with http:// or https://.",
    ),
    "bad_key": (
        "키에 쓸 수 없는 글자가 있어요. 빈칸이나 줄바꿈이 섞이지 않았는지 확인해 주세요.",
        "The key holds a character that no key can. Look for spaces or line breaks.",
    ),
    "bad_id": (
        "영문, 숫자, . _ : @ - 로 1자에서 128자까지 쓸 수 있어요.",
        "1 to 128 of letters A–Z, digits and . _ : @ - can be used.",
    ),
    "bad_zone": ("Asia/Seoul 같은 IANA 시간대 이름을 주세요.", "Give an IANA name, such as Asia/Seoul."),
    "bad_persona": ("페르소나 이름은 1자에서 64자까지예요.", "The name of a persona has 1 to 64 characters."),
    "bare_key": (
        "키가 암호화되지 않은 http:// 로 다른 컴퓨터에 보내져요. https:// 주소를 쓰는 것이 좋아요.",
        "The key goes to another machine over plain http://. Better use an https:// address.",
    ),
    # the conversation
    "welcome": (
        "오로라와 이야기해요 · {url} · 나: {user} · 상대: {persona}",
        "Talking with Oh-LoRA · {url} · you: {user} · with: {persona}",
    ),
    "welcome_hint": ("/도움 · Ctrl-C 멈춤 · Ctrl-D 나가기", "/help · Ctrl-C stops · Ctrl-D leaves"),
    "me": ("나", "me"),
    "her": ("오로라", "Oh-LoRA"),
    "thinking": ("오로라가 생각하고 있어요… (Ctrl-C: 멈춤)", "Oh-LoRA is thinking … (Ctrl-C: stop)"),
    "trying_again": ("다시 묻고 있어요…", "Asking again …"),
    "waiting_lost": (
        "서버에 닿지 않아요. {seconds}초 뒤에 다시 물어볼게요. (Ctrl-C: 그만)",
        "The server can't be reached. Asking again in {seconds} s. (Ctrl-C: stop)",
    ),
    "waiting_busy": (
        "{message} — {seconds}초 뒤에 다시 물어볼게요. (Ctrl-C: 그만)",
        "{message} — Asking again in {seconds} s. (Ctrl-C: stop)",
    ),
    "broke": ("(답이 끊겼어요. 처음부터 다시 받을게요.)", "(The answer broke off. It comes again from the start.)"),
    "stopped": (
        "멈췄어요. 끝까지 못 들은 이야기는 남지 않아요.",
        "Stopped. An answer that was not finished is not kept.",
    ),
    "empty_line_hint": ("나가려면 Ctrl-D 또는 /끝", "Ctrl-D or /quit leaves"),
    "bye": ("다음에 또 이야기해요!", "See you!"),
    "bye_session": ("이어서 하려면: ohlora-chat --session {session}", "To go on: ohlora-chat --session {session}"),
    # under an answer
    "eyes_small": ("눈 작게", "eyes narrow"),
    "eyes_normal": ("눈 보통", "eyes as usual"),
    "eyes_big": ("눈 크게", "eyes wide"),
    "eyes_very_big": ("눈 아주 크게", "eyes very wide"),
    "mouth_normal": ("입 보통", "mouth as usual"),
    "mouth_big": ("입 크게", "mouth open"),
    "mouth_very_big": ("입 아주 크게", "mouth wide open"),
    "head_none": ("고개 그대로", "head straight"),
    "head_normal": ("고개 돌림", "head turned"),
    "head_much": ("고개 많이 돌림", "head turned far"),
    "degraded": ("이번에는 못 했어요: {parts}", "Not done this time: {parts}"),
    "part_memory_search": ("기억 떠올리기", "recalling"),
    "part_memory": ("기억하기", "remembering"),
    "part_pose": ("표정", "expression"),
    "part_summary": ("대화 요약", "summary"),
    # troubles
    "request_id": ("요청 번호 {id}", "request {id}"),
    "no_message": ("서버가 까닭 없이 {status}(으)로 답했어요.", "The server answered {status} and said no reason."),
    "not_ohlora": (
        "이 주소의 서버는 오로라가 아닌 것 같아요. --url 을 확인해 주세요.",
        "What answers at this address does not seem to be Oh-LoRA. Check --url.",
    ),
    "blocked_until": ("{until}까지 쉬어 가야 해요.", "Blocked until {until}."),
    "hint_key": (
        "--key 나 OHLORA_API_KEY 로 이 서버의 키를 주세요.",
        "Give a key of this server by --key or OHLORA_API_KEY.",
    ),
    "hint_shorten": (
        "고쳐서 다시 보낼 수 있게 남겨 두었어요.",
        "It is kept in the line: shorten it and send it again.",
    ),
    "gave_up_lost": (
        "{url} 에 닿지 않아 그만 기다릴게요. 서버가 켜져 있는지(`make serve`), 주소(--url)가 맞는지 확인하고 다시 보내 주세요.",
        "{url} can't be reached; no longer waiting. Check that the server runs (`make serve`) and the address (--url), "
        "then send it again.",
    ),
    "gave_up_busy": (
        "서버가 아직 말을 받지 못해 그만 기다릴게요. 잠시 뒤 다시 보내 주세요. 같은 말이 두 번 전해지지는 않아요.",
        "The server still can't take it; no longer waiting. Send it again later; it won't be said twice.",
    ),
    "gave_up_list": (
        "{url} 에 닿지 않아요. 서버가 켜져 있는지, 주소(--url)가 맞는지 확인해 주세요.",
        "{url} can't be reached. Check that the server runs and the address (--url).",
    ),
    # commands
    "unknown_command": ("{name} 명령은 없어요. 있는 것: {known}", "There is no command {name}. There are: {known}"),
    "help_help": ("이 목록", "this list"),
    "help_memories": ("나에 대해 기억하는 것", "what she remembers about you"),
    "help_forget": ("목록의 그 번호를 잊게 하기", "make her forget that number of the list"),
    "help_new": ("새 대화 (기억은 남아요)", "a new conversation (memories stay)"),
    "help_persona": ("상대를 보거나 바꾸기 (새 대화가 돼요)", "see or change whom you talk with (a new conversation)"),
    "help_quit": ("나가기", "leave"),
    "arg_number": ("번호", "n"),
    "arg_name": ("이름", "name"),
    "no_memories": (
        "아직 기억하는 것이 없어요. 나에 대해 이야기하면 여기에 쌓여요.",
        "Nothing remembered yet. Tell her about yourself.",
    ),
    "memories_title": ("{user} 에 대한 기억", "Memories about {user}"),
    "col_key": ("무엇", "what"),
    "col_value": ("내용", "value"),
    "col_told": ("들은 때", "told"),
    "col_expires": ("언제까지", "until"),
    "forget_look": ("먼저 목록에서 번호를 보고 골라 주세요.", "Look at the list first and take a number from it."),
    "forget_number": ("목록에 있는 번호를 주세요: {command} 1", "Give a number of the list: {command} 1"),
    "forgotten": ("잊었어요: {key}: {value}", "Forgotten: {key}: {value}"),
    "new_session": ("새 대화를 시작해요. 기억은 그대로예요.", "A new conversation. Memories stay."),
    "persona_now": (
        "지금은 {persona} 와 이야기해요. 바꾸기: {command} 이름 (예: ohlora, tutor)",
        "Talking with {persona}. To change: {command} NAME (such as ohlora, tutor)",
    ),
    "persona_set": ("이제 {persona} 와 이야기해요. 새 대화예요.", "Now talking with {persona}, in a new conversation."),
    # time
    "moment": ("{year}년 {month}월 {day}일 {time}", "{year}-{month:02}-{day:02} {time}"),
}


class Texts:
    """The sentences of one language."""

    def __init__(self, lang: str) -> None:
        self.lang: Lang = "en" if lang == "en" else "ko"

    def __call__(self, text: str, /, **words: object) -> str:
        """The sentence named ``text`` with ``words`` in their places."""
        return TEXTS[text][self.lang == "en"].format(**words)
