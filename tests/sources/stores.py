"""Small servers that behave like S3, Google Cloud Storage, their credential services and a web server.

Signatures and tokens are verified here by code of its own, so that a mistake of ours cannot cancel itself out.
"""

import base64
import datetime
import hashlib
import hmac
import http.server
import json
import re
import struct
import threading
import urllib.parse

ACCESS, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sigv4(method, path, query, headers, signed, secret, scope, time):
    """The signature that the request should have, computed from AWS's description."""
    pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
    encode = lambda text: urllib.parse.quote(text, safe="-_.~")
    canonical = "\n".join([
        method, path, "&".join(f"{encode(k)}={encode(v)}" for k, v in pairs),
        "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in signed), ";".join(signed),
        headers["x-amz-content-sha256"]])
    text = "\n".join(["AWS4-HMAC-SHA256", time, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class Store:
    """What the handler serves. Tests change it; `log` holds (method, path, range) of every request."""

    def __init__(self):
        self.objects = {}          # path below the bucket's → bytes
        self.region = "us-east-1"  # where the bucket is
        self.session = ""          # the token that belongs to the keys
        self.skewed = False
        self.break_after = []      # for the next requests with content: how many bytes before it breaks; None: whole
        self.fail_with = []        # status of the next requests
        self.ranges = True
        self.etag = None           # instead of the MD5
        self.google_token = "token-1"
        self.hash_of = None        # x-goog-hash of other content
        self.location = None       # where /moved leads
        self.log = []
        self.tokens = []           # forms that the token server got
        self.lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    @property
    def store(self):
        return self.server.store

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def xml(self, status, code, message, headers=(), more=""):
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>'
        self.answer(status, body.encode(), headers)

    def content(self, data, headers):
        """The object, or the range of it that was asked for; may break on purpose."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if self.store.ranges else None
        etag = dict(headers).get("ETag")
        if asked and self.headers.get("If-Range", etag) != etag:
            asked = None
        body, status = data, 200
        if asked:
            begin, end = int(asked[1]), min(int(asked[2]) + 1, len(data))
            if begin >= len(data):
                return self.answer(416, b"", [("Content-Range", f"bytes */{len(data)}")])
            body, status = data[begin:end], 206
            headers = [*headers, ("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")]
        with self.store.lock:
            limit = self.store.break_after.pop(0) if self.store.break_after else None
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if limit is None else body[:limit])
        if limit is not None:
            self.close_connection = True

    def do_GET(self):
        with self.store.lock:
            self.store.log.append((self.command, self.path, self.headers.get("Range")))
            status = self.store.fail_with.pop(0) if self.store.fail_with else 0
        if status:
            return self.answer(status, b"later", [("Retry-After", "0")])
        path = self.path.split("?")[0]
        if path.startswith("/storage/v1/b/"):
            return self.gcs(path)
        if path.startswith("/computeMetadata/"):
            if self.headers.get("Metadata-Flavor") != "Google":
                return self.answer(403)
            return self.answer(200, json.dumps({"access_token": self.store.google_token, "expires_in": 3599,
                                                "token_type": "Bearer"}).encode())
        if path.startswith("/container"):
            if self.headers.get("Authorization") != "container-secret":
                return self.answer(403)
            return self.answer(200, json.dumps({"AccessKeyId": ACCESS, "SecretAccessKey": SECRET,
                                                "Token": self.store.session}).encode())
        if path.startswith("/latest/meta-data/iam/security-credentials/"):
            if self.headers.get("X-aws-ec2-metadata-token") != "imds-token":
                return self.answer(401)
            if path.endswith("/"):
                return self.answer(200, b"reader")
            return self.answer(200, json.dumps({"Code": "Success", "AccessKeyId": ACCESS, "SecretAccessKey": SECRET,
                                                "Token": self.store.session}).encode())
        if path.startswith("/web/"):
            data = self.store.objects.get(urllib.parse.unquote(path[5:]))
            if data is None:
                return self.answer(404)
            etag = self.store.etag or '"' + hashlib.md5(data).hexdigest() + '"'
            return self.content(data, [("ETag", etag)] if etag != "none" else [])
        if path == "/moved.mar":
            return self.answer(302, b"", [("Location", self.store.location)])
        return self.s3(path)

    def do_PUT(self):
        if self.path == "/latest/api/token" and "X-aws-ec2-metadata-token-ttl-seconds" in self.headers:
            return self.answer(200, b"imds-token")
        return self.answer(404)

    def do_POST(self):
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.store.tokens.append(dict(urllib.parse.parse_qsl(form)))
        if self.store.fail_with:
            self.store.fail_with.pop(0)
            return self.answer(400, b'{"error":"invalid_grant","error_description":"Invalid JWT Signature."}')
        self.answer(200, json.dumps({"access_token": self.store.google_token, "expires_in": 3599}).encode())

    def s3(self, path):
        authorization = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\S+), SignedHeaders=(\S+), Signature=([0-9a-f]{64})",
            self.headers.get("Authorization", ""))
        if not authorization:
            return self.xml(403, "AccessDenied", "Anonymous access is forbidden")
        access, scope, names, signature = authorization.groups()
        headers = {name.lower(): value for name, value in self.headers.items()}
        signed = names.split(";")
        if access != ACCESS:
            return self.xml(403, "InvalidAccessKeyId", "The key does not exist")
        wanted = sigv4("GET", path, self.path.partition("?")[2], headers, signed, SECRET, scope,
                       headers["x-amz-date"])
        if signature != wanted or not {"host", "x-amz-date", "x-amz-content-sha256"} <= set(signed):
            return self.xml(403, "SignatureDoesNotMatch", "The signature does not match")
        if headers.get("x-amz-security-token", "") != self.store.session:
            return self.xml(400, "ExpiredToken", "The provided token has expired")
        sent = datetime.datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        if self.store.skewed or abs((now - sent).total_seconds()) > 900:
            return self.xml(403, "RequestTimeTooSkewed", "The difference is too large")
        region = scope.split("/")[1]
        if region != self.store.region:
            return self.xml(400, "AuthorizationHeaderMalformed", f"expecting '{self.store.region}'",
                            more=f"<Region>{self.store.region}</Region>")
        if not path.startswith("/models/"):
            if path.startswith("/secret/"):
                return self.xml(403, "AccessDenied", "Access Denied")
            return self.xml(404, "NoSuchBucket", "The specified bucket does not exist")
        data = self.store.objects.get(urllib.parse.unquote(path[len("/models/"):]))
        if data is None:
            return self.xml(404, "NoSuchKey", "The specified key does not exist.")
        self.content(data, [("ETag", self.store.etag or '"' + hashlib.md5(data).hexdigest() + '"')])

    def gcs(self, path):
        _, bucket, name = re.fullmatch(r"(/storage/v1/b/)([^/]+)/o/([^/]+)", path).groups()
        refuse = lambda status, text: self.answer(status, json.dumps(
            {"error": {"code": status, "message": text, "errors": [{"reason": "x"}]}}).encode())
        authorization = self.headers.get("Authorization")
        if authorization and authorization != "Bearer " + self.store.google_token:
            return refuse(401, "Invalid Credentials")
        if not authorization and bucket != "public":
            return refuse(401, "Anonymous caller does not have storage.objects.get access")
        if bucket == "secret":
            return refuse(403, "reader@x does not have storage.objects.get access")
        if bucket not in ("models", "public"):
            return refuse(404, "The specified bucket does not exist.")
        data = self.store.objects.get(urllib.parse.unquote(name))
        if data is None:
            return refuse(404, "No such object: models/x")
        hashed = self.store.hash_of or data
        crc = base64.b64encode(struct.pack(">I", crc32c(hashed))).decode()
        md5 = base64.b64encode(hashlib.md5(hashed).digest()).decode()
        self.content(data, [("ETag", '"CJ7"'), ("x-goog-generation", "17"),
                            ("x-goog-hash", f"crc32c={crc},md5={md5}")])


class QuietServer(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass  # a client that has enough closes its connection


class Server:
    def __init__(self):
        self.http = QuietServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.store = self.store = Store()
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
