"""Language models that write: vLLM in this process, or any endpoint that speaks OpenAI's protocol.

Both take requests in a batch and answer each, in order; a request that cannot be answered is an `Answer` with an error,
and an engine that is gone raises `EngineGone`, after which only a fresh process helps.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

import psutil

from generators.writing import SCHEMA, Answer, Request, messages

T = TypeVar("T")


class EngineGone(RuntimeError):
    """The engine died, or never came up; this process cannot use it any more."""


class EndpointRefused(ValueError):
    """The endpoint cannot be used as configured: wrong address, key or model. Trying again will not help."""


class Writer(Protocol):
    """Writes edits. `write` answers every request, in order."""

    def write(self, requests: Sequence[Request]) -> list[Answer]: ...


@dataclass(frozen=True, slots=True)
class Sampling:
    """temperature, top_p: as vLLM's. max_tokens: of one answer; what is longer is cut, and then no JSON."""

    temperature: float = 0.8
    top_p: float = 0.95
    max_tokens: int = 160


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """model: a folder, or a name and `revision` on the Hub. adapter: a folder with a LoRA of PEFT. dtype: "auto",
    "float32", "bfloat16", "float16". tensor_parallel: GPUs that one engine takes. max_length: tokens of prompt and
    answer. memory_share: of the GPU, or of the machine where there is none; None for 0.9 and 0.3."""

    model: str
    revision: str | None = None
    adapter: str | None = None
    dtype: str = "auto"
    tensor_parallel: int = 1
    max_length: int = 1024
    memory_share: float | None = None
    sampling: Sampling = Sampling()


class VllmWriter:
    """vLLM's engine, in this process. Building it takes a minute and more. llm: `vllm.LLM`; adapter: its LoRA request,
    or None.

    Raises EngineGone where it does not come up.
    """

    def __init__(self, settings: VllmSettings) -> None:
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # nothing is reported to anybody
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        import torch
        from vllm import LLM
        from vllm.lora.request import LoRARequest

        self._sampling = settings.sampling
        # vLLM's CPU build cannot give each request a generator of its own ("CPU Generator does not use offset").
        self._seeded = on_gpu = torch.cuda.is_available()
        self.adapter = None
        more: dict[str, Any] = {}
        if settings.adapter is not None:
            self.adapter = LoRARequest("edits", 1, settings.adapter)
            more = {"enable_lora": True, "max_loras": 1, "max_lora_rank": adapter_rank(settings.adapter)}
        try:
            self.llm = LLM(
                model=settings.model,
                revision=settings.revision,
                dtype=settings.dtype,
                tensor_parallel_size=settings.tensor_parallel,
                max_model_len=settings.max_length,
                gpu_memory_utilization=settings.memory_share or (0.9 if on_gpu else 0.3),
                enforce_eager=not on_gpu,  # on a CPU start-up counts, and compiling is part of it
                enable_prefix_caching=True,  # the system's turn is the same in every request
                disable_log_stats=True,
                **more,
            )
        except Exception as error:
            raise EngineGone(f"vLLM does not start with {settings.model}: {error}") from error
        self._engine = multiprocessing.active_children()  # none where the engine is in this process
        self._family = psutil.Process().children(recursive=True)  # the engine's workers outlive it otherwise

    def write(self, requests: Sequence[Request]) -> list[Answer]:
        """Raises EngineGone."""
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        if not requests:
            return []
        talks, plans = [messages(request) for request in requests], self.plans(requests)
        try:
            found: Any = while_alive(
                lambda: self.llm.chat(talks, plans, lora_request=self.adapter, use_tqdm=False), self._engine
            )
        except (EngineDeadError, EngineGenerateError, EngineGone) as error:
            for process in self._family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            raise EngineGone(f"vLLM's engine died: {error}") from error
        return [_answer(one.outputs[0]) for one in found]

    def plans(self, requests: Sequence[Request]) -> list[Any]:
        """vLLM's `SamplingParams` of each."""
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        shape = StructuredOutputsParams(json=dict(SCHEMA))
        return [
            SamplingParams(
                temperature=self._sampling.temperature,
                top_p=self._sampling.top_p,
                max_tokens=self._sampling.max_tokens,
                seed=request.seed % 2**63 if self._seeded else None,
                structured_outputs=shape,
            )
            for request in requests
        ]


