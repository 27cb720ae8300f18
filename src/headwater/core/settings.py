"""Every setting, in one table. File < environment < flag; an unknown key is an error.

The file is `headwater.toml` in the data folder; the environment variable of `port` is HEADWATER_PORT.
docs/settings.md is generated from this table.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.core.errors import BadInput


@dataclass(frozen=True)
class Setting:
    """default's type is the setting's type. unit is for people: 'bytes', 's', or '' when there is none."""

    name: str
    default: Any
    unit: str
    help: str
    secret: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting("host", "127.0.0.1", "", "address to listen on; any but loopback needs an account and a token"),
    Setting("port", 8080, "", "port to listen on"),
    Setting("public_url", "", "", "how the outside reaches this hub, when a proxy stands before it"),
    Setting("owner", "local", "", "name of the local owner on loopback"),
    Setting("database_url", "", "", "SQLAlchemy URL of PostgreSQL; empty means SQLite in the data folder", secret=True),
    Setting("blobs_url", "", "", "s3://bucket/prefix, gs://, az://; empty means the data folder"),
    Setting("blobs_options", "", "", "JSON of options for the object store (endpoint, region, keys)", secret=True),
    Setting("regular_max_bytes", 10_000_000, "bytes", "a file up to this size may travel inside a commit"),
    Setting("file_max_bytes", 500_000_000_000, "bytes", "largest file accepted"),
    Setting("repo_quota_bytes", 0, "bytes", "largest repo accepted; 0 means no limit"),
    Setting("upload_seconds", 86_400, "s", "how long an upload link and its lease live"),
    Setting("part_bytes", 268_435_456, "bytes", "size of a part when a large file is uploaded in parts"),
    Setting("sweep_grace_s", 172_800, "s", "unreferenced bytes younger than this are never swept"),
    Setting("sweep_every_s", 3_600, "s", "how often the sweep runs; 0 means only by hand"),
    Setting("import_endpoint", "https://huggingface.co", "", "where `add hf:owner/name` asks"),
    Setting("import_token", "", "", "token for that endpoint, and for no other host", secret=True),
    Setting("workers_max", 2, "", "models kept loaded at once"),
    Setting("worker_threads", 0, "", "threads a worker computes with; 0 means one less than the cores, at least one"),
    Setting("worker_memory_bytes", 0, "bytes", "address space a worker may take; 0 means 80 % of the machine's memory"),
    Setting("worker_slots", 0, "", "answers one model makes at once, if its engine can; 0 means what the engine can"),
    Setting("models_memory_bytes", 0, "bytes", "memory all loaded models may take; 0 means 80 % of the machine's"),
    Setting("worker_idle_s", 900, "s", "an unused model is unloaded after this"),
    Setting("worker_start_s", 120, "s", "a worker that is not healthy by then is given up"),
    Setting("worker_silence_s", 120, "s", "a worker silent for this long in the middle of an answer is stopped"),
    Setting("chat_queue_max", 64, "", "requests that may wait for one model; more are answered 429"),
    Setting("chat_queue_user_max", 32, "", "of these, at most so many of one account"),
    Setting("user_requests_per_day", 0, "", "chat requests an account may make in a day (UTC); 0 means no limit"),
    Setting("user_tokens_per_day", 0, "tokens", "tokens an account may have read and written in a day; 0: no limit"),
    Setting("token_requests_per_day", 0, "", "chat requests one access token may make in a day; 0 means no limit"),
    Setting("token_tokens_per_day", 0, "tokens", "tokens one access token may use in a day; 0 means no limit"),
    Setting("responses_days", 30, "", "days for which a response of /v1/responses is kept"),
    Setting("responses_user_bytes", 67_108_864, "bytes", "of an account's responses, the newest so many are kept"),
    Setting("chat_context", 4096, "tokens", "context a chat model is loaded with, if it was trained for as much"),
    Setting("user_conversations_max", 5_000, "", "conversations an account may keep"),
    Setting("chat_file_max_bytes", 50_000_000, "bytes", "largest file that may be handed to a model"),
    Setting("user_files_max_bytes", 2_000_000_000, "bytes", "of such files, what an account may keep together"),
    Setting("llamacpp_build", "auto", "", "auto: made by `headwater engine build` if there is one; native or wheel"),
    Setting("prompt_cache_bytes", 2_000_000_000, "bytes", "conversations as llama.cpp read them, kept on disk so that "
            "a restarted model need not read them again; 0 keeps none"),
    Setting("prompt_cache_s", 86_400, "s", "such a file not used for so long is deleted"),
    Setting("film_memory_bytes", 6_000_000_000, "bytes", "memory the making of one film may take"),
    Setting("film_model", "", "", "model that films are made with when a closed one is named; empty: what is built in"),
    Setting("film_queue_user_max", 20, "", "films an account may have waiting or under way"),
    Setting("film_user_per_day", 0, "", "films an account that is no administrator's may order in a day (UTC); 0 means "
            "no limit"),
    Setting("film_user_seconds", 0, "s", "longest film such an account may order; 0 means what the engine can"),
    Setting("film_user_side", 0, "", "most pixels a side of such a film may have; 0 means what the engine can"),
    Setting("film_badge", "", "", "en or zh: films a model made show AI, or AI 生成, in a corner; empty: those "
            "ordered so"),
    Setting("film_blocklist", "", "", "file of patterns (RE2, one a line, # begins a comment); no film is made of what "
            "they match"),
    Setting("film_check_url", "", "", "service that is asked whether a film may be ordered: it is sent JSON (prompt, "
            "negative, kind, model, account, pictures) and answers {\"allow\": true or false, \"reason\"}; when it "
            "does not answer, no film is ordered", secret=True),
    Setting("film_people_said", 0, "", "1: no film is made of a photo unless the order says who is in it (people: none "
            "or agreed), so programs that do not know the field are refused; 0: the log says that nobody was asked"),
    Setting("callback_hosts", "", "", "hosts a film's callback_url may name, by commas; * is all public ones, and a "
            "host named here may be private; empty: no film calls back"),
    Setting("remotes", "", "", "JSON of {URL: key}: where a repo's remote.json may have chats answered, and its "
            "remote-videos.json films made; for Kling's API the key is ACCESS:SECRET", secret=True),
    Setting("film_remote_wait_s", 600, "s", "a server that makes films and cannot be reached is tried for so long"),
    Setting("picture_hosts", "", "", "hosts pictures in chats may be fetched from, by commas; * is all public ones"),
    Setting("requests_per_minute", 1200, "", "per token or address beyond loopback; 0 means no limit"),
    Setting("trace_uploads", 1, "", "1: read each uploaded model to find what it comes from; 0: only when asked"),
    Setting("trace_merge_max_bytes", 200_000_000_000, "bytes", "models that look merged are tried as sums of others if "
            "the files of all of them have no more bytes together; 0: never"),
    Setting("trace_closer_models", 32, "", "a model without kin by its fingerprint is compared in whole with so many "
            "others of its shape; 0: never"),
    Setting("trace_closer_max_bytes", 200_000_000_000, "bytes", "and with no more of them than have so many bytes, "
            "its own counted each time"),
    Setting("descent_percent", 40, "%", "a model file is kept as the difference to its parent's when that saves so "
            "much of its size; 0 makes no more differences"),
    Setting("log_level", "info", "", "debug, info, warning or error"),
)

_BY_NAME = {setting.name: setting for setting in SETTINGS}


class Settings:
    """The values in force. `settings.port`; `settings.data` is the data folder."""

    def __init__(self, data: Path, values: Mapping[str, Any], sources: Mapping[str, str]):
        self.data = data
        self.sources = dict(sources)
        self._values = dict(values)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"no setting named {name!r}") from None

    def but(self, **values: Any) -> Settings:
        """The same with other values."""
        return Settings(self.data, {**self._values, **values}, self.sources)

    def shown(self) -> dict[str, Any]:
        """For people and logs: secrets are told only as set or not."""
        return {s.name: ("set" if self._values[s.name] else "") if s.secret else self._values[s.name] for s in SETTINGS}


def default_data(environ: Mapping[str, str] = os.environ) -> Path:
    """HEADWATER_DATA, else ~/.headwater."""
    return Path(environ.get("HEADWATER_DATA") or Path.home() / ".headwater").absolute()


def load(data: Path | None = None, flags: Mapping[str, Any] | None = None,
         environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from file, environment and flags (a flag of None was not given).

    Raises BadInput for an unknown key or a value of the wrong type, naming where it stands.
    """
    data = Path(data).absolute() if data else default_data(environ)
    values = {s.name: s.default for s in SETTINGS}
    sources = {s.name: "default" for s in SETTINGS}

    def put(name: str, value: Any, source: str) -> None:
        if name not in _BY_NAME:
            raise BadInput(f"no setting named {name!r} ({source}).", hint=f"There are: {', '.join(sorted(_BY_NAME))}.")
        values[name], sources[name] = _cast(_BY_NAME[name], value, source), source

    file = data / "headwater.toml"
    if file.is_file():
        try:
            table = tomllib.loads(file.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadInput(f"{file} is not TOML: {error}.") from None
        for name, value in table.items():
            put(name, value, str(file))
    for key, value in environ.items():
        name = key.removeprefix("HEADWATER_").lower()
        if key.startswith("HEADWATER_") and name in _BY_NAME:
            put(name, value, key)
    for name, value in (flags or {}).items():
        if value is not None:
            put(name, value, f"--{name.replace('_', '-')}")
    return Settings(data, values, sources)


def _cast(setting: Setting, value: Any, source: str) -> Any:
    kind = type(setting.default)
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise BadInput(f"{source}: {setting.name} must be {kind.__name__}, not {value!r}.") from None
