"""An object store as far away and as unreliable as a test wants it, by moto."""

from __future__ import annotations

import base64
import itertools
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self, TypeAlias
from urllib.parse import parse_qsl, quote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

__all__ = ["ObjectStore"]

Environ: TypeAlias = dict[str, Any]
Start: TypeAlias = Callable[..., Any]
App: TypeAlias = Callable[[Environ, Start], Iterable[bytes]]
Answer: TypeAlias = tuple[str, str, dict[str, str]]

_OF_S3: Final = (
    "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request,"
    " SignedHeaders=host, Signature=b"
)
_SIGNED: Final = {"Authorization": _OF_S3}


class ObjectStore:
    """A server on loopback, which counts, and fails or refuses some requests.

    Parameters
    ----------
    scheme : {"s3", "gs", "az"}
        Of addresses: as whose store it is spoken to. `client` sees the same in all ways.

    Attributes
    ----------
    url : str
        Of the server; known in the ``with`` statement.
    """

    secret: Final = "S3CRETS3CRET"  # noqa: S105 - made up

    def __init__(self, scheme: str) -> None:
        from moto.moto_server.werkzeug_app import (
            DomainDispatcherApplication,
            create_backend_app,
        )
        from werkzeug.test import Client

        app = DomainDispatcherApplication(create_backend_app)
        Client(app).post("/moto-api/reset")  # of the process
        self.scheme = scheme
        self.url = ""
        ways: dict[str, App] = {"s3": app, "gs": _google(app), "az": _Azure(app)}
        self._app = ways[scheme]
        self.reset()

    def __enter__(self) -> Self:
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Silent(WSGIRequestHandler):
            def log(self, *_: object, **__: object) -> None:
                """Say nothing."""

        self._server = make_server(
            "127.0.0.1", 0, self, threaded=True, request_handler=Silent
        )
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.port}"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.answers.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def environment(self, folder: Path) -> dict[str, str]:
        """Return the variables by which it is found; Google's name a file in a folder."""
        account = folder / "account.json"
        names = ("client_email", "private_key", "private_key_id")
        told = {"gcs_base_url": self.url, "disable_oauth": True}
        account.write_text(json.dumps({**told, **dict.fromkeys(names, "")}))
        return {
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.url,
            "GOOGLE_SERVICE_ACCOUNT": str(account),
            "AZURE_STORAGE_ENDPOINT": self.url,
            "AZURE_STORAGE_ACCOUNT_NAME": "somebody",
            "AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(self.secret.encode()).decode(),
        }

    def client(self) -> Any:  # noqa: ANN401 - made by boto3
        """Return what looks into the store, past its scheme."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="somebody",
            aws_secret_access_key=self.secret,
        )

    def reset(self) -> None:
        """Be reliable again, and forget what was counted."""
        self.latency_s = 0.0  # of reading slides
        self.failing = self.cut = 0  # every so many requests for slides
        self.failed = self.was_cut = self.nbytes = 0
        self.lists = True
        self.refused = ""
        self.stored: list[str] = []
        self.failing_writes = 0  # every so many requests to store
        self.down_after = 0  # so many files, for good
        self.silent_after = 0  # so many files: nobody is answered until `answers` is set
        self.answers = threading.Event()
        self.failures: Counter[str] = Counter()
        self._reads, self._writes = itertools.count(1), itertools.count(1)

    def address(self, key: str) -> str:
        """Return the address of what begins with a bucket."""
        return f"{self.scheme}://{key}"

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        """Answer a request, as WSGI has it."""
        path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
        if not self.lists and ("list-type=" in query or "comp=list" in query):
            return _answered(start, "403 Forbidden")
        if environ["REQUEST_METHOD"] in {"PUT", "POST"} and path.count("/") > 1:
            return self._write(environ, start)
        if self._is_down():
            return self._fail(environ, start)
        self._keep_silent()
        if environ["REQUEST_METHOD"] == "GET" and Path(path).suffix in {".svs", ".dcm"}:
            return self._read(environ, start)
        return self._app(environ, start)

    def _write(self, environ: Environ, start: Start) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if self.refused and self.refused in path:
            return _answered(start, "403 Forbidden")
        if self.failing_writes and (nth := next(self._writes)) % self.failing_writes == 0:
            return self._fail(environ, start, cut=nth % 2 == 0)
        if not self._is_down():
            self.stored.append(path.removeprefix("/runs/"))
        if self._is_down():
            return self._fail(environ, start)
        self._keep_silent()
        return self._app(environ, start)

    def _read(self, environ: Environ, start: Start) -> Iterable[bytes]:
        time.sleep(self.latency_s)
        if self.refused and self.refused in environ["PATH_INFO"]:
            return _answered(start, "403 Forbidden")
        nth = next(self._reads)
        if self.failing and nth % self.failing == 0:
            self.failed += 1
            return _answered(start, "500 Internal Server Error")
        data = b"".join(self._app(environ, start))
        self.nbytes += len(data)
        if self.cut and nth % self.cut == 0 and len(data) > 1:
            self.was_cut += 1
            return self._half(data)
        return [data]

    def _half(self, data: bytes) -> Iterator[bytes]:
        yield data[: len(data) // 2]
        raise ConnectionError

    def _is_down(self) -> bool:
        return bool(self.down_after) and len(self.stored) >= self.down_after

    def _keep_silent(self) -> None:
        if 0 < self.silent_after <= len(self.stored):
            self.answers.wait()

    def _fail(
        self, environ: Environ, start: Start, *, cut: bool = False
    ) -> Iterable[bytes]:
        query = environ["QUERY_STRING"]
        removal = "delete" in query or "comp=batch" in query  # of several
        method = "DELETE" if removal else environ["REQUEST_METHOD"]
        self.failures["cut" if cut else method] += 1
        if cut:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return _answered(start, "500 Internal Server Error")


def _answered(start: Start, status: str, body: str = "", **headers: str) -> list[bytes]:
    data = body.encode()
    start(status, [("Content-Length", str(len(data))), *headers.items()])
    return [data]


def _google(app: App) -> App:
    """Return a server of S3 as one of Google, which differs in how one signs."""

    def answer(environ: Environ, start: Start) -> Iterable[bytes]:
        if not environ.get("HTTP_AUTHORIZATION", "").startswith("AWS4"):
            environ["HTTP_AUTHORIZATION"] = _OF_S3
        return app(environ, start)

    return answer


class _Azure:
    """A server of S3 as one of Azure: lists, blocks and batches are its own."""

    def __init__(self, app: App) -> None:
        from werkzeug.test import Client

        self._app = app
        self.s3 = Client(app)
        self.blocks: dict[tuple[str, str], bytes] = {}

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        if "HTTP_X_MS_VERSION" not in environ:
            return self._app(environ, start)
        environ["HTTP_AUTHORIZATION"] = _OF_S3
        query = dict(parse_qsl(environ["QUERY_STRING"]))
        if (kind := query.get("comp")) is None:
            return self._app(environ, start)
        ways = {
            "list": self._list,
            "block": self._keep_block,
            "blocklist": self._join,
            "batch": self._remove,
        }
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, text, headers = ways[kind](environ["PATH_INFO"], query, body)
        return _answered(start, status, text, **headers)

    def _list(self, path: str, query: Mapping[str, str], _: bytes) -> Answer:
        asked = {"list-type": "2", "prefix": query.get("prefix", "")}
        asked |= {"delimiter": query["delimiter"]} if "delimiter" in query else {}
        found = self.s3.get(path, query_string=asked, headers=_SIGNED)
        if found.status_code != 200:
            return "404 Not Found", "<Error><Code>ContainerNotFound</Code></Error>", {}
        tree = ET.fromstring(re.sub(rb' xmlns="[^"]*"', b"", found.data, count=1))  # noqa: S314 - moto's
        blobs = "".join(
            f"<Blob><Name>{escape(each.findtext('Key', ''))}</Name><Properties>"
            "<Last-Modified>Mon, 30 Nov 2026 00:00:00 GMT</Last-Modified>"
            f"<Content-Length>{each.findtext('Size')}</Content-Length>"
            "<Content-Type>application/octet-stream</Content-Type>"
            f"<Etag>{each.findtext('ETag')}</Etag></Properties></Blob>"
            for each in tree.iter("Contents")
        ) + "".join(
            f"<BlobPrefix><Name>{escape(each.findtext('Prefix', ''))}</Name></BlobPrefix>"
            for each in tree.iter("CommonPrefixes")
        )
        text = (
            f"<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>"
        )
        return "200 OK", text, {}

    def _keep_block(self, path: str, query: Mapping[str, str], body: bytes) -> Answer:
        self.blocks[path, query["blockid"]] = body
        return "201 Created", "", {}

    def _join(self, path: str, _: Mapping[str, str], body: bytes) -> Answer:
        names = re.findall(r"<(?:Uncommitted|Latest)>(.*?)</", body.decode())
        data = b"".join(self.blocks.pop((path, name)) for name in names)
        stored = self.s3.put(quote(path), data=data, headers=_SIGNED)
        return "201 Created", "", {"ETag": stored.headers["ETag"]}

    def _remove(self, _: str, __: Mapping[str, str], body: bytes) -> Answer:
        answers = ""
        for number, path in enumerate(re.findall(r"DELETE (\S+) HTTP", body.decode())):
            self.s3.delete(path, headers=_SIGNED)
            answers += (
                "--batch\r\nContent-Type: application/http\r\n"
                f"Content-ID: {number}\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n\r\n"
            )
        kind = "multipart/mixed; boundary=batch"
        return "202 Accepted", f"{answers}--batch--\r\n", {"Content-Type": kind}
