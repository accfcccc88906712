"""Credentials: the same files and environment given to us and to botocore must give the same keys, whoever hands them out; and what is
particular to us: messages, renewal."""
import hashlib
import json
import os
import subprocess
import sys
import time

import conftest
import pytest
from fake_aws import FakeAws, keys_for
from remote_help import Remote, clean, make_object


@pytest.fixture(autouse=True)
def botocore():
    conftest.need_botocore()


BOTOCORE = """
import sys, botocore.session
session = botocore.session.Session(profile=sys.argv[1] or None)
keys = session.get_credentials()
keys = keys.get_frozen_credentials() if keys else None
print("\\t".join([keys.access_key, keys.secret_key, keys.token or "-"]) if keys else "none")
"""
PROCESS = "echo '{\"Version\": 1, \"AccessKeyId\": \"PROC\", \"SecretAccessKey\": \"ps\"}'"
BASE = "[profile base]\naws_access_key_id = BASE\naws_secret_access_key = bs\nregion = eu-west-1\n"


@pytest.fixture
def aws():
    with FakeAws() as running:
        yield running


@pytest.fixture
def env(tmp_path, aws):
    found = clean(tmp_path)
    found.update(AWS_DEFAULT_REGION="eu-west-1", AWS_ENDPOINT_URL_STS=aws.url, AWS_ENDPOINT_URL_SSO=aws.url, AWS_ENDPOINT_URL_SSO_OIDC=aws.url)
    return found


def write_aws(home, config="", credentials=""):
    (home / ".aws").mkdir(exist_ok=True)
    (home / ".aws" / "config").write_text(config)
    (home / ".aws" / "credentials").write_text(credentials)


def write_sso(home, name, token="good-token", expires=3600, **more):
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + expires))
    path = cache / (hashlib.sha1(name.encode()).hexdigest() + ".json")
    path.write_text(json.dumps({"startUrl": "https://x.awsapps.com/start", "region": "eu-west-1", "accessToken": token, "expiresAt": at, **more}))
    return path


def ours(env, profile=None, **options):
    argv = [str(conftest.BUILD / "tests" / "remote_driver"), "credentials", *[f"{k}={v}" for k, v in options.items()]]
    if profile:
        argv.append(f"profile={profile}")
    result = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=30, check=False)
    return result.returncode, result.stdout.strip().split("\t")