def while_alive(work: Callable[[], T], processes: Sequence[BaseProcess], grace_s: float = 2.0) -> T:
    """What `work` gives, or raises. Raises EngineGone `grace_s` after one of the processes ended without that: vLLM's
    client would wait for its engine's answer for ever, so the work is left behind in its thread."""
    over: Future[T] = Future()

    def run() -> None:
        try:
            over.set_result(work())
        except BaseException as error:
            over.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    sentinels = [process.sentinel for process in processes]
    while not over.done():
        if sentinels and connection.wait(sentinels, timeout=0):
            try:
                return over.result(grace_s)
            except TimeoutError:
                raise EngineGone("its process ended") from None
        wait([over], timeout=0.2)
    return over.result()


def adapter_rank(folder: str) -> int:
    """The rank of a LoRA of PEFT, rounded up to one that vLLM has. Raises EngineGone for no adapter."""
    import json
    from pathlib import Path

    try:
        rank = int(json.loads((Path(folder) / "adapter_config.json").read_text(encoding="utf-8"))["r"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineGone(
            f"{folder} holds no adapter of PEFT (adapter_config.json with a rank): {error}"
        ) from error
    return next((known for known in (8, 16, 32, 64, 128, 256, 320, 512) if known >= rank), rank)


def _answer(output: Any) -> Answer:
    tokens = len(output.token_ids)
    if output.finish_reason == "length":
        return Answer(None, tokens, "cut_off")
    return Answer(output.text, tokens)


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """url: the API's base, "https://host/v1". model: its name there. key_env: the environment variable that holds the
    key, so that none stands in a configuration. timeout_s: of one request. retries: after timeouts, 429 and 5xx, with
    backoff. parallel: requests in flight."""

    url: str
    model: str
    key_env: str | None = None
    timeout_s: float = 60.0
    retries: int = 5
    parallel: int = 16
    sampling: Sampling = Sampling()


class EndpointWriter:
    """An endpoint of others in vLLM's place."""

    def __init__(self, settings: EndpointSettings) -> None:
        import openai

        key = os.environ.get(settings.key_env) if settings.key_env else "none"
        if not key:
            raise EndpointRefused(
                f"llm.endpoint.key_env: {settings.key_env} is not set in the workers' environment"
            )
        self._settings = settings
        self._client = openai.OpenAI(
            base_url=settings.url, api_key=key, timeout=settings.timeout_s, max_retries=settings.retries
        )

    def write(self, requests: Sequence[Request]) -> list[Answer]:
        """Raises EndpointRefused for what no retry mends."""
        with ThreadPoolExecutor(self._settings.parallel) as pool:
            return list(pool.map(self._one, requests))

    def _one(self, request: Request) -> Answer:
        import openai

        sampling = self._settings.sampling
        arguments: dict[str, Any] = {
            "model": self._settings.model,
            "messages": messages(request),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": request.seed % 2**31,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "edit", "strict": True, "schema": dict(SCHEMA)},
            },
        }
        try:
            found: Any = self._client.chat.completions.create(**arguments)
            choice = found.choices[0]
            tokens = found.usage.completion_tokens if found.usage else 0
            if choice.finish_reason == "length":
                return Answer(None, tokens, "cut_off")
            return Answer(choice.message.content, tokens, None if choice.message.content else "no_answer")
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise EndpointRefused(
                f"llm.endpoint: {self._settings.url} refuses model {self._settings.model!r} "
                f"(status {error.status_code})"
            ) from None
        except openai.APITimeoutError:
            return Answer(None, 0, "timeout")
        except openai.RateLimitError:
            return Answer(None, 0, "rate_limited")
        except openai.APIConnectionError:
            return Answer(None, 0, "no_connection")
        except openai.APIStatusError as error:
            return Answer(None, 0, f"status_{error.status_code}")
        except (openai.OpenAIError, ValueError, IndexError, AttributeError, TypeError, KeyError):
            return Answer(None, 0, "garbage")  # it answered, in no form that was agreed
