"""Who is answered: this machine's own pages and programs, within bounds; nobody's else."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator

import pytest
from serving import PORT, Client

from lxtlike import Explainer

OURS = f"127.0.0.1:{PORT}"


@pytest.mark.parametrize("host", [OURS, f"localhost:{PORT}", f"LOCALHOST:{PORT}"])
def test_own_names_are_answered(client: Client, host: str) -> None:
    assert client.get("/api/model", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:9", f"[::1]:{PORT}", ""]
)
@pytest.mark.parametrize("path", ["/", "/api/model", "/openapi.json", "/nothing"])
def test_other_names_are_refused(client: Client, host: str, path: str) -> None:
    answer = client.get(path, headers={"Host": host})
    assert answer.status_code == 403
    assert OURS in answer.json()["error"]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", f"https://{OURS}", "http://127.0.0.1:9", f"http://localhost:{PORT}"]
)
def test_other_origins_are_refused(client: Client, origin: str) -> None:
    asked = {"text": "the box"}
    refused = client.post("/api/explanations", json=asked, headers={"Origin": origin})
    assert refused.status_code == 403
    assert "another site" in refused.json()["error"]
    assert not any(name.startswith("access-control") for name in refused.headers)
    preflight = client.options("/api/explanations", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 403
    assert client.post("/api/explanations", json=asked, headers={"Origin": f"http://{OURS}"}).status_code == 202
    assert client.post("/api/explanations", json=asked).status_code == 202  # of a program, not of a browser


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_browsers_send_for_other_sites_is_refused(client: Client, site: str) -> None:
    for path, kind in [("/api/model", "empty"), ("/files/page.js", "script"), ("/", "iframe")]:
        assert client.get(path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Dest": kind}).status_code == 403
    assert (
        client.post("/api/jobs/x/cancel", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Dest": "document"}).status_code
        == 403
    )
    link = client.get("/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Dest": "document"})
    assert link.status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/api/model", "/files/page.js", "/nothing"])
def test_every_answer_keeps_to_itself(client: Client, path: str) -> None:
    headers = client.get(path, headers={"Origin": f"http://{OURS}"}).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert not any(name.startswith("access-control") for name in headers)


def test_a_report_is_for_frames_of_our_own(client: Client) -> None:
    policy = client.result(client.ask("explanations", text="the box"), "page").headers["content-security-policy"]
    assert "frame-ancestors 'self'" in policy
    assert "script-src 'sha256-" in policy
    assert "default-src 'none'" in policy


def test_a_body_is_counted_while_it_comes(serving: Callable[..., Client], explainer: Explainer) -> None:
    client = serving(explainer, max_bytes=1000)

    def body(size: int) -> Iterator[bytes]:
        for _ in range(size // 100):
            yield b" " * 100

    json = {"Content-Type": "application/json"}
    large = client.post("/api/explanations", content=b'{"text": "' + b"a" * 1000 + b'"}', headers=json)
    assert large.status_code == 413
    assert "1000 bytes" in large.json()["error"]
    assert client.post("/api/explanations", content=body(2000), headers=json).status_code == 413
    fits = client.post("/api/explanations", content=body(900), headers=json)
    assert fits.status_code == 400  # no JSON, but read


def test_a_lying_length_changes_nothing(live: Callable[..., str], explainer: Explainer) -> None:
    address = live(explainer, max_bytes=1000).removeprefix("http://")
    for headers, status in [({"Content-Length": "100000"}, 413), ({"Transfer-Encoding": "chunked"}, 413)]:
        connection = http.client.HTTPConnection(address, timeout=10)
        connection.putrequest("POST", "/api/explanations")
        for name, value in ({"Content-Type": "application/json"} | headers).items():
            connection.putheader(name, value)
        connection.endheaders()
        if "Transfer-Encoding" in headers:
            connection.send(b"800\r\n" + b" " * 0x800 + b"\r\n")  # and never an end
        assert connection.getresponse().status == status
        connection.close()
