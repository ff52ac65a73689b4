"""Who Oh-LoRA is, and every Korean sentence that the system itself says to a person (with its English twin).

The answers of the models are not here: they come from the models.
"""

NAME = "오로라"
FACTS = {
    "이름": "오로라 (Oh-LoRA)",
    "생년월일": "2003-10-11",
    "MBTI": "ENTJ",
    "고등학교": "알파고등학교 (2019–2022)",
    "대학교": "샘올대학교 인공지능학과 3학년",
    "이름의 뜻": "오로라와 LoRA (Low-Rank Adaptation)",
    "능력": "사람들의 삶을 밝혀 주는 것",
    "절친": "혜나 (LLM Hyena)",
}

CATEGORY_NAMES = {
    "love": ("사랑 고백·만남 요구", "love confession or date request"),
    "politics": ("정치 이야기", "politics"),
    "paedrip": ("부모님에 대한 모욕", "insult to one's parents"),
    "hate": ("혐오·욕설", "hate or abuse"),
}

WARNING = (
    "⚠️ {categories} 때문에 경고를 받았어요. 같은 일이 되풀이되면 대화가 한동안 막혀요.",
    "⚠️ This is a warning for: {categories}. If it happens again, you will be blocked for a while.",
)

NO_SOURCE = (
    "🔎 자료에서 알맞은 내용을 찾지 못했어요. 답이 틀릴 수 있어요.",
    "🔎 Nothing fitting was found in the documents, so the answer may be wrong.",
)

NOT_ANSWERED = (
    "미안하지만 그 말에는 대답하지 않을게요. 서로 존중하는 이야기를 해요.",
    "I'm sorry, I won't answer that. Let's talk with respect for each other.",
)

# What pydantic finds wrong with a value, by its error type; {…} is the error's own context. Others are said in English.
INVALID = {
    "missing": "꼭 있어야 하는 값이 빠졌어요",
    "extra_forbidden": "모르는 필드예요. 이름을 확인해 주세요",
    "string_type": "문자열이어야 해요",
    "string_too_short": "{min_length}자 이상이어야 해요",
    "string_too_long": "{max_length}자 이하여야 해요",
    "string_pattern_mismatch": "쓸 수 없는 글자가 있거나 너무 길어요. 1–128자의 A–Z a–z 0–9 . _ : @ - 만 쓸 수 있어요",
    "bool_parsing": "true나 false여야 해요",
    "bool_type": "true나 false여야 해요",
    "int_parsing": "정수여야 해요",
    "int_type": "정수여야 해요",
    "int_from_float": "정수여야 해요",
    "float_type": "숫자여야 해요",
    "float_parsing": "숫자여야 해요",
    "greater_than_equal": "{ge} 이상이어야 해요",
    "less_than_equal": "{le} 이하여야 해요",
    "literal_error": "{expected} 가운데 하나여야 해요",
    "list_type": "목록이어야 해요",
    "too_short": "{min_length}개 이상이어야 해요",
    "too_long": "{max_length}개 이하여야 해요",
    "dict_type": "객체여야 해요",
    "model_type": "객체여야 해요",
    "model_attributes_type": "객체여야 해요",
}
NOT_JSON = (
    "Content-Type을 application/json으로 보내 주세요",
    "send it with Content-Type: application/json",
)

