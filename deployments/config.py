"""What an operator can set: the `args` of serve_config.yaml (AppConfig) and the `user_config` of each deployment.

Knows nothing about Ray, models or GPUs; it says what a valid file is. Every field stands with its description, and an unknown
field is an error, so that a typing mistake never passes silently.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ohlora.ethics import EthicsPolicy
from state.store import StoreSettings

ROOT = Path(__file__).resolve().parent.parent  # relative paths of the file start here, wherever a replica runs


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelRef(Settings):
    """Where weights are: a Hugging Face repository id or a local folder, and a folder inside of it."""

    path: str = Field(
        min_length=1, description="Repository id such as kakaocorp/kanana-1.5-2.1b-base, or a local folder"
    )
    subfolder: str = Field("", description="Folder inside the repository, where the files are not at its top")
    revision: str | None = Field(None, description="Branch, tag or commit of a repository; ignored for a local folder")

    def __str__(self) -> str:
        return f"{self.path}/{self.subfolder}" if self.subfolder else self.path


def _ref(value: object) -> object:
    """A plain string is a reference without a subfolder."""
    return {"path": value} if isinstance(value, str) else value


class GpuModel(Settings):
    """What every model says about its place on a GPU."""

    num_gpus: float = Field(0.0, ge=0, description="Share of one GPU (0.25 is a quarter, 1 a whole one); 0 is CPU")

    @field_validator("num_gpus")
    @classmethod
    def _possible_share(cls, value: float) -> float:
        if value > 1:
            raise ValueError(f"{value:g} is no possible share: a model runs on one GPU, so use at most 1")
        return value


class LanguageModelConfig(GpuModel):
    """One text generator: an engine, a base and the adapter of its task."""

    engine: Literal["vllm", "transformers", "fake"] = Field(description="What runs it; fake echoes, for trying the API")
    base: ModelRef = Field(description="Base model; wins over the base that the adapter's own config names")
    adapter: ModelRef | None = Field(None, description="LoRA adapter of the task; null serves the base as it is")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("bfloat16", description="Type of weights while serving")
    max_model_len: int = Field(256, ge=16, description="Longest prompt and output together, tokens")
    max_num_seqs: int = Field(16, ge=1, description="Requests generated together at the most")
    max_adapters: int = Field(
        1, ge=1, le=64, description="Adapters held at once; Answer needs one for each persona, and one to swap"
    )
    max_lora_rank: Literal[1, 8, 16, 32, 64, 128, 256, 320, 512] = Field(
        64, description="Highest adapter rank (vLLM's steps)"
    )
    token_ms: float = Field(
        0.0, ge=0, description="Time per token of the fake engine, ms; other engines take what they take"
    )
    cpu_kv_cache_gib: float = Field(0.25, gt=0, description="vLLM on a CPU: memory for the KV cache, GiB")

    _ref = field_validator("base", "adapter", mode="before")(_ref)


class EncoderConfig(GpuModel):
    """One sentence encoder."""

    engine: Literal["sentence-transformers", "fake"] = Field("sentence-transformers", description="What runs it")
    model: ModelRef = Field(description="Sentence-transformers folder or repository")

    _ref = field_validator("model", mode="before")(_ref)


class RagConfig(EncoderConfig):
    """The encoder of the tutor's documents, and the store of them that it made. It may stay on the CPU on a GPU box as well."""

    documents: str = Field(
        min_length=1, description="Folder of a document store, made by `python -m deployments.documents`"
    )


class ModelsConfig(Settings):
    """The models of one profile, by deployment."""

    answer: LanguageModelConfig = Field(description="Answer deployment")
    summary: LanguageModelConfig = Field(description="Summary deployment")
    memory: LanguageModelConfig = Field(description="Memory deployment (extraction)")
    pose: LanguageModelConfig = Field(description="Pose deployment")
    memory_sbert: EncoderConfig = Field(description="MemorySBERT deployment (retrieval)")
    ethics_sbert: EncoderConfig = Field(description="EthicsSBERT deployment")
    rag_sbert: RagConfig | None = Field(
        None, description="RagSBERT deployment (documents of the tutor); left out, no persona looks anything up"
    )

    def items(self) -> list[tuple[str, LanguageModelConfig | EncoderConfig]]:
        """Sections that are there, by name."""
        return [(name, model) for name in type(self).model_fields if (model := getattr(self, name)) is not None]