def of_botocore(env, profile=None):
    result = subprocess.run([sys.executable, "-c", BOTOCORE, profile or ""], capture_output=True, text=True, env=env, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().split("\t")


SSO = "sso_account_id = 123456789012\nsso_role_name = reader\n"
CASES = {
    "role of a profile": (BASE + "[profile r]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = base\n", "r", {}),
    "all that a role can have": (BASE + "[profile r]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = base\nexternal_id = ext/1+2 ü\n"
                                 "duration_seconds = 1800\nrole_session_name = me@home\n", "r", {}),
    "role of a role": (BASE + "[profile r]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = s\n[profile s]\n"
                       "role_arn = arn:aws:iam::1:role/b\nsource_profile = base\n", "r", {}),
    "role before keys": (BASE + "[profile r]\naws_access_key_id = OWN\naws_secret_access_key = os\nrole_arn = arn:aws:iam::1:role/a\n"
                         "source_profile = base\n", "r", {}),
    "its own source": ("[profile r]\naws_access_key_id = OWN\naws_secret_access_key = os\nrole_arn = arn:aws:iam::1:role/a\n"
                       "source_profile = r\n", "r", {}),
    "source is a process": (f"[profile p]\ncredential_process = {PROCESS}\n[profile r]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = p\n",
                            "r", {}),
    "source is single sign-on": ("[profile p]\nsso_start_url = https://x.awsapps.com/start\nsso_region = eu-west-1\n" + SSO +
                                 "[profile r]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = p\n", "r", {}),
    "source is the environment": ("[profile r]\nrole_arn = arn:aws:iam::1:role/a\ncredential_source = Environment\n", "r",
                                  {"AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "es"}),
    "source is the container": ("[profile r]\nrole_arn = arn:aws:iam::1:role/a\ncredential_source = EcsContainer\n", "r",
                                {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{url}/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer y"}),
    "source is the instance": ("[profile r]\nrole_arn = arn:aws:iam::1:role/a\ncredential_source = Ec2InstanceMetadata\n", "r",
                               {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "{url}"}),
    "the environment before a role": (BASE + "[default]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = base\n", None,
                                      {"AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "es", "AWS_SESSION_TOKEN": "et"}),
    "AWS_PROFILE does not hide the environment": (BASE, None, {"AWS_PROFILE": "base", "AWS_ACCESS_KEY_ID": "ENV",
                                                               "AWS_SECRET_ACCESS_KEY": "es"}),
    "web identity of the environment": ("", None, {"AWS_WEB_IDENTITY_TOKEN_FILE": "{home}/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/w",
                                                   "AWS_ROLE_SESSION_NAME": "pod"}),
    "web identity of a profile": ("[profile w]\nrole_arn = arn:aws:iam::1:role/w\nweb_identity_token_file = {home}/token\n", "w", {}),
    "web identity before keys": ("[default]\naws_access_key_id = OWN\naws_secret_access_key = os\n", None,
                                 {"AWS_WEB_IDENTITY_TOKEN_FILE": "{home}/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/w"}),
    "role with a web identity as its source": ("[profile w]\nrole_arn = arn:aws:iam::1:role/w\nweb_identity_token_file = {home}/token\n"
                                               "[profile r]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = w\n", "r", {}),
    "single sign-on, session": ("[sso-session s]\nsso_start_url = https://x.awsapps.com/start\nsso_region = eu-west-1\n"
                                "[profile p]\nsso_session = s\n" + SSO, "p", {}),
    "single sign-on before keys": ("[profile p]\nsso_start_url = https://x.awsapps.com/start\nsso_region = eu-west-1\n"
                                   "aws_access_key_id = OWN\naws_secret_access_key = os\n" + SSO, "p", {}),
    "process before keys of the config file": (f"[profile p]\naws_access_key_id = OWN\naws_secret_access_key = os\n"
                                               f"credential_process = {PROCESS}\n", "p", {}),
    "container, relative is not full": ("", None, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{url}/container",
                                                   "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "{home}/token"}),
    "instance": ("", None, {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "{url}/"}),
    "services section": (BASE + "[profile r]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = base\nservices = mine\nregion = eu-west-1\n"
                         "[services mine]\nsts =\n  endpoint_url = {url}\n", "r", {"AWS_ENDPOINT_URL_STS": ""}),
    "a process gets no shell": ("[profile p]\ncredential_process = {home}/process $HOME a&b * \"c d\" 'e'\\''f' g\\ h\n", "p", {}),
    "two names of a profile": (BASE + "[profile b2]\naws_access_key_id = B2\naws_secret_access_key = s\n", None,
                               {"AWS_DEFAULT_PROFILE": "base", "AWS_PROFILE": "b2"}),
    "colons": ("[profile p]\naws_access_key_id: KEY\naws_secret_access_key: a=b\n", "p", {}),
    "the old name of a token": ("[profile p]\naws_access_key_id = K\naws_secret_access_key = s\naws_security_token = old\naws_session_token = new\n",
                                "p", {}),
    "the old name of a token in the environment": ("", None, {"AWS_ACCESS_KEY_ID": "K", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SECURITY_TOKEN": "old",
                                                              "AWS_SESSION_TOKEN": "new"}),
    "nothing": ("", None, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_same_as_botocore(env, tmp_path, aws, name):
    config, profile, more = CASES[name]

    def fill(text):
        return text.replace("{url}", aws.url).replace("{home}", str(tmp_path))
    write_aws(tmp_path, fill(config))
    write_sso(tmp_path, "https://x.awsapps.com/start")
    write_sso(tmp_path, "s")
    (tmp_path / "token").write_text("a.web.token")
    process = tmp_path / "process"
    process.write_text("#!/bin/sh\necho \"{\\\"Version\\\": 1, \\\"AccessKeyId\\\": \\\"$#|$*\\\", \\\"SecretAccessKey\\\": \\\"x\\\"}\"\n")
    process.chmod(0o755)
    env.update({k: fill(v) for k, v in more.items()})
    for variable in [k for k, v in env.items() if k.startswith("AWS_ENDPOINT") and not v]:
        del env[variable]
    expected = of_botocore(env, profile)
    code, found = ours(env, profile)
    if expected == ["none"]:
        assert code == 2 and "no AWS credentials" in found[3]
    else:
        assert code == 0 and found[:3] == expected, (found, expected)


@pytest.mark.parametrize("config, more, words", [
    ("[profile p]\nrole_arn = arn:aws:iam::1:role/a\n", {}, ["source_profile", "credential_source"]),
    ("[profile p]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = q\n", {}, ["'q'", "source_profile"]),
    ("[profile p]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = q\n[profile q]\nregion = x\n", {}, ["'q'", "no credentials"]),
    ("[profile p]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = q\n[profile q]\nrole_arn = b\nsource_profile = p\n", {}, ["circle"]),
    (BASE + "[profile p]\nrole_arn = arn:aws:iam::1:role/forbidden\nsource_profile = base\n", {}, ["role/forbidden", "AccessDenied", "req-1"]),
    (BASE + "[profile p]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = base\nmfa_serial = x\n", {}, ["mfa_serial", "export-credentials"]),
    ("[profile p]\nrole_arn = arn:aws:iam::1:role/a\ncredential_source = Nowhere\n", {}, ["Nowhere", "EcsContainer"]),
    ("[profile p]\nweb_identity_token_file = /nonexistent/token\nrole_arn = x\n", {}, ["/nonexistent/token"]),
    ("[profile p]\nweb_identity_token_file = /etc/hostname\n", {}, ["role_arn"]),
    ("[profile p]\nsso_session = s\n" + SSO, {}, ["'s'"]),
    ("[profile p]\nsso_start_url = https://y\n" + SSO, {}, ["sso_region", "aws configure sso"]),
    ("[profile p]\nsso_start_url = https://y\nsso_region = eu-west-1\n" + SSO, {}, ["nobody has signed in", "aws sso login --profile p"]),
    ("[profile p]\nlogin_session = arn\n", {}, ["aws login", "export-credentials"]),
    ("[profile p]\ncredential_process = sh -c 'exit 3'\n", {}, ["exit code 3"]),
    ("[profile p]\ncredential_process = echo '{\"AccessKeyId\": \"a\", \"SecretAccessKey\": \"b\"}'\n", {}, ["\"Version\": 1"]),
    ("[profile p]\ncredential_process = echo 'a\n", {}, ["quote is left open"]),
])
def test_refusals_say_what_to_do(env, tmp_path, config, more, words):
    write_aws(tmp_path, config)
    env.update(more)
    code, found = ours(env, "p")
    assert code in (1, 2), found
    text = "\t".join(found)
    assert not [w for w in words if w not in text], text


def test_expired_sign_on_is_renewed_and_kept(env, tmp_path, aws):
    write_aws(tmp_path, "[sso-session s]\nsso_start_url = https://x.awsapps.com/start\nsso_region = eu-west-1\n[profile p]\nsso_session = s\n" + SSO)
    path = write_sso(tmp_path, "s", expires=60, token="old-token", refreshToken="refresh-1", clientId="c", clientSecret="cs",
                     registrationExpiresAt="2099-01-01T00:00:00Z")
    for _ in range(2):
        code, found = ours(env, "p")
        assert code == 0 and tuple(found[:3]) == keys_for("sso", "renewed-token", "reader", "123456789012")
    assert aws.log.count(("POST", "/token")) == 1
    kept = json.loads(path.read_text())
    assert (kept["accessToken"], kept["refreshToken"], kept["clientId"]) == ("renewed-token", "refresh-2", "c")
    assert path.stat().st_mode & 0o777 == 0o600


def test_expired_sign_on_that_cannot_be_renewed(env, tmp_path):
    write_aws(tmp_path, "[profile p]\nsso_start_url = https://x.awsapps.com/start\nsso_region = eu-west-1\n" + SSO)
    write_sso(tmp_path, "https://x.awsapps.com/start", expires=-5)
    code, found = ours(env, "p")
    assert code == 2 and "expired" in found[3] and "aws sso login" in found[4]


@pytest.mark.slow
def test_sts_in_trouble_is_asked_again(env, tmp_path, aws):
    write_aws(tmp_path, BASE + "[profile p]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = base\n")
    aws.fail[:] = [503, 500]
    assert ours(env, "p")[0] == 0
    aws.fail[:] = [500] * 10
    code, found = ours(env, "p")
    assert code == 4 and "InternalFailure" in found[3]


SERVERS = {"container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{url}/container"},
           "instance": {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "{url}"}}


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
def test_servers_nearby_in_trouble_are_asked_again(env, aws, server):
    env.update({k: v.replace("{url}", aws.url) for k, v in SERVERS[server].items()})
    aws.fail[:] = [503, 500]
    assert ours(env)[0] == 0
    aws.fail[:] = [500] * 10
    code, found = ours(env)
    assert code == 4 and "status 500" in found[3] and f"the {server}'s" in found[3], found


@pytest.mark.slow
def test_an_instance_without_a_role(env, aws):
    env.update(AWS_EC2_METADATA_DISABLED="false", AWS_EC2_METADATA_SERVICE_ENDPOINT=aws.url)
    aws.fail[:] = [404]
    code, found = ours(env)
    assert code == 2 and "no AWS credentials" in found[3] and aws.log == [("PUT", "/latest/api/token")]


@pytest.mark.slow
def test_roles_of_moto(tmp_path):
    """A real implementation of STS, though one that believes any signature."""
    port = conftest.free_port()
    write_aws(tmp_path, BASE + "[profile p]\nrole_arn = arn:aws:iam::123456789012:role/a\nsource_profile = base\nduration_seconds = 900\n"
              "[profile w]\nrole_arn = arn:aws:iam::123456789012:role/w\nweb_identity_token_file = %s/token\n" % tmp_path)
    (tmp_path / "token").write_text("a.web.token")
    with conftest.server([conftest.need_peer("moto"), "-H", "127.0.0.1", "-p", str(port)], port, dict(os.environ)):
        env = {**clean(tmp_path), "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{port}"}
        for profile in ("p", "w"):
            code, found = ours(env, profile)
            assert code == 0 and found[0].startswith("ASIA") and found[2] != "-", found
            assert 800 < int(found[4]) - time.time() < 3700
        remote = Remote("s3://bkt", {**env, "AWS_PROFILE": "p", "AWS_DEFAULT_REGION": "us-east-1"}, endpoint_url=f"http://127.0.0.1:{port}")
        import urllib.request
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/bkt", method="PUT"), timeout=conftest.PATIENCE).read()
        item = make_object(tmp_path, b"through a role")
        assert remote.states("put", [item]) == ["done"]
        assert remote.states("check", [item]) == ["done"]
