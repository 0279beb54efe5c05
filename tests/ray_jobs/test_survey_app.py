"""The survey as raters meet it: blinded, resumable, each vote once, nobody sees another's; in a real browser too."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from html import unescape
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pyarrow.parquet as pq
import pytest

from evaluation.survey import QUESTIONS, tasks
from evaluation.votes import Votes
from ray_jobs.__main__ import main
from ray_jobs.config import ConfigError
from ray_jobs.survey_app import WORDS, application
from ray_jobs.survey_files import open_survey, votes_of
from shards.run import Run
from shards.storage import open_storage
from tests.browser import answered, chromium
from tests.datasets import pair, publish
from tests.evaluations_by_hand import EDITORS, hand_made_evaluation
from tests.ray_jobs.test_survey_files import of_people

ROOT = Path(__file__).parents[2]
TASKS = 22  # of six edits in each language: each pair of pictures once, ten ratings, six checks


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return hand_made_evaluation(tmp_path_factory.mktemp("survey"))


@pytest.fixture
def votes(tmp_path):
    opened = Votes(f"sqlite:///{tmp_path}/votes.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def address(run, votes):
    with answered(application(open_survey(run), votes)) as found:
        yield found


class Person:
    """A rater's browser, without pictures."""

    def __init__(self, address: str, language: str = "en") -> None:
        self.place = urlsplit(address).netloc
        status, where, _ = self.ask("POST", "/start", {"language": language})
        assert status == 303
        self.link = where

    def ask(self, method: str, path: str, form: dict | None = None) -> tuple[int, str, str]:
        """(status, where it leads, what is there)."""
        connection = http.client.HTTPConnection(self.place, timeout=60)
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {}
        connection.request(method, path, urlencode(form or {}) if method == "POST" else None, headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers.get("location", ""), body.decode(errors="replace")

    def see(self) -> str:
        status, _, page = self.ask("GET", self.link)
        assert status == 200
        return page

    def answer(self, page: str, which: int = 0, questions=QUESTIONS) -> tuple[int, str, str]:
        """By the choice of this place, on all of these questions."""
        form = {"task": re.search(r'name="task" value="(\d+)"', page)[1]}
        for question in questions:
            form[question.key] = re.findall(rf'name="{question.key}" value="(\w+)"', page)[which]
        return self.ask("POST", self.link, form)


def test_a_rater_answers_all_tasks_comes_back_in_between_and_is_thanked(address, votes):
    person = Person(address)
    for number in range(1, TASKS + 1):
        page = person.see()
        assert WORDS["en"]["of"].format(number=number, count=TASKS) in page
        assert person.answer(page, number % 3)[0] == 303
    assert WORDS["en"]["done"] in person.see()
    assert len(votes.all()) == 3 * TASKS


def test_of_people_each_picture_has_five_questions(tmp_path, votes):
    shown = open_survey(of_people(tmp_path))
    with answered(application(shown, votes)) as address:
        person = Person(address)
        page = person.see()
        assert unescape(page).count("<fieldset") == 5 and "Is it still the same person?" in page
        assert person.answer(page)[0] == 422, "three answers are not all"
        assert person.answer(page, questions=shown.survey.questions)[0] == 303
    assert {vote["question"] for vote in votes.all()} == {"follows", "kept", "looks", "person", "traits"}


def test_nothing_on_the_page_or_in_its_pictures_tells_which_editor_it_was(address):
    person = Person(address)
    pages = []
    for _ in range(TASKS):
        page = person.see()
        pages.append(page)
        for path in re.findall(r'src="([^"]+)"', page):
            assert re.fullmatch(rf"{re.escape(person.link)}/\d+/(before|a|b)\.webp", path)
            assert person.ask("GET", path)[0] == 200
        person.answer(page)
    whole = re.sub(r"<style>.*?</style>", "", "".join(pages), flags=re.DOTALL).lower()
    assert not any(word in whole for word in (*EDITORS, "oracle", "true picture", "another edit", "check"))


def test_words_of_an_edit_are_text_and_never_markup(address):
    page = Person(address).see()
    assert "&lt;25%&gt;" in page and "<25%>" not in page and "<script" not in page


def test_a_form_that_is_sent_twice_counts_once_and_one_that_lacks_an_answer_is_asked_again(address, votes):
    person = Person(address)
    page = person.see()
    assert person.answer(page, 0)[0] == 303 and person.answer(page, 2)[0] == 303
    assert len(votes.all()) == 3 and len({vote["value"] for vote in votes.all()}) == 1
    page = person.see()
    task = re.search(r'name="task" value="(\d+)"', page)[1]
    first = re.search(r'name="follows" value="(\w+)"', page)[1]
    status, _, again = person.ask("POST", person.link, {"task": task, "follows": first})
    assert status == 422 and unescape(again).count(WORDS["en"]["missing"]) == 1
    assert again.count(" checked") == 1 and again.count('class="missing"') == 2
    assert len(votes.all()) == 3


def test_answers_that_are_none_are_refused_and_leave_no_trace(address, votes):
    person = Person(address)
    page = person.see()
    task = re.search(r'name="task" value="(\d+)"', page)[1]
    for form in ({"task": task} | dict.fromkeys(("follows", "kept", "looks"), "<script>alert(1)</script>"),
                 {"task": "999"} | dict.fromkeys(("follows", "kept", "looks"), "a"),
                 {"task": "-1; drop table votes"} | dict.fromkeys(("follows", "kept", "looks"), "a")):  # fmt: skip
        assert person.ask("POST", person.link, form)[0] == 400
    assert person.ask("POST", person.link, {"task": task, "follows": "x" * 10_000})[0] == 413
    assert votes.all() == []


def test_a_database_that_fails_is_said_and_the_answer_can_be_given_again(address, votes, tmp_path, caplog):
    person = Person(address)
    page = person.see()
    with sqlite3.connect(tmp_path / "votes.sqlite") as database:
        database.execute("ALTER TABLE votes RENAME TO elsewhere")
    status, _, said = person.answer(page)
    assert status == 503 and said.splitlines() == [WORDS[language]["later"] for language in ("en", "vi")]
    assert "INSERT" not in said + caplog.text and person.link[3:] not in caplog.text
    with sqlite3.connect(tmp_path / "votes.sqlite") as database:
        database.execute("ALTER TABLE elsewhere RENAME TO votes")
    assert person.answer(page)[0] == 303 and len(votes.all()) == 3


def test_nobody_gets_at_another_raters_tasks_without_their_link(address, votes):
    one, other = Person(address), Person(address)
    one.answer(one.see())
    assert WORDS["en"]["of"].format(number=1, count=TASKS) in other.see()
    for path in (
        "/r/1",
        "/r/",
        "/r/" + one.link[3:-1],
        "/r/../votes",
        f"{one.link}/0/c.webp",
        f"{one.link}/99/a.webp",
    ):
        assert one.ask("GET", path)[0] == 404
    assert one.ask("POST", "/r/nobody", {"task": "0", "follows": "a", "kept": "a", "looks": "a"})[0] == 404
    assert one.ask("GET", "/votes")[0] == 404 and one.ask("DELETE", one.link)[0] in (404, 405, 413)


def test_headers_keep_the_link_to_oneself(address):
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request("GET", "/")
    headers = connection.getresponse().headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer" and headers["cache-control"] == "no-store"
    assert "set-cookie" not in headers


def test_fifty_raters_at_once_lose_no_vote_and_see_no_error(address, votes):
    wrong: list[object] = []

    def rate(number: int) -> None:
        try:
            person = Person(address, ("en", "vi")[number % 2])
            for turn in range(TASKS):
                status = person.answer(person.see(), (number + turn) % 3)[0]
                if status != 303:
                    wrong.append(status)
        except Exception as error:
            wrong.append(error)

    people = [threading.Thread(target=rate, args=(number,)) for number in range(50)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert wrong == []
    found = votes.all()
    assert len(found) == 50 * TASKS * 3 and len({vote["rater"] for vote in found}) == 50
    for rater in {vote["rater"] for vote in found}:
        own = [vote for vote in found if vote["rater"] == rater]
        assert {vote["task"] for vote in own} == set(range(TASKS))


def test_votes_are_about_what_was_shown(run, address, votes):
    survey = open_survey(run).survey
    person = Person(address)
    secret = person.link.removeprefix("/r/")
    rater = votes.rater(secret)
    own = {task.number: task for task in tasks(survey, rater.seed, "en")}
    for _ in range(TASKS):
        person.answer(person.see())
    for vote in votes.all():
        task = own[vote["task"]]
        assert vote["edit"] == survey.entries[task.entry].name and vote["left"] == task.shown[0]
        assert vote["right"] == (task.shown[1] if len(task.shown) > 1 else None)


# --- the survey's files, and the commands -----------------------------------------------------------------------


def test_a_form_that_comes_in_pieces_is_refused_before_it_is_read(address):
    host = address.split("//")[1].split("/")[0]
    with socket.create_connection(tuple(host.split(":")), timeout=10) as connection:  # type: ignore[arg-type]
        connection.sendall(
            f"POST /start HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            + b"5\r\naaaaa\r\n0\r\n\r\n"
        )
        assert re.match(rb"HTTP/1.1 4\d\d", connection.recv(1000))


def test_a_folder_that_is_no_evaluation_is_one_line(tmp_path, capsys):
    Run.create_or_open(open_storage(str(tmp_path / "run")), {"seed": 1})
    assert main(["serve", "--survey", str(tmp_path / "run"), "--port", "0"]) == 2
    assert "is no evaluation of editors" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["serve", "--dataset", "x", "--votes", "sqlite:///x"])
    publish(open_storage(str(tmp_path / "data")), {"test": [pair(0)]})
    with pytest.raises(ConfigError, match="name one for a survey that is in a bucket"):
        votes_of(Run(open_storage("s3://bucket/run"), {}, "x"), None)


def test_the_commands_ask_and_say_what_came_of_it(tmp_path, capsys):
    run = hand_made_evaluation(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "ray_jobs", "serve", "--survey", run.storage.uri, "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    ) as process:  # fmt: skip
        try:
            line = process.stdout.readline()
            assert line.startswith("survey of 12 edits by first, second: http://127.0.0.1:"), (
                process.stderr.read()
            )
            person = Person(re.search(r"http://\S+", line)[0], "vi")
            for _ in range(TASKS):
                person.answer(person.see())
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
    assert main(["evaluate", "--survey", run.storage.uri]) == 0
    said = capsys.readouterr().out
    assert said.startswith("1 raters, ") and "Krippendorff" in said
    table = pq.read_table(Path(run.storage.uri) / "survey-votes.parquet")
    assert len(table) == 3 * TASKS and set(table["language"].to_pylist()) == {"vi"}
    figures = json.loads((Path(run.storage.uri) / "survey-results.json").read_text())
    assert figures["raters"] == 1 and set(figures["score"]) == set(EDITORS)


@pytest.mark.parametrize("language", ["en", "vi"])
@pytest.mark.parametrize("width", [390, 1100], ids=["phone", "desk"])
def test_in_a_browser_by_keyboard_alone(address, votes, language, width):
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 844})
        errors: list[str] = []
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.goto(address)
        page.get_by_role("button", name=WORDS[language]["start"]).press("Enter")
        for number in range(1, 4):
            page.get_by_text(WORDS[language]["of"].format(number=number, count=TASKS)).wait_for()
            assert page.locator("html").get_attribute("lang") == language
            page.wait_for_load_state("load")  # pictures come after the words
            assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            for question in QUESTIONS:
                page.get_by_role("group", name=question.text[language]).get_by_role("radio").first.press(
                    "Space"
                )
            page.get_by_role("button", name=WORDS[language]["next"]).press("Enter")
        page.get_by_text(WORDS[language]["of"].format(number=4, count=TASKS)).wait_for()
        link = page.url
        page.close()
        page = browser.new_page()
        page.goto(link)  # another day
        page.get_by_text(WORDS[language]["of"].format(number=4, count=TASKS)).wait_for()
        assert errors == []
    assert len(votes.all()) == 9 and {vote["language"] for vote in votes.all()} == {language}
