"""Who is let in, how much of what, and what hostile requests come upon."""

from __future__ import annotations

import io
import json
import os
import socket
import tempfile
import threading
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image
from served import NIGHT, TIME, drawn, fill, images, png, running

from ivreid.errors import UsageError
from ivreid.gallery.gallery import Gallery
from ivreid.serve import Limits, Tokens, read_tokens, serve
from time_limits import seconds, wait_until

TOKENS = {role: f"{role}-token-{role * 3}" for role in ("search", "ingest", "admin")}
NEW = {"camera": "roof", "modality": "visible", "time": TIME}


def header(role: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[role]}"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, weights: Path):
    """A server with tokens and small limits."""
    folder = fill(tmp_path_factory.mktemp("guarded") / "G", weights)
    small = Limits(bytes=300_000, pixels=100_000, images=3, sending=1.0)
    with running(folder, limits=small, tokens=Tokens([*TOKENS.items()])) as both:
        yield both


@pytest.fixture
def client(guarded):
    return guarded[0]


def test_each_role_may_do_what_its_name_says(client) -> None:
    calls = {
        ("GET", "/"): "search",
        ("POST", "/search"): "search",
        ("POST", "/v1/search"): "search",
        ("POST", "/v1/embed"): "search",
        ("POST", "/v1/verdicts"): "search",
        ("GET", "/v1/cameras"): "search",
        ("GET", f"/pictures/{'0' * 32}"): "search",
        ("GET", "/metrics"): "search",
        ("POST", "/v1/crops"): "ingest",
        ("DELETE", f"/v1/crops/{'0' * 32}"): "admin",
        ("POST", "/v1/erase"): "admin",
        ("GET", f"/v1/receipts/{'0' * 32}"): "admin",
        ("GET", "/v1/audit"): "admin",
        ("GET", "/anything/else"): "admin",
    }
    for (method, path), needed in calls.items():
        for role in TOKENS:
            status = client.request(method, path, headers=header(role)).status_code
            assert (status == 403) == (role not in (needed, "admin")), (method, path, role)
        for wrong in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": TOKENS["admin"]},
            {"Cookie": "ivreid="},
        ):
            status = client.request(method, path, headers=wrong).status_code
            assert status == (303 if path in ("/", "/search") else 401), (method, path, wrong)
    for path in ("/healthz", "/readyz", "/login", "/static/page.css", "/v1/openapi.json"):
        assert client.get(path).status_code == 200


def test_a_person_signs_in_once(client) -> None:
    wrong = client.post("/login", data={"token": "no such token at all"})
    assert wrong.status_code == 401 and "set-cookie" not in wrong.headers
    right = client.post("/login", data={"token": TOKENS["search"]})
    assert right.status_code == 303
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
    said = {"Cookie": cookie.partition(";")[0]}
    client.cookies.clear()
    assert "Drop a crop" in client.get("/", headers=said).text
    assert client.get("/v1/audit", headers=said).status_code == 403


def test_every_answer_says_that_nothing_is_kept_and_nothing_else_runs(client) -> None:
    for path in ("/login", "/healthz", "/v1/cameras", "/static/page.js", "/nothing"):
        answer = client.get(path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert "access-control-allow-origin" not in answer.headers


def test_other_names_and_other_sites_are_refused(client) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "localhost.", "[::2]:80"):
        assert client.get("/healthz", headers={"Host": host}).status_code in (400, 421), host
    for host in ("localhost", "LOCALHOST:1", "[::1]:80"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200, host
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        asked = client.post("/v1/erase", headers=header("admin") | {"Origin": origin}, json={"pids": [1]})
        assert asked.status_code == 403, origin
    own = str(client.base_url).rstrip("/")
    assert client.get("/healthz", headers={"Origin": own}).status_code == 200


def bomb() -> bytes:
    """30,000 x 30,000 pixels in a few hundred kilobytes at most, were it decoded."""
    return png(30_000, 30_000, bytes(100_000))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a bomb", bomb(), "pixels"),
        ("a text", b"hello", "not a JPEG, PNG or WebP"),
        ("nothing", b"", "empty"),
        ("a GIF", b"GIF89a" + bytes(50), "not a JPEG, PNG or WebP"),
        ("a page in a PNG's clothes", b"\x89PNG\r\n\x1a\n<script>alert(1)</script>", "not a readable image"),
        ("a cut picture", drawn(1)[:900], "p0.png"),
        ("a picture that lies", png(20, 40, bytes(5)), "p0.png"),
        ("an SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a JPEG, PNG or WebP"),
        ("a pickle", b"\x80\x04cos\nsystem\n.", "not a JPEG, PNG or WebP"),
        ("a BMP", None, "not a JPEG, PNG or WebP"),
    ],
)
def test_hostile_pictures_are_one_sentence(client, name: str, data: bytes | None, said: str) -> None:
    if data is None:
        data = drawn(1, form="BMP")
    before = client.get("/v1/cameras", headers=header("search")).json()
    for path, fields, role in (
        ("/v1/search", NIGHT, "search"),
        ("/v1/embed", {"modality": "visible"}, "search"),
        ("/v1/crops", NEW, "ingest"),
    ):
        answer = client.post(path, data=fields, files=images(data), headers=header(role))
        assert answer.status_code == 422, name
        assert said in answer.json()["error"] and "Traceback" not in answer.text
    assert client.get("/v1/cameras", headers=header("search")).json() == before
    assert client.get("/readyz").json() == {"ready": True}


