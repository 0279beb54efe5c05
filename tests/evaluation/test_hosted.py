"""The hosted API as an editor: what it is sent, what becomes of its failures, and that its key goes nowhere."""

from __future__ import annotations

import base64
import io
import json
import threading
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from evaluation.asked import Asked, EditorMissing
from evaluation.editors import editor
from evaluation.hosted import HostedFailed
from evaluation.preserved import subject_of
from shards.schema import PUBLISHED
from shards.tables import from_rows
from tests.datasets import pair

KEY = "sk-very-secret-1234"


class Api:
    """Answers the images-edit protocol with the picture turned upside down; `fails` says of which requests it does not
    (their numbers), `asked` what came."""

    def __init__(self, fails=lambda number: False, status: int = 500) -> None:
        api = self
        self.asked: list[dict[str, bytes]] = []
        self.keys: set[str] = set()

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                return

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                parts = BytesParser().parsebytes(head + body).get_payload()
                form = {
                    part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
                    for part in parts
                }
                api.keys.add(self.headers["Authorization"])
                api.asked.append(form)
                if fails(len(api.asked)):
                    said = {"error": {"message": f"bad key {KEY}", "type": "server_error"}}
                    return self.say(status, said)
                shown = np.asarray(Image.open(io.BytesIO(form["image"])).convert("RGB"))[::-1]
                buffer = io.BytesIO()
                Image.fromarray(np.ascontiguousarray(shown)).save(buffer, "PNG")
                picture = base64.b64encode(buffer.getvalue()).decode()
                return self.say(200, {"created": 1, "data": [{"b64_json": picture}]})

            def say(self, code, values):
                data = json.dumps(values).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"


@pytest.fixture
def api():
    made = []

    def make(**settings) -> Api:
        made.append(Api(**settings))
        return made[-1]

    yield make
    for one in made:
        one.server.shutdown()
        one.server.server_close()


def hosted(api: Api, monkeypatch, **changes):
    monkeypatch.setenv("SOME_KEY", KEY)
    settings = {
        "kind": "hosted", "model": "some-model", "url": api.url, "key": "SOME_KEY", "size": None, "masked": False,
        "price": 0.02,
    }  # fmt: skip
    return editor(settings | changes, 0)


def asked(mask=None) -> Asked:
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    return Asked(picture, "turn it upside down", 1, "mirror", None, None, None, mask)


def test_picture_words_and_model_are_sent_and_the_picture_comes_back(api, monkeypatch):
    server = api()
    made = hosted(server, monkeypatch)
    (found,) = made([asked()])
    assert np.array_equal(found, asked().image[::-1]) and made.price == 0.02
    (form,) = server.asked
    assert form["prompt"] == b"turn it upside down" and form["model"] == b"some-model" and "mask" not in form
    assert server.keys == {f"Bearer {KEY}"}


def test_pictures_are_sent_in_the_size_that_the_api_takes_and_come_back_in_their_own(api, monkeypatch):
    server = api()
    (found,) = hosted(server, monkeypatch, size=128)([asked()])
    assert found.shape == (48, 64, 3) and server.asked[0]["size"] == b"128x128"
    assert Image.open(io.BytesIO(server.asked[0]["image"])).size == (128, 128)


def test_the_mask_is_the_object_and_without_one_such_an_edit_cannot_be_asked(api, monkeypatch):
    row = from_rows([pair(1)], PUBLISHED).to_pylist()[0]
    mask = subject_of(row)
    assert mask[16:32, 8:24].all() and mask.sum() == 16 * 16  # the mug before, not the cube
    server = api()
    made = hosted(server, monkeypatch, masked=True)
    assert not made.expresses(asked())
    small = np.zeros((48, 64), bool)
    small[:10] = True
    assert made.expresses(asked(small))
    made([asked(small)])
    sent = np.asarray(Image.open(io.BytesIO(server.asked[0]["mask"])))
    assert sent.shape == (48, 64, 4) and np.array_equal(sent[..., 3] == 0, small)


def test_what_fails_now_and_then_is_tried_again_and_what_fails_for_good_says_so_without_the_key(
    api, monkeypatch
):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    flaky = api(fails=lambda number: number % 2 == 1)
    assert len(hosted(flaky, monkeypatch)([asked()])) == 1 and len(flaky.asked) == 2
    broken = api(fails=lambda _: True, status=401)
    with pytest.raises(HostedFailed) as error:
        hosted(broken, monkeypatch)([asked()])
    assert "AuthenticationError" in str(error.value) and KEY not in str(error.value)


def test_several_at_once_are_refused_before_any_is_paid_for(api, monkeypatch):
    server = api()
    with pytest.raises(ValueError, match="one edit at a time"):
        hosted(server, monkeypatch)([asked(), asked()])
    assert server.asked == []


def test_without_a_key_nothing_starts(api, monkeypatch):
    server = api()
    monkeypatch.delenv("OTHER_KEY", raising=False)
    with pytest.raises(EditorMissing, match="the environment has no OTHER_KEY"):
        hosted(server, monkeypatch, key="OTHER_KEY")
