"""The survey as raters meet it: blinded, resumable, each vote once, nobody sees another's; in a real browser too."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pyarrow.parquet as pq
import pytest

from evaluation import opinions
from evaluation.edit_sets import of_group, written
from evaluation.results import RESULTS
from evaluation.survey import QUESTIONS, TRUE, tasks
from evaluation.votes import Votes
from ray_jobs.__main__ import main
from ray_jobs.config import ConfigError
from ray_jobs.evaluate import MADE_OF
from ray_jobs.survey_app import WORDS, application
from ray_jobs.survey_files import FILE, open_survey, votes_of
from ray_jobs.survey_results import write
from shards.run import Run
from shards.storage import open_storage
from shards.tables import from_rows, read_table
from shards.units import Unit
from tests.browser import answered, chromium
from tests.datasets import pair, publish
from tests.evaluations_by_hand import EDITORS, UNIT, hand_made_evaluation

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

    def answer(self, page: str, which: int = 0) -> tuple[int, str, str]:
        """By the choice of this place, on all three questions."""
        form = {"task": re.search(r'name="task" value="(\d+)"', page)[1]}
        for question in QUESTIONS:
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


def test_what_is_asked_stays_when_editors_are_added_or_asked_anew(tmp_path):
    run = hand_made_evaluation(tmp_path)
    first = open_survey(run)
    # The oracle is no editor that people are asked about.
    assert first.survey.editors == EDITORS and len(first.survey.entries) == 12
    run.config["editors"]["third"] = {"kind": "spatialpix"}
    made_of = json.loads(run.storage.read(MADE_OF))
    made_of["results"][0]["folder"] = "edits-of-another-training"
    made_of["sets"]["spatial"]["key"] = "sets/of-other-words"
    run.storage.write(MADE_OF, json.dumps(made_of).encode())
    again = open_survey(run)
    assert again.survey == first.survey and again.made == first.made
    run.storage.delete(FILE)
    with pytest.raises(ConfigError, match="has no results of third"):
        open_survey(run)


def without(run: Run, outcomes: dict[int, tuple[str, str | None]]) -> None:
    """The second editor's results anew: of these edits it made no picture. outcomes: (outcome, reason)."""
    made_of = json.loads(run.storage.read(MADE_OF))
    old, new = made_of["results"][1]["folder"], Run.folder("edits", "spatial_second", "1" * 8)
    for unit_id in sorted(run.done(old)):
        index = int(unit_id.rsplit("-", 1)[1])
        unit = Unit("spatial_second", index, UNIT)
        rows = read_table(run.storage, run.shard_key(old, unit_id)).to_pylist()
        for number, row in zip(unit.rows, rows, strict=False):
            if number in outcomes:
                row |= {"edited": None, "outcome": outcomes[number][0], "reason": outcomes[number][1]}
        run.commit(new, unit, from_rows(rows, RESULTS), {})
    made_of["results"][1]["folder"] = new
    run.storage.write(MADE_OF, json.dumps(made_of).encode())


LACKING = {
    0: ("failed", "error_RuntimeError"), 2: ("failed", "wrong_size"), 4: ("failed", "error_RuntimeError"),
    1: ("not_expressible", None), 3: ("not_expressible", None),
}  # fmt: skip
SAID = "not shown of second: 5 of 12 edits: 3 failed (error_RuntimeError 2, wrong_size 1), 2 cannot be said to it"


def test_an_edit_that_one_editor_did_not_make_is_asked_of_the_others_and_why_is_said(tmp_path, capsys):
    run = hand_made_evaluation(tmp_path)
    without(run, LACKING)
    shown = open_survey(run)
    assert capsys.readouterr().out == SAID + "\n"
    survey = shown.survey
    assert len(survey.entries) == 12 and survey.asked is not None
    there = {one.name for number, one in enumerate(survey.entries) if number not in LACKING}
    asked = {who: {survey.entries[at].name for at in places} for who, places in survey.asked.items()}
    assert asked[EDITORS] == asked["second",] == there and len(asked["first",]) == 12
    for seed in range(20):
        for task in tasks(survey, seed, "en"):
            assert all(shown.picture(task, "ab"[at]) for at in range(len(task.shown)))
    assert open_survey(run).survey == survey and capsys.readouterr().out == "", "said once"
    assert SAID in write(run, None).splitlines()
    kept = json.loads((Path(run.storage.uri) / "survey-results.json").read_text())["not_shown"]
    assert kept["second"] == {
        "edits": 12, "failed": {"error_RuntimeError": 2, "wrong_size": 1}, "not_expressible": 2, "no_result": 0
    }  # fmt: skip
    assert kept["first"]["failed"] == {} and kept["first"]["not_expressible"] == 0