# code -> (Korean, English): what happened, and what to do about it.
ERRORS = {
    "invalid_json": (
        "요청 본문을 읽을 수 없어요. UTF-8로 쓴 올바른 JSON인지 확인해 주세요. ({detail})",
        "The body is not valid JSON. Send one JSON object in UTF-8. ({detail})",
    ),
    "validation_error": (
        "요청의 `{param}` 값이 올바르지 않아요: {detail}",
        "The field `{param}` of the request is not valid: {detail}",
    ),
    "body_too_large": (
        "요청이 너무 커요. {limit}바이트 이하로 줄여 주세요.",
        "The body is too large. Keep it within {limit} bytes.",
    ),
    "headers_too_large": (
        "요청 헤더가 너무 커요. {limit}바이트 이하로 줄여 주세요.",
        "The request headers are too large. Keep them within {limit} bytes.",
    ),
    "prompt_too_long": (
        "조금만 짧게 말해 줄래요? 이렇게 긴 이야기는 제 친구 혜나가 더 잘 들어줘요. ({tokens}토큰, 최대 {limit}토큰)",
        "That was a bit long for me: {tokens} tokens, and I can take {limit}. Please say it shorter.",
    ),
    "user_blocked": (
        "{named} 때문에 {until}까지 대화할 수 없어요. 잘못된 조치라고 생각하면 이의를 제기할 수 있어요.",
        "You are blocked until {until} for: {named}. If you think this is a mistake, you can appeal.",
    ),
    "invalid_api_key": ("API 키가 올바르지 않아요. 키를 확인해 주세요.", "The API key is not valid. Check the key."),
    "not_permitted": (
        "이 키로는 할 수 없는 일이에요. 권한이 있는 키를 사용해 주세요.",
        "This key does not allow that. Use a key that does.",
    ),
    "user_not_found": ("그런 사용자를 찾을 수 없어요: {detail}", "There is no such user: {detail}"),
    "memory_not_found": ("그런 기억을 찾을 수 없어요: {detail}", "There is no such memory: {detail}"),
    "sanction_not_found": ("그런 조치를 찾을 수 없어요: {detail}", "There is no such sanction: {detail}"),
    "session_not_found": ("그런 대화를 찾을 수 없어요: {detail}", "There is no such session: {detail}"),
    "model_not_found": (
        "그런 페르소나가 없어요: {detail}. 있는 것: {known}",
        "There is no such persona: {detail}. Known: {known}",
    ),
    "session_busy": (
        "이 대화의 앞선 말에 아직 답하고 있어요. 답을 받은 뒤 다시 보내 주세요.",
        "The message before this one is still being answered. Send this one again after its reply.",
    ),
    "idempotency_in_progress": (
        "같은 Idempotency-Key의 요청을 아직 처리하고 있어요. 잠시 뒤 다시 보내 주세요.",
        "A request with the same Idempotency-Key is still running. Send it again in a moment.",
    ),
    "idempotency_mismatch": (
        "같은 Idempotency-Key로 다른 내용이 왔어요. 새 키를 사용해 주세요.",
        "This Idempotency-Key was used with another body. Use a new key.",
    ),
    "unsupported_parameter": (
        "지원하지 않는 매개변수예요: {detail}. 빼고 다시 보내 주세요.",
        "These parameters can't be honoured: {detail}. Leave them out.",
    ),
    "rate_limited": (
        "요청이 너무 잦아요. {retry_after}초 뒤에 다시 보내 주세요.",
        "Too many requests. Send it again after {retry_after} seconds.",
    ),
    "overloaded": (
        "지금은 이야기하는 사람이 너무 많아요. {retry_after}초 뒤에 다시 보내 주세요.",
        "Too many people are talking to me. Send it again after {retry_after} seconds.",
    ),
    "store_unavailable": (
        "기억 저장소에 닿지 않아요. {retry_after}초 뒤에 다시 보내 주세요.",
        "The store can't be reached. Send it again after {retry_after} seconds.",
    ),
    "model_unavailable": (
        "지금은 {detail} 모델이 답하지 않아요. {retry_after}초 뒤에 다시 보내 주세요.",
        "The model {detail} does not answer. Send it again after {retry_after} seconds.",
    ),
    "starting": (
        "아직 준비하고 있어요. {retry_after}초 뒤에 다시 보내 주세요.",
        "Still starting. Send it again after {retry_after} seconds.",
    ),
    "deadline_exceeded": (
        "정해진 시간 안에 답하지 못해 아무것도 저장하지 않았어요. 다시 보내 주세요.",
        "No answer within the deadline; nothing was kept. Send it again.",
    ),
    "not_found": ("그런 주소가 없어요: {detail}", "There is nothing at {detail}."),
    "method_not_allowed": ("이 주소에서는 {detail} 요청을 받지 않아요.", "This address does not take {detail}."),
    "internal_error": (
        "예상하지 못한 문제가 생겼어요. 요청 번호({request_id})와 함께 운영자에게 알려 주세요.",
        "Something unexpected happened. Tell the operator the request id {request_id}.",
    ),
}
