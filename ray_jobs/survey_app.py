"""The pages that raters see: plain forms, no script, nothing from another host.

A rater is whoever has the secret in their link; with it they come back to where they were. Pictures are asked for by
task and side, so an address says nothing of who made one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from evaluation.survey import RATINGS, Task, tasks
from evaluation.votes import Rater, Votes
from ray_jobs.survey_files import Shown
from ray_jobs.templates import template

log = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_MOST_BYTES = 4096  # of a form
WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Which edit is better?",
        "intro": "You will see pictures before and after an edit, and the words that asked for it. There are {count} "
        "questions. You can stop and come back by the same link.",
        "privacy": "We keep your answers and their times, and nothing about you: no name, no address, no cookie.",
        "start": "Start in English",
        "of": "{number} of {count}",
        "before": "before",
        "asked": "What was asked for",
        "pair": "Compare A and B",
        "rate": "Rate this edit",
        "a": "A",
        "b": "B",
        "equal": "no difference",
        "better": "better",
        "after": "after",
        "next": "Next",
        "missing": "Please answer all questions.",
        "done": "Thank you! All your answers are in.",
        "link": "To go on later, keep this page's address.",
        "later": "Your answer could not be stored. Please go back and try again in a moment.",
    },
    "vi": {
        "title": "Bản chỉnh sửa nào tốt hơn?",
        "intro": "Bạn sẽ xem ảnh trước và sau khi chỉnh sửa, cùng với yêu cầu chỉnh sửa. Có {count} câu hỏi. "
        "Bạn có thể dừng lại và quay lại bằng chính đường dẫn này.",
        "privacy": "Chúng tôi chỉ lưu câu trả lời và thời gian trả lời, không lưu gì về bạn: không tên, không địa chỉ, "
        "không cookie.",
        "start": "Bắt đầu bằng tiếng Việt",
        "of": "{number} / {count}",
        "before": "trước",
        "asked": "Yêu cầu",
        "pair": "So sánh A và B",
        "rate": "Đánh giá bản chỉnh sửa này",
        "a": "A",
        "b": "B",
        "equal": "như nhau",
        "better": "tốt hơn",
        "after": "sau",
        "next": "Tiếp tục",
        "missing": "Vui lòng trả lời tất cả các câu hỏi.",
        "done": "Cảm ơn bạn! Tất cả câu trả lời đã được lưu.",
        "link": "Để tiếp tục sau, hãy giữ địa chỉ của trang này.",
        "later": "Chưa lưu được câu trả lời của bạn. Vui lòng quay lại và thử lại sau giây lát.",
    },
}


class _Guarded(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        length = request.headers.get("content-length", "0" if request.method == "GET" else "")
        # What comes in chunks has no length that could be held to.
        chunked = "transfer-encoding" in request.headers
        if chunked or not length.isdecimal() or int(length) > _MOST_BYTES:
            return PlainTextResponse("too long", 413)
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Referrer-Policy"] = "no-referrer"  # the link is the rater's secret
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Robots-Tag"] = "noindex"
        response.headers.setdefault("Cache-Control", "no-store")
        return response


def application(shown: Shown, votes: Votes) -> Starlette:
    """The survey as an ASGI application."""
    pages = _Pages(shown, votes)
    return Starlette(
        routes=[
            Route("/", pages.first, methods=["GET"]),
            Route("/start", pages.start, methods=["POST"]),
            Route("/r/{secret}", pages.task, methods=["GET"]),
            Route("/r/{secret}", pages.answer, methods=["POST"]),
            Route("/r/{secret}/{number:int}/{place}.webp", pages.picture, methods=["GET"]),
        ],
        middleware=[Middleware(_Guarded)],
        exception_handlers={SQLAlchemyError: _later},
    )


class _Pages:
    def __init__(self, shown: Shown, votes: Votes) -> None:
        self._shown, self._votes = shown, votes
        self._languages = [language for language in WORDS if shown.survey.enough(language)]
        self._template = template("survey_page.html")

    def first(self, _: Request) -> Response:
        counts = {language: len(tasks(self._shown.survey, 0, language)) for language in self._languages}
        return self._page("first", self._languages[0], languages=self._languages, counts=counts, all=WORDS)

    async def start(self, request: Request) -> Response:
        language = str((await request.form()).get("language", ""))
        if language not in self._languages:
            return PlainTextResponse("no such language", 400)
        secret = await run_in_threadpool(self._votes.begin, language)
        return RedirectResponse(f"/r/{secret}", 303)

    def task(self, request: Request) -> Response:
        rater = self._votes.rater(request.path_params["secret"])
        return _unknown() if rater is None else self._next(rater, request.path_params["secret"])

    async def answer(self, request: Request) -> Response:
        form = await request.form()
        return await run_in_threadpool(self._answered, request.path_params["secret"], form)

    def _answered(self, secret: str, form: FormData) -> Response:
        rater = self._votes.rater(secret)
        if rater is None:
            return _unknown()
        task = self._task(rater, str(form.get("task", "")))
        if task is None:
            return PlainTextResponse("no such question", 400)
        values = {question.key: str(form.get(question.key, "")) for question in self._shown.survey.questions}
        if not all(values.values()):
            return self._next(rater, secret, values, 422)
        try:
            # What was answered before stays: a second try, or a form that was sent twice, goes on to the next task.
            self._votes.put(rater, task, self._shown.survey.entries[task.entry], values)
        except ValueError:
            return PlainTextResponse("no such answer", 400)
        return RedirectResponse(f"/r/{secret}", 303)

    def picture(self, request: Request) -> Response:
        rater = self._votes.rater(request.path_params["secret"])
        task = None if rater is None else self._task(rater, str(request.path_params["number"]))
        found = None if task is None else self._shown.picture(task, request.path_params["place"])
        if found is None:
            return _unknown()
        return Response(found, media_type="image/webp", headers={"Cache-Control": "private, max-age=3600"})

    def _task(self, rater: Rater, number: str) -> Task | None:
        own = tasks(self._shown.survey, rater.seed, rater.language)
        return own[int(number)] if number.isdecimal() and int(number) < len(own) else None

    def _next(
        self, rater: Rater, secret: str, values: Mapping[str, str] | None = None, status: int = 200
    ) -> Response:
        own, answered = tasks(self._shown.survey, rater.seed, rater.language), self._votes.answered(rater)
        left = [task for task in own if task.number not in answered]
        if not left:
            return self._page("done", rater.language)
        task = left[0]
        return self._page(
            "task", rater.language, status, task=task, entry=self._shown.survey.entries[task.entry],
            questions=self._shown.survey.questions, ratings=RATINGS, number=len(answered) + 1, count=len(own),
            secret=secret, values=values or {},
        )  # fmt: skip

    def _page(self, part: str, language: str, status: int = 200, **values: Any) -> Response:
        html = self._template.render(part=part, language=language, words=WORDS[language], **values)
        return HTMLResponse(html, status)


def _later(_: Request, error: Exception) -> Response:
    """The database does not answer, or has no room: what was answered before is there, this was not taken."""
    log.error("the database of votes: %s", type(error).__name__)  # its message has what was asked of it
    text = "\n".join(WORDS[language]["later"] for language in WORDS)
    return PlainTextResponse(text, 503, {"Retry-After": "10"})


def _unknown() -> Response:
    return PlainTextResponse("not found", 404)