class AppConfig(Settings):
    """`args` of serve_config.yaml. A change here restarts the replicas."""

    profile: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="Which models to run: gpu where the cluster has GPUs, else cpu; or say which"
    )
    redis_url: str = Field(
        "embedded",
        description="embedded starts a redis-server for this machine; or redis://, rediss://, unix://, redis+sentinel://, redis+cluster://",
    )
    data_dir: str = Field("data", description="Folder for what must outlive a restart (the embedded Redis)")
    store: StoreSettings = Field(default_factory=StoreSettings, description="How long and how much is kept")
    cpu: ModelsConfig = Field(description="Models of the cpu profile; none of them may ask for a GPU")
    gpu: ModelsConfig | None = Field(None, description="Models of the gpu profile, each with its share")

    @model_validator(mode="after")
    def _shares_fit_profiles(self) -> "AppConfig":
        for name, model in self.cpu.items():
            if model.num_gpus:
                raise ValueError(
                    f"cpu.{name}.num_gpus is {model.num_gpus}, but the cpu profile has no GPU: set it to 0"
                )
        if self.profile == "gpu" and self.gpu is None:
            raise ValueError("profile is gpu, but there is no section gpu: add it, or set profile: cpu")
        for name, model in self.gpu.items() if self.gpu else []:
            if not model.num_gpus and model.engine != "fake" and not isinstance(model, RagConfig):
                raise ValueError(f"gpu.{name}.num_gpus is 0: give every model of the gpu profile its share")
        return self

    def models(self, profile: Literal["cpu", "gpu"]) -> ModelsConfig:
        if profile == "cpu":
            return self.cpu
        if self.gpu is None:
            raise ValueError("the gpu profile was asked for, but there is no section gpu: add it, or set profile: cpu")
        return self.gpu


class SamplingSettings(Settings):
    """What the `user_config` of every language model says about sampling."""

    temperature: float = Field(0.6, ge=0, le=2, description="Sampling temperature; 0 is greedy")
    cpu_temperature: float | None = Field(
        None,
        ge=0,
        le=2,
        description="The same for the cpu profile, whose small models need a cooler one; null: as above",
    )

    def temperature_of(self, profile: str) -> float:
        cooler = self.cpu_temperature if profile == "cpu" else None
        return self.temperature if cooler is None else cooler


Adapters = dict[str, ModelRef]


class AnswerSettings(SamplingSettings):
    """user_config of Answer."""

    adapters: dict[Literal["cpu", "gpu"], Adapters] = Field(
        default_factory=dict,
        description="Further adapters by profile and name, for personas; one named output_message takes the place of the adapter in args",
    )
    gather_ms: int = Field(
        30, ge=0, le=1000, description="Tokens after the first are gathered for this long and sent together"
    )

    @field_validator("adapters", mode="before")
    @classmethod
    def _refs(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {p: {n: _ref(r) for n, r in a.items()} if isinstance(a, dict) else a for p, a in value.items()}


class RagSettings(Settings):
    """user_config of RagSBERT."""

    documents: str | None = Field(
        None, description="Folder of another document store, taken in without a restart; null: the one in args"
    )
    top: int = Field(3, ge=1, le=20, description="Documents looked at for a question")


class GenerationSettings(SamplingSettings):
    """user_config of Summary, Memory and Pose; the defaults differ by deployment (system.md §1)."""

    max_new_tokens: int = Field(64, ge=1, description="Output tokens at the most")


class MemorySettings(GenerationSettings):
    max_new_tokens: int = Field(24, ge=1, description="Output tokens at the most")
    tries: int = Field(5, ge=1, le=10, description="Generations at the most until one has the exact format")


class PoseSettings(GenerationSettings):
    temperature: float = Field(1.0, ge=0, le=2, description="Sampling temperature; 0 is greedy")
    max_new_tokens: int = Field(36, ge=1, description="Output tokens at the most")


class Deadlines(Settings):
    """How long each hop may take, seconds. What happens then: ethics and answer refuse the turn with a 503; memory search,
    memory, summary and pose are left out, and the reply says so in `degraded`."""

    turn: float = Field(50.0, gt=0, description="The whole turn; then 504. Keep it below store.lease_s")
    ethics: float = Field(5.0, gt=0, description="EthicsSBERT")
    memory_search: float = Field(5.0, gt=0, description="MemorySBERT")
    answer: float = Field(30.0, gt=0, description="Each generation of an answer")
    documents: float = Field(5.0, gt=0, description="RagSBERT")
    memory: float = Field(5.0, gt=0, description="Memory, all tries together")
    pose: float = Field(5.0, gt=0, description="Pose")
    summary: float = Field(5.0, gt=0, description="Summary")


class ProfileSettings(Settings):
    """Numbers that belong to the models of one profile: tokenisers and score scales differ."""

    max_prompt_tokens: int = Field(
        40, ge=1, description="A longer prompt is refused kindly; tokens of the answer model"
    )
    memory_threshold: float = Field(0.95, ge=-1, le=1, description="Lowest cosine at which a memory is used")
    source_threshold: float = Field(0.5, ge=-1, le=1, description="Lowest cosine at which a document is a source")
    ethics_thresholds: dict[str, float] = Field(
        default_factory=dict,
        description="Lowest cosine that counts, by category key; what is missing stays at the policy's",
    )


class ApiKey(Settings):
    """One API key. The key itself is kept nowhere."""

    name: str = Field(pattern=r"^[A-Za-z0-9._@-]{1,64}$", description="For limits and logs")
    kind: Literal["user", "service", "admin"] = Field(
        description="user: acts for user_id; service: for any user (a front end); admin: the administrator's part"
    )
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the key; python -m deployments.access makes one"
    )
    user_id: str | None = Field(None, pattern=r"^[A-Za-z0-9._:@-]{1,128}$", description="The one user of a user key")

    @model_validator(mode="after")
    def _has_its_user(self) -> "ApiKey":
        if (self.kind == "user") != (self.user_id is not None):
            raise ValueError("user_id belongs to a key of kind user, and only to that")
        return self


