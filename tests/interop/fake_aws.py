"""What AWS answers to those who look for credentials: STS, SSO, the metadata service, the container's endpoint; as much of it as credentials
take. Keys are made from what was asked, so that two clients that ask the same get the same.

    with FakeAws() as aws: ... aws.url, aws.log
"""
import hashlib
import http.server
import json
import re
import threading
import urllib.parse

EXPIRES = "2099-01-01T00:00:00Z"


def keys_for(*what):
    text = hashlib.sha256("|".join(str(w) for w in what).encode()).hexdigest()
    return "ASIA" + text[:16].upper(), text[16:56], "token/" + text


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, text, code=200, kind="text/xml"):
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def json(self, value, code=200):
        self.answer(json.dumps(value), code, "application/json")

    def do_PUT(self):
        self.server.log.append(("PUT", self.path))
        if self.server.fail:
            self.answer("in trouble", self.server.fail.pop())
            return
        self.answer("imds-token" if self.headers.get("X-aws-ec2-metadata-token-ttl-seconds") else "")

    def do_GET(self):
        self.server.log.append(("GET", self.path))
        path = urllib.parse.urlsplit(self.path)
        if self.server.fail:
            self.answer("in trouble", self.server.fail.pop())
            return
        if path.path == "/federation/credentials":
            self.sso(urllib.parse.parse_qs(path.query))
        elif path.path.startswith("/container"):
            key, secret, token = keys_for("container", self.headers.get("Authorization"))
            self.json({"AccessKeyId": key, "SecretAccessKey": secret, "Token": token, "Expiration": EXPIRES})
        elif self.headers.get("X-aws-ec2-metadata-token") != "imds-token":
            self.answer("no", 401)
        elif path.path.endswith("/security-credentials/"):
            self.answer("role-a")
        else:
            key, secret, token = keys_for("instance", path.path)
            self.json({"Code": "Success", "AccessKeyId": key, "SecretAccessKey": secret, "Token": token, "Expiration": EXPIRES})

    def sso(self, query):
        bearer = self.headers.get("x-amz-sso_bearer_token")
        if bearer not in ("good-token", "renewed-token"):
            self.json({"message": "Session token not found or invalid"}, 401)
            return
        key, secret, token = keys_for("sso", bearer, query["role_name"][0], query["account_id"][0])
        self.json({"roleCredentials": {"accessKeyId": key, "secretAccessKey": secret, "sessionToken": token, "expiration": 4070908800000}})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/token":
            self.server.log.append(("POST", "/token"))
            asked = json.loads(body)
            if asked["refreshToken"] != "refresh-1":
                self.json({"error": "invalid_grant"}, 400)
                return
            self.json({"accessToken": "renewed-token", "expiresIn": 28800, "refreshToken": "refresh-2", "tokenType": "Bearer"})
            return
        form = {k: v[0] for k, v in urllib.parse.parse_qs(body).items()}
        self.server.log.append(("POST", form["Action"]))
        if self.server.fail:
            self.answer("<ErrorResponse><Error><Code>InternalFailure</Code><Message>made up</Message></Error></ErrorResponse>",
                        self.server.fail.pop())
            return
        if form["RoleArn"].endswith("/forbidden"):
            self.answer("<ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized</Message></Error>"
                        "<RequestId>req-1</RequestId></ErrorResponse>", 403)
            return
        signed = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
        session = form["RoleSessionName"]
        key, secret, token = keys_for(form["Action"], form["RoleArn"], signed.group(1) if signed else None, form.get("WebIdentityToken"),
                                      form.get("ExternalId"), form.get("DurationSeconds"),
                                      "made up" if re.match(r"(botocore|mlmake)-", session) else session)
        self.answer(f"<{form['Action']}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{form['Action']}Result><Credentials>"
                    f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken>"
                    f"<Expiration>{EXPIRES}</Expiration></Credentials></{form['Action']}Result></{form['Action']}Response>")

    def log_message(self, *args):
        pass


class FakeAws:
    def __init__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.log, self.server.fail = [], []
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    @property
    def log(self):
        return self.server.log

    @property
    def fail(self):
        return self.server.fail

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