def test_pairs_of_editors_have_their_own_forty_edits_of_a_language(tmp_path):
    run = hand_made_evaluation(tmp_path, edits=2 * 45)
    without(run, dict.fromkeys(range(20), ("failed", "no_picture")))
    survey = open_survey(run).survey
    assert survey.asked is not None
    assert len(survey.of("en", ("first",))) == 40
    # One that fails takes no edit from the other, nor does it narrow what both are asked about.
    assert len(survey.of("en", EDITORS)) == len(survey.of("en", ("second",))) == 35
    assert len(survey.of("en")) == len(survey.of("vi")) == 45


def test_edits_without_a_true_picture_are_left_out_and_that_is_said(tmp_path, capsys):
    run = hand_made_evaluation(tmp_path)
    key = json.loads(run.storage.read(MADE_OF))["sets"]["spatial"]["key"]
    chosen = [case for group in range(3) for case in of_group(run.storage, key, group)]
    chosen[0] = replace(chosen[0], row={**chosen[0].row, "edited_image": None})
    run.storage.write(key, written(chosen, UNIT))
    assert len(open_survey(run).survey.entries) == 11
    said = capsys.readouterr().out
    assert said == "left out: 1 of 12 edits, which have no true picture for the checks\n"


def test_an_evaluation_with_too_few_pictures_has_no_survey(tmp_path):
    run = hand_made_evaluation(tmp_path, edits=6)
    with pytest.raises(ConfigError, match="has no language with 4 edits"):
        open_survey(run)
    assert not run.storage.exists(FILE)


def test_a_survey_of_an_older_version_goes_on(tmp_path):
    run = hand_made_evaluation(tmp_path)
    first = open_survey(run)
    kept = json.loads(run.storage.read(FILE))
    older = {name: kept[name] for name in ("set", "key", "edits", "folders", "editors", "entries")}
    run.storage.write(FILE, json.dumps(older).encode())
    again = open_survey(run)
    assert again.survey.asked is None and again.made == first.made
    assert "not shown" not in write(run, None)


def rated(votes: Votes, survey, of: int) -> None:
    """A careful rater's votes, up to this many checks, one each ten seconds."""
    rater = votes.rater(votes.begin("en"))
    checks = 0
    for task in tasks(survey, rater.seed, "en"):
        checks += task.kind == "check"
        if task.kind == "check" and checks > of:
            continue
        value = (
            "4" if task.kind == "rate" else "ab"[task.shown[0] != (TRUE if task.kind == "check" else "first")]
        )
        votes.put(rater, task, survey.entries[task.entry], {question.key: value for question in QUESTIONS})


def test_results_say_who_is_unfinished_and_what_could_not_be_fitted(tmp_path, monkeypatch):
    run = hand_made_evaluation(tmp_path)
    survey, votes = open_survey(run).survey, votes_of(run, None)
    clock = itertools.count()
    monkeypatch.setattr(
        "evaluation.votes._now", lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=4 * next(clock))
    )
    for of in (6, 6, 3, 0):
        rated(votes, survey, of)
    votes.close()
    said = write(run, None)
    assert said.startswith("4 raters, ")
    assert "left out: 2 unfinished (fewer than 4 checks answered)" in said and "fitted" not in said
    table = pq.read_table(Path(run.storage.uri) / "survey-votes.parquet").to_pylist()
    assert len({vote["rater"] for vote in table if vote["counts"]}) == 2

    def never(*_, **__):
        raise RuntimeError("Did not converge")

    calls, fit = itertools.count(), opinions.choix.opt_pairwise
    monkeypatch.setattr(opinions.choix, "ilsr_pairwise_dense", never)
    monkeypatch.setattr(
        opinions.choix, "opt_pairwise", lambda *a, **k: (never if next(calls) == 1 else fit)(*a, **k)
    )
    said = write(run, None)
    assert "  follows: 1 of 200 draws could not be fitted and are in no interval" in said.splitlines()
    monkeypatch.setattr(opinions.choix, "opt_pairwise", never)
    said = write(run, None)
    assert "  follows: no strengths, the choices could not be fitted" in said.splitlines()


def test_results_of_a_survey_that_nobody_opened_are_none_and_open_none(tmp_path):
    run = hand_made_evaluation(tmp_path)
    with pytest.raises(ConfigError, match="has no survey"):
        write(run, None)
    assert not run.storage.exists(FILE)


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