class RateLimit(Settings):
    """So many requests in so much time; bursts up to the limit are allowed."""

    requests: int = Field(ge=1, description="Requests")
    per_s: float = Field(60, gt=0, le=86400, description="Seconds")


class AccessSettings(Settings):
    """Who may call, from where, how often."""

    keys: tuple[ApiKey, ...] = Field((), description="API keys; without any the server listens on loopback only")
    user_limit: RateLimit | None = Field(RateLimit(requests=120), description="Requests about one user; null: no limit")
    key_limit: RateLimit | None = Field(RateLimit(requests=3000), description="Requests of one key; null: no limit")
    cors_origins: tuple[str, ...] = Field(
        (), description="Origins whose pages may call the API, such as https://example.com"
    )

    @field_validator("keys")
    @classmethod
    def _own_names(cls, keys: tuple[ApiKey, ...]) -> tuple[ApiKey, ...]:
        if len({key.name for key in keys}) < len(keys) or len({key.sha256 for key in keys}) < len(keys):
            raise ValueError("two keys have one name or one hash")
        return keys


class Persona(Settings):
    """Who answers: an adapter of Answer, the prompt format it was trained with, and what a turn does around it."""

    adapter: str = Field("output_message", min_length=1, description="Name of an adapter of Answer")
    format: Literal["companion", "tutor"] = Field(
        "companion",
        description="companion: memory or summary, time context and prompt; tutor: a document and the prompt",
    )
    retrieval: bool = Field(False, description="Tutor format: a document is looked up by RagSBERT")
    remembers: bool = Field(True, description="Companion format: memories are used and kept, answers summed up")
    max_total_tokens: int = Field(128, ge=2, description="Prompt and answer together, tokens")
    max_prompt_tokens: int | None = Field(
        None, ge=1, description="A longer message is refused kindly; null: the number of the profile"
    )

    @model_validator(mode="after")
    def _fits(self) -> "Persona":
        if self.retrieval and self.format != "tutor":
            raise ValueError("retrieval needs format: tutor; the companion format has no place for a document")
        return self


class IngressSettings(Settings):
    """user_config of Ingress: the rules of a turn, changed without a restart."""

    default_timezone: str = Field("Asia/Seoul", description="Time zone of a user who says none (IANA name)")
    answer_tries: int = Field(5, ge=1, le=20, description="Generations of an answer until one may be sent")
    max_turns: int = Field(
        64, ge=1, description="Turns that a replica takes at once; one more is refused with 429 instead of waiting"
    )
    max_body_bytes: int = Field(65536, ge=1024, description="A larger request body is refused with 413")
    max_header_bytes: int = Field(16384, ge=1024, description="Larger request headers are refused with 431")
    access: AccessSettings = Field(default_factory=AccessSettings, description="Keys, limits, CORS")
    ping_s: float = Field(10.0, gt=0, description="A stream with nothing to say sends a comment this often, seconds")
    deadlines_s: Deadlines = Field(default_factory=Deadlines, description="Seconds per hop")
    personas: dict[str, Persona] = Field(
        default_factory=lambda: {
            "ohlora": Persona(),
            "tutor": Persona(
                adapter="tutor", format="tutor", retrieval=True, max_total_tokens=512, max_prompt_tokens=120
            ),
        },
        min_length=1,
        description="Who can be talked to, by the name that requests use",
    )
    ethics: EthicsPolicy = Field(default_factory=EthicsPolicy, description="Categories, ladders and conditions")
    cpu: ProfileSettings = Field(default_factory=ProfileSettings, description="Numbers of the cpu profile's models")
    gpu: ProfileSettings = Field(default_factory=ProfileSettings, description="Numbers of the gpu profile's models")

    @field_validator("default_timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        from zoneinfo import ZoneInfo

        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is no IANA time zone") from error
        return value

    @model_validator(mode="after")
    def _known_categories(self) -> "IngressSettings":
        known = {category.key for category in self.ethics.categories}
        for profile in ("cpu", "gpu"):
            unknown = set(getattr(self, profile).ethics_thresholds) - known
            if unknown:
                raise ValueError(f"{profile}.ethics_thresholds names {sorted(unknown)}; known: {sorted(known)}")
        return self

    def policy(self, profile: Literal["cpu", "gpu"]) -> EthicsPolicy:
        """The ethics policy with the thresholds of ``profile``."""
        thresholds = getattr(self, profile).ethics_thresholds
        categories = tuple(
            category.model_copy(update={"threshold": thresholds.get(category.key, category.threshold)})
            for category in self.ethics.categories
        )
        return self.ethics.model_copy(update={"categories": categories})
