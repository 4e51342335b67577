"""Servers on this machine that stand between the command and the simulated AWS, or beside it."""

from __future__ import annotations

import http.client
import json
import select
import socket
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

LIMIT_S = 60
# Headers that belong to one connection.
HOP = {"connection", "proxy-connection", "transfer-encoding", "content-length", "keep-alive"}


class Handler(BaseHTTPRequestHandler):
    """Reads a whole request and answers it in one piece. Subclasses answer."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, body: bytes, headers=()) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_json(self, status: int, value: dict, headers=()) -> None:
        self.answer(status, json.dumps(value).encode(), [("Content-Type", "application/json"), *headers])

    def forward(self, host: str, path: str, body: bytes | None = None) -> None:
        """Sends the request on, and the answer back."""
        body = self.body() if body is None else body
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        connection = http.client.HTTPConnection(host, timeout=LIMIT_S)
        try:
            connection.request(self.command, path, body, headers)
            answer = connection.getresponse()
            self.answer(answer.status, answer.read(), answer.getheaders())
        finally:
            connection.close()


@contextmanager
def serving(handler: type[Handler], tls: ssl.SSLContext | None = None):
    """Serves on a free port, and yields its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"{'https' if tls else 'http'}://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def forwarder(endpoint: str) -> type[Handler]:
    """Another address of an endpoint, for instance one with TLS."""

    class Forwarder(Handler):
        def do_POST(self):
            self.forward(urlsplit(endpoint).netloc, self.path)

        do_GET = do_POST

    return Forwarder


def proxy(through: list[str]) -> type[Handler]:
    """An HTTP proxy. It notes the host of each request and of each tunnel."""

    class Proxy(Handler):
        def do_POST(self):
            address = urlsplit(self.path)
            through.append(address.netloc)
            self.forward(address.netloc, f"{address.path or '/'}{'?' + address.query if address.query else ''}")

        do_GET = do_POST

        def do_CONNECT(self):
            through.append(f"CONNECT {self.path}")
            host, port = self.path.rsplit(":", 1)
            with socket.create_connection((host, int(port)), timeout=LIMIT_S) as there:
                self.send_response(200)
                self.end_headers()
                self.close_connection = True
                _copy(self.connection, there)

    return Proxy


def _copy(here: socket.socket, there: socket.socket) -> None:
    other = {here: there, there: here}
    while True:
        readable, _, _ = select.select([here, there], [], [], LIMIT_S)
        if not readable:
            return
        for end in readable:
            data = end.recv(65536)
            if not data:
                return
            other[end].sendall(data)


def sign_in_services(keys: dict, expires: str, asked: list[str], simulated: str) -> type[Handler]:
    """What hands out credentials: the portal and the tokens of IAM Identity Center, STS for web identities, a container's
    agent and an instance's metadata. All of them hand out `keys`, for the right token or to anybody. What
    else STS is asked goes to the simulated AWS.
    """
    named = {"accessKeyId": keys["AccessKeyId"], "secretAccessKey": keys["SecretAccessKey"]}
    session = {**named, "sessionToken": keys["SessionToken"]}
    agent = {
        "AccessKeyId": keys["AccessKeyId"], "SecretAccessKey": keys["SecretAccessKey"], "Token": keys["SessionToken"],
        "Expiration": expires, "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2020-01-01T00:00:00Z",
    }  # fmt: skip

    class SignInServices(Handler):
        def do_GET(self):
            address = urlsplit(self.path)
            asked.append(f"GET {address.path}")
            if address.path == "/federation/credentials":
                self._role_credentials(parse_qs(address.query))
            elif address.path in ("/container", "/latest/meta-data/iam/security-credentials/operator"):
                self.answer_json(200, agent)
            elif address.path.rstrip("/") == "/latest/meta-data/iam/security-credentials":
                self.answer(200, b"operator")
            else:
                self.answer(404, b"")

        def do_PUT(self):
            self.body()
            asked.append(f"PUT {self.path}")
            self.answer(200, b"metadata-token", [("x-aws-ec2-metadata-token-ttl-seconds", "21600")])

        def do_POST(self):
            asked.append(f"POST {self.path}")
            if self.path == "/token":
                self._sso_token(json.loads(self.body()))
            else:
                self._sts()

        def _role_credentials(self, query: dict) -> None:
            if self.headers["x-amz-sso_bearer_token"] != "good":
                self._refuse(401, "UnauthorizedException", "Session token not found or invalid")
            elif query["role_name"] != ["Operator"]:
                self._refuse(403, "ForbiddenException", "No access")
            else:
                self.answer_json(200, {"roleCredentials": {**session, "expiration": 4102444800000}})

        def _sso_token(self, request: dict) -> None:
            if request.get("refreshToken") != "good":
                self._refuse(400, "InvalidGrantException", "Invalid grant provided")
            else:
                self.answer_json(200, {"accessToken": "good", "expiresIn": 3600, "refreshToken": "good"})

        def _refuse(self, status: int, code: str, message: str) -> None:
            self.answer_json(status, {"message": message}, [("x-amzn-ErrorType", code)])

        def _sts(self) -> None:
            body = self.body()
            request = parse_qs(body.decode())
            if request.get("Action") != ["AssumeRoleWithWebIdentity"]:
                self.forward(urlsplit(simulated).netloc, self.path, body)
                return
            assert request["WebIdentityToken"] == ["a-web-identity"], request
            values = {**keys, "Expiration": expires}
            credentials = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
            result = f"<AssumeRoleWithWebIdentityResult><Credentials>{credentials}</Credentials></AssumeRoleWithWebIdentityResult>"
            xmlns = "https://sts.amazonaws.com/doc/2011-06-15/"
            text = f'<AssumeRoleWithWebIdentityResponse xmlns="{xmlns}">{result}</AssumeRoleWithWebIdentityResponse>'
            self.answer(200, text.encode(), [("Content-Type", "text/xml")])

    return SignInServices
