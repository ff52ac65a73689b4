"""What a valid file is, and that a wrong one stops the start with one sentence that names the field."""

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from deployments import launch
from deployments.app import build, chosen_profile
from deployments.config import AppConfig, IngressSettings
from tests.support import FAKE_MODELS


@pytest.fixture(scope="module")
def shipped(project: Path) -> dict[str, Any]:
    return yaml.safe_load((project / "serve_config.yaml").read_text())


@pytest.fixture(scope="session")
def project() -> Path:
    return Path(__file__).resolve().parents[3]


def changed(file: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of ``file`` with the field at the dotted ``path`` set; numbers are list positions."""
    file = copy.deepcopy(file)
    *parents, last = path.split(".")
    at: Any = file
    for part in parents:
        at = at[int(part)] if part.isdigit() else at[part]
    at[last] = value
    return file


def test_serve_hands_the_builder_the_typed_config():
    """With postponed annotations Serve would hand it a raw dict."""
    assert inspect.signature(build).parameters["args"].annotation is AppConfig


def test_the_shipped_file_has_both_profiles_and_all_seven_deployments(shipped):
    app = shipped["applications"][0]
    config = AppConfig.model_validate(app["args"])
    assert {name for name, _ in config.models("gpu").items()} == {name for name, _ in config.models("cpu").items()}
    assert {d["name"] for d in app["deployments"]} == {
        "Ingress", "Answer", "Summary", "Memory", "Pose", "MemorySBERT", "EthicsSBERT", "RagSBERT",
    }  # fmt: skip


def test_the_shipped_shares_fit_one_card(shipped):
    gpu = AppConfig.model_validate(shipped["applications"][0]["args"]).models("gpu")
    assert 0.9 < sum(model.num_gpus for _, model in gpu.items()) <= 1


def test_the_cpu_profile_asks_for_no_gpu(shipped):
    cpu = AppConfig.model_validate(shipped["applications"][0]["args"]).models("cpu")
    assert all(model.num_gpus == 0 for _, model in cpu.items())


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("applications.0.args.profil", "cpu", "args.profil is no known field"),
        ("applications.0.args.cpu.answer.num_gpus", 0.5, "cpu.answer.num_gpus is 0.5, but the cpu profile has no GPU"),
        ("applications.0.args.gpu.answer.num_gpus", 1.5, "args.gpu.answer.num_gpus: 1.5 is no possible share"),
        ("applications.0.args.gpu.pose.num_gpus", 0, "gpu.pose.num_gpus is 0: give every model"),
        ("applications.0.args.cpu.answer.engine", "vlm", "args.cpu.answer.engine:"),
        ("applications.0.args.cpu.answer.base", "models/none", "cpu.answer.base: there is no folder"),
        ("applications.0.args.cpu.pose.adapter", "models/tiny/llama", "cpu.pose.adapter:"),
        ("applications.0.args.cpu.pose.adapter", "models/tiny/adapters/summary", "cpu.pose.adapter:"),
        ("applications.0.args.cpu.summary.max_lora_rank", 1, "cpu.summary.adapter:"),
        ("applications.0.deployments.0.user_config.answer_trys", 5, "user_config.answer_trys is no known field"),
        ("applications.0.deployments.1.user_config.temperature", 9, "deployments.Answer.user_config.temperature:"),
        ("applications.0.deployments.1.name", "Anser", "there is no deployment Anser"),
        ("applications.0.args", None, "args"),
        ("http_options.port", "many", "http_options.port:"),
        ("http_options.host", "0.0.0.0", "http_options.host: 0.0.0.0 is reachable from elsewhere"),
        ("http_options.host", "my-machine", "http_options.host: my-machine is reachable from elsewhere"),
        ("applications", [], "applications is empty"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_field(shipped, tmp_path, path, value, sentence):
    file = tmp_path / "serve_config.yaml"
    file.write_text(yaml.safe_dump(changed(shipped, path, value), allow_unicode=True))
    with pytest.raises(launch.ConfigError) as caught:
        launch.read_config(file, gpus=0)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_shipped_file_passes_the_check(project):
    launch.read_config(project / "serve_config.yaml", gpus=0)


def test_localhost_is_a_loopback_address(shipped, tmp_path):
    file = tmp_path / "serve_config.yaml"
    file.write_text(yaml.safe_dump(changed(shipped, "http_options.host", "localhost"), allow_unicode=True))
    assert launch.read_config(file, gpus=0).http_options.host == "localhost"


def test_a_file_that_is_no_yaml_is_said(tmp_path):
    file = tmp_path / "broken.yaml"
    file.write_text("a: [")
    with pytest.raises(launch.ConfigError, match="is not valid YAML"):
        launch.read_config(file, gpus=0)


def test_auto_takes_the_gpu_only_where_there_is_one():
    both = AppConfig.model_validate({"cpu": FAKE_MODELS, "gpu": FAKE_MODELS})
    without = AppConfig.model_validate({"cpu": FAKE_MODELS})
    assert chosen_profile(both, gpus=1) == "gpu"
    assert chosen_profile(both, gpus=0) == "cpu"
    assert chosen_profile(without, gpus=1) == "cpu"


def test_thresholds_belong_to_the_models_of_a_profile():
    settings = IngressSettings.model_validate({"cpu": {"ethics_thresholds": {"hate": 0.7}}})
    assert {c.key: c.threshold for c in settings.policy("cpu").categories}["hate"] == 0.7
    assert {c.key: c.threshold for c in settings.policy("gpu").categories}["hate"] == 0.9


def test_a_threshold_for_an_unknown_category_is_refused():
    with pytest.raises(ValidationError, match="hatte"):
        IngressSettings.model_validate({"cpu": {"ethics_thresholds": {"hatte": 0.7}}})