def test_a_bad_picture_does_not_spoil_its_neighbours_batch(client) -> None:
    """Asked at the same time, so that they may share a batch."""
    answers: dict[int, int] = {}

    def ask(number: int) -> None:
        data = drawn(number) if number % 2 else drawn(number)[:900]
        answers[number] = client.post(
            "/v1/embed", data={"modality": "visible"}, files=images(data), headers=header("search")
        ).status_code

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert answers == {n: 200 if n % 2 else 422 for n in range(12)}


def test_the_pictures_of_a_request_are_counted_together(client) -> None:
    large = drawn(1, size=(250, 250))
    fine = client.post(
        "/v1/embed", data={"modality": "visible"}, files=images(large), headers=header("search")
    )
    over = client.post(
        "/v1/embed",
        data={"modality": "visible"},
        files=images(large[:], png(200, 200)),
        headers=header("search"),
    )
    many = client.post(
        "/v1/embed", data={"modality": "visible"}, files=images(*[drawn(1)] * 4), headers=header("search")
    )
    assert fine.status_code == 200
    assert over.status_code == 422 and "100,000 pixels" in over.json()["error"]
    assert many.status_code == 422 and "may have 3" in many.json()["error"]


def raw(client: httpx.Client, lines: bytes, *, pause: float = 0.0) -> bytes:
    """What a server answers to bytes as they are."""
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=60) as line:
        line.sendall(lines)
        time.sleep(pause)
        answer = b""
        try:
            while more := line.recv(65536):
                answer += more
        except ConnectionResetError:
            pass
        return answer


def test_a_large_body_is_refused_by_its_length_and_by_its_bytes(client) -> None:
    host = client.base_url.host
    begin = (
        f"POST /v1/search HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKENS['search']}\r\n".encode()
    )
    said = raw(client, begin + b"Content-Length: 1000000000\r\n\r\n" + bytes(1000))
    assert b"413" in said.split(b"\r\n")[0]
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    said = raw(client, begin + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 5)
    assert b"413" in said.split(b"\r\n")[0]


def test_a_slow_body_is_refused_and_holds_nobody_up(client, guarded) -> None:
    host = client.base_url.host
    begin = (
        f"POST /v1/search HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKENS['search']}\r\n".encode()
    )
    slow = [
        socket.create_connection((client.base_url.host, client.base_url.port), timeout=60) for _ in range(20)
    ]
    for line in slow:
        line.sendall(begin + b"Content-Length: 5000\r\n\r\nx")
    fine = client.post("/v1/search", data=NIGHT, files=images(drawn(7)), headers=header("search"))
    assert fine.status_code == 200
    for line in slow:
        assert b"408" in line.recv(65536).split(b"\r\n")[0]
        line.close()
    # a request is counted out after its answer has gone
    wait_until(lambda: "ivreid_requests_at_work 0.0" in guarded[1].figures.text().decode())


def test_addresses_that_look_like_paths_find_nothing(client) -> None:
    for path in (
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "' OR 1=1 --",
        "G/catalogue.sqlite",
        "0" * 5000,
    ):
        assert client.get(f"/pictures/{path}", headers=header("admin")).status_code == 404, path
        assert client.get(f"/static/{path}", headers=header("admin")).status_code == 404, path
        assert client.delete(f"/v1/crops/{path}", headers=header("admin")).status_code in (404, 405, 422), (
            path
        )


def test_fields_are_refused_by_name_without_what_was_sent(client) -> None:
    def refused(**more: object) -> str:
        answer = client.post(
            "/v1/search", data=NIGHT | more, files=images(drawn(7)), headers=header("search")
        )
        assert answer.status_code == 422
        return str(answer.json()["error"])

    assert "`modality`" in refused(modality="x-ray")
    assert "`k`" in refused(k=0) and "`k`" in refused(k=10**6) and "`k`" in refused(k="many")
    assert "zone" in refused(**{"from": "2026-03-01T22:00"})
    assert "earlier" in refused(**{"from": "2026-03-02T00:00Z", "to": "2026-03-01T00:00Z"})
    assert "`by`" in refused(by="person")
    assert "query_camera" in refused(exclude_same_camera=True)
    assert "500" in refused(purpose="p" * 501)
    assert "fusion" in refused(fuse="median")
    for text in (refused(crops="0" * 32), refused(camera="nowhere")):
        assert "the gallery" in text and "/G" not in text


