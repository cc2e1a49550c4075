"""Who may in: the bearer token, TLS, and addresses that other machines can reach."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from megaseg.errors import UnsupportedError
from megaseg.serving.security import accepts, read_token
from megaseg.serving.settings import Settings, named

ONE = {"scene": "scene.safetensors"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return certificate, key


def test_accepts() -> None:
    assert accepts(None, None)
    assert accepts(None, "Bearer whatever")
    assert accepts("secret", "Bearer secret")
    assert accepts("secret", "bearer secret")
    for header in (
        None,
        "",
        "secret",
        "Bearer",
        "Bearer ",
        "Bearer secre",
        "Bearer secrets",
        "Basic secret",
        "Bearer é",
    ):
        assert not accepts("secret", header), header


def test_every_path_but_health_asks_for_the_token(start: Any) -> None:
    service = start(token="secret")
    from megaseg.serving.http import ROUTES

    for method, path, _ in ROUTES:
        url = path.format(name="scene", version="1")
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
            answer = service.http.request(method, url, headers=headers)
            if path.startswith("/v2/health/"):
                assert answer.status_code == 200
            else:
                assert answer.status_code == 401, path
                assert answer.headers["www-authenticate"] == "Bearer"
                assert "secret" not in answer.text
        assert service.http.request(method, url, headers={"Authorization": "Bearer secret"}).status_code != 401
    assert service.http.get("/nowhere").status_code == 401
    service.http.headers["Authorization"] = "Bearer secret"
    assert service.metrics()["megaseg_requests_total", ("", "unauthorized", "http")] > 1


def test_a_web_page_cannot_reach_a_service_without_a_token(start: Any) -> None:
    service = start()
    headers = {"Origin": "https://example.org"}
    assert service.http.post("/v2/repository/models/scene/unload", headers=headers).status_code == 401
    assert service.http.get("/v2/models/scene/ready").status_code == 200
    headers["Authorization"] = "Bearer secret"
    assert start(token="secret").http.get("/v2", headers=headers).status_code == 200


def test_tritonclient_sends_the_token(start: Any) -> None:
    triton = pytest.importorskip("tritonclient.http")
    service = start(token="secret")
    with triton.InferenceServerClient(service.url) as client:
        assert client.is_server_ready()
        assert not client.is_model_ready("scene")
        assert client.is_model_ready("scene", headers={"Authorization": "Bearer secret"})


def test_tls(start: Any, pair: tuple[Path, Path]) -> None:
    certificate, key = pair
    context = ssl.create_default_context(cafile=str(certificate))
    service = start(client={"verify": context}, tls_certificate=certificate, tls_key=key)
    assert service.http.get("/v2/health/ready").status_code == 200
    httpx = pytest.importorskip("httpx")
    with pytest.raises(httpx.ConnectError):  # its certificate is nobody's
        httpx.get(f"https://{service.url}/v2/health/live")
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://{service.url}/v2/health/live")


def test_a_certificate_and_a_key_that_do_not_belong_together(start: Any, pair: tuple[Path, Path]) -> None:
    certificate, _ = pair
    with pytest.raises(UnsupportedError, match=r"tls_certificate .*certificate\.pem"):
        start(tls_certificate=certificate, tls_key=certificate)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_other_machines_are_let_in_by_choice_only(host: str) -> None:
    with pytest.raises(UnsupportedError, match=f"host {host}: other machines can reach it"):
        Settings(ONE, host=host)
    Settings(ONE, host=host, insecure=True)
    Settings(ONE, host=host, token="secret")
    Settings(ONE, host=host, tls_certificate=Path("c"), tls_key=Path("k"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_this_machine_needs_no_choice(host: str) -> None:
    assert "secret" not in repr(Settings(ONE, host=host, token="secret"))


def test_half_a_pair_and_odd_names_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="both or neither"):
        Settings(ONE, tls_key=Path("k"))
    for names in ({}, {"a/b": "x"}, {"": "x"}, {"a b": "x"}):
        with pytest.raises(UnsupportedError, match="checkpoints: "):
            Settings(names)


def test_models_are_named_by_stem_or_choice() -> None:
    assert named(["screenplay-scenes", "models/a.safetensors", "b=models/a.safetensors"]) == {
        "screenplay-scenes": "screenplay-scenes",
        "a": "models/a.safetensors",
        "b": "models/a.safetensors",
    }
    with pytest.raises(UnsupportedError, match="'a' for x/a.safetensors and y/a.mseg"):
        named(["x/a.safetensors", "y/a.mseg"])


def test_read_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("  secret\n")
    assert read_token(file) == "secret"
    for text in ("", " \n", "two words", "two\nlines", "é"):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(UnsupportedError, match="expected a token"):
            read_token(file)