def test_no_picture_goes_through_a_file_of_the_machines(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[object] = []
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", written.append)
    large = drawn(1, size=(1000, 900))
    assert len(large) > 2_000_000
    with running(folder) as (client, _):
        answer = client.post("/v1/search", data=NIGHT, files=images(large))
    assert answer.status_code == 200 and written == []


class Held:
    """An embedder that waits until it is let go."""

    def __init__(self, service) -> None:
        self.go, self.begun = threading.Event(), threading.Event()
        model, embed = service.gallery.model, service.gallery.model.embed

        def waiting(*given, **more):
            self.begun.set()
            self.go.wait(seconds(60))
            return embed(*given, **more)

        model.embed = waiting


def asking(client: httpx.Client, count: int) -> tuple[list[threading.Thread], list[httpx.Response]]:
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(client.post("/v1/search", data=NIGHT, files=images(drawn(7))))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for one in threads:
        one.start()
    return threads, answers


def test_beyond_the_queue_requests_are_told_to_come_again(folder: Path) -> None:
    with running(folder, limits=Limits(waiting=3, deadline=seconds(60))) as (client, service):
        held = Held(service)
        threads, answers = asking(client, 3)
        wait_until(lambda: "ivreid_requests_at_work 3.0" in service.figures.text().decode())
        for _ in range(5):
            refused = client.post("/v1/search", data=NIGHT, files=images(drawn(7)))
            assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
        assert client.get("/healthz").status_code == 200
        held.go.set()
        for one in threads:
            one.join()
        assert [answer.status_code for answer in answers] == [200] * 3
        wait_until(lambda: "ivreid_requests_at_work 0.0" in service.figures.text().decode())


def test_beyond_the_deadline_a_request_ends_and_what_waits_is_not_begun(folder: Path) -> None:
    with running(folder, limits=Limits(deadline=1.0)) as (client, service):
        held = Held(service)
        first, answers = asking(client, 1)
        assert held.begun.wait(seconds(60))
        more, others = asking(client, 3)
        for one in (*first, *more):
            one.join()
        assert [answer.status_code for answer in (*answers, *others)] == [504] * 4
        held.go.set()
        wait_until(lambda: len([row for row in service.gallery.store.audit() if "failed" in row.detail]) == 4)
        wait_until(lambda: "ivreid_images_queued 0.0" in service.figures.text().decode())
        assert "ivreid_batch_images_count 1.0" in service.figures.text().decode()


def test_an_address_for_others_needs_tokens(filled: Path, tmp_path: Path) -> None:
    with Gallery.open(filled, device="cpu") as gallery:
        for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
            with pytest.raises(UsageError, match="--token-file"):
                serve(gallery, host=host, port=0)
        with (
            socket.create_server(("127.0.0.1", 0)) as other,
            pytest.raises(UsageError, match="another --port"),
        ):
            serve(gallery, port=other.getsockname()[1])


def test_a_file_of_tokens_is_read_or_refused_without_showing_any(tmp_path: Path) -> None:
    path = tmp_path / "tokens"

    def written(text: str, mode: int = 0o600) -> Path:
        path.write_text(text)
        path.chmod(mode)
        return path

    good = "".join(f"{role} {token}\n" for role, token in TOKENS.items())
    tokens = read_tokens(written(f"# ours\n\n{good}"))
    assert {tokens.role(token): role for role, token in TOKENS.items()} == {role: role for role in TOKENS}
    assert tokens.role("") is tokens.role("search") is tokens.role(TOKENS["admin"] + "x") is None
    secret = "secret-secret-secret-secret"
    for text, said in {
        "": "no token",
        f"{secret} admin": "line 1",
        f"root {secret}": "did you mean|known",
        "admin short": "20 or more",
        f"admin {secret} more": "3 words",
        f"admin {secret};": "letters",
    }.items():
        with pytest.raises(UsageError, match=said) as error:
            read_tokens(written(text))
        assert secret not in str(error.value)
    with pytest.raises(UsageError, match="no such file"):
        read_tokens(tmp_path / "none")
    if os.name == "posix":
        with pytest.raises(UsageError, match="chmod 600"):
            read_tokens(written(good, 0o644))


def test_a_picture_is_shown_without_what_its_file_hid(folder: Path) -> None:
    """The place in a phone's EXIF does not reach those who look at the gallery."""
    exif = Image.Exif()
    exif[0x010E] = "SECRET-PLACE"
    out = io.BytesIO()
    Image.open(io.BytesIO(drawn(60))).save(out, "JPEG", exif=exif)
    assert b"SECRET-PLACE" in out.getvalue()
    with running(folder) as (client, _):
        (added,) = client.post("/v1/crops", data=NEW, files=images(out.getvalue())).json()["added"]
        hits = client.post("/v1/search", data={"purpose": "p", "crops": added, "k": 10}).json()
        query = client.post("/v1/search", data=NIGHT | {"camera": "roof"}, files=images(drawn(60))).json()
        (hit,) = query["results"][0]["hits"]
        assert hit["id"] == added and added not in json.dumps(hits["results"])
        assert b"SECRET-PLACE" not in client.get(hit["picture"]).content
