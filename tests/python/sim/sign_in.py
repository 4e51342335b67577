#!/usr/bin/env python3
"""Signs `enroller` in with everything that the AWS CLI takes, through proxies and with certificates of our own.

    python tests/python/sim/sign_in.py PATH-OF-THE-BINARY

Starts the simulated AWS, and beside it a stand-in for what hands out credentials: IAM Identity Center, web identities, a
container and an instance. Wherever the AWS CLI takes the same profile, it must be the same caller. The
stand-in knows AWS's protocols and none of its rules, so this proves what the command does, not what AWS allows.

Exit code: 0 if all checks passed, 1 if one failed, 2 if they could not start.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# Leave no bytecode in the checkout, and import from tests/python.
sys.dont_write_bytecode = True
sys.path[0] = str(Path(__file__).resolve().parents[1])

from common.answer_model import AnswerModel
from common.loopback import forwarder, proxy, serving, sign_in_services
from common.sentences import Sentences, end_after, equal
from common.simulated_aws import HOME, CannotStart, SimulatedAws

EXPIRES = "2100-01-01T00:00:00Z"
EXPIRED = "2020-01-01T00:00:00Z"
START_URL = "https://example.awsapps.com/start"
SESSION_ARN = "arn:aws:iam::111122223333:user/Admin"
SSO = f"sso_account_id = 444455556666\nsso_role_name = Operator\nregion = {HOME}\n"


class Machine:
    """A person's home folder with profile files, and the two commands that read them."""

    def __init__(self, folder: str, aws: SimulatedAws, services: str):
        self.home = Path(folder)
        self.aws = aws
        role = aws.administrator_arn(aws.central.account)
        manager = aws.management
        self.keys_of = aws.in_member(aws.central.account, "a-person")
        process = self.home / "process.sh"
        answer = {"Version": 1, "AccessKeyId": self.keys_of.access_key_id, "Expiration": EXPIRES}
        answer |= {"SecretAccessKey": self.keys_of.secret_access_key, "SessionToken": self.keys_of.session_token}
        process.write_text(f"echo asked >> {self.home}/asked\nsleep ${{SLOW:-0}}\nprintf '%s' '{json.dumps(answer)}'\n")
        (self.home / ".aws").mkdir()
        (self.home / "token").write_text("a-web-identity")
        (self.home / ".aws/config").write_text(
            f"[default]\nregion = {HOME}\n"
            f"[profile modern]\nsso_session = corp\n{SSO}"
            f"[sso-session corp]\nsso_start_url = {START_URL}\nsso_region = {HOME}\n"
            f"[profile legacy]\nsso_start_url = {START_URL}\nsso_region = {HOME}\n{SSO}"
            f"[profile forbidden]\nsso_session = corp\nsso_account_id = 444455556666\nsso_role_name = Other\n"
            f"[profile console]\nlogin_session = {SESSION_ARN}\nregion = {HOME}\n"
            f"[profile chain-of-console]\nrole_arn = {role}\nsource_profile = console\nregion = {HOME}\n"
            f"[profile process]\ncredential_process = sh {process}\nregion = {HOME}\n"
            f"[profile broken]\ncredential_process = sh -c 'echo the vault is locked >&2; exit 3'\n"
            f"[profile manager]\naws_access_key_id = {manager.access_key_id}\n"
            f"aws_secret_access_key = {manager.secret_access_key}\n"
            f"[profile chain]\nrole_arn = {role}\nsource_profile = manager\nrole_session_name = chained\nregion = {HOME}\n"
            f"[profile chain-of-sso]\nrole_arn = {role}\nsource_profile = modern\nregion = {HOME}\n"
            f"[profile web]\nrole_arn = {role}\nweb_identity_token_file = {self.home}/token\nregion = {HOME}\n"
            f"[profile instance]\nregion = {HOME}\n"
            f"[profile own-certificates]\naws_access_key_id = {aws.central.access_key_id}\n"
            f"aws_secret_access_key = {aws.central.secret_access_key}\nca_bundle = ~/ca.pem\nregion = {HOME}\n"
        )
        self.environment = {
            "HOME": folder,
            "PATH": os.environ["PATH"],
            "AWS_ENDPOINT_URL": aws.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_ENDPOINT_URL_SSO": services,
            "AWS_ENDPOINT_URL_SSO_OIDC": services,
            **aws.environment,
        }

    def sso_session(self, name: str, access: str, expires: str, refresh: str | None = None) -> None:
        """What `aws sso login` leaves. In the legacy style, the name is the start URL."""
        token = {"accessToken": access, "expiresAt": expires, "region": HOME, "startUrl": START_URL}
        if refresh:
            token |= {"refreshToken": refresh, "clientId": "c", "clientSecret": "s", "registrationExpiresAt": EXPIRES}
        self._cache("sso/cache", hashlib.sha1(name.encode()).hexdigest(), token)

    def aws_cli_that(self, script: str) -> dict[str, str]:
        """A path with an AWS CLI that does this. That of the tests is version 1, which has no `aws login`."""
        path = self.home / "bin/aws"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return {"PATH": f"{path.parent}:{os.environ['PATH']}"}

    def _cache(self, folder: str, name: str, token: dict) -> None:
        path = self.home / ".aws" / folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(token))

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        """Runs a command that reads destinations only."""
        return self._run([os.path.abspath(self.aws.binary), "doctor", "--sample", "0", "--format", "json", *arguments], variables)

    def aws_cli(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        command = [str(Path(sys.executable).parent / "aws"), "sts", "get-caller-identity", "--output", "json", *arguments]
        return self._run(command, variables)

    def _run(self, command: list[str], variables: dict) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, env={**self.environment, **variables}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=180, check=False,
        )  # fmt: skip

    def signs_in(self, *arguments: str, **variables: str) -> str:
        """The caller, which must be that of the AWS CLI."""
        done = self.run(*arguments, **variables)
        assert done.stdout.startswith("{"), f"it ends with {done.returncode}:\n{done.stderr}"
        caller = json.loads(done.stdout)["about"]["caller"]
        other = self.aws_cli(*arguments, **variables)
        assert other.returncode == 0, f"the AWS CLI fails: {other.stderr}"
        # The names of the sessions differ.
        equal(caller.rsplit("/", 1)[0], json.loads(other.stdout)["Arn"].rsplit("/", 1)[0])
        return caller

    def refuses(self, *arguments: str, says: list[str], **variables: str) -> None:
        done = self.run(*arguments, **variables)
        equal(done.returncode, 1)
        for words in says:
            assert words in done.stderr, f"{words!r} is not in:\n{done.stderr}"


def certificates(folder: Path) -> ssl.SSLContext:
    """A server's certificate for localhost, and that of its authority in ca.pem."""
    now = datetime.datetime.now(datetime.timezone.utc)

    def signed(subject: str, key, issuer: str, issuer_key, authority: bool):
        named = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])  # noqa: E731
        builder = x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named(issuer))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        if not authority:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        return builder.add_extension(identifier, critical=False).sign(issuer_key, hashes.SHA256())

    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = signed("a proxy's authority", authority_key, "a proxy's authority", authority_key, True)
    server = signed("localhost", server_key, "a proxy's authority", authority_key, False)
    (folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(
        server.public_bytes(serialization.Encoding.PEM)
        + server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


def identity_center(sentences: Sentences, machine: Machine, asked: list[str]) -> None:
    with sentences.check("a profile with an sso-session is used with the session that aws sso login left"):
        machine.sso_session("corp", "good", EXPIRES)
        machine.signs_in("--profile", "modern")
        machine.signs_in(AWS_PROFILE="modern")
    with sentences.check("a profile with sso_start_url, the older style, is used as well"):
        machine.sso_session(START_URL, "good", EXPIRES)
        machine.signs_in("--profile", "legacy")
    with sentences.check("a role is assumed with a profile of IAM Identity Center, as far as its trust policy allows"):
        refusal = f"{machine.aws.central.account}:assumed-role/OrganizationAccountAccessRole/a-person is not authorized"
        machine.refuses("--profile", "chain-of-sso", says=["with the profile modern: SSO", refusal])
    with sentences.check("an expired session is renewed with its refresh token"):
        machine.sso_session("corp", "old", EXPIRED, refresh="good")
        asked.clear()
        machine.signs_in("--profile", "modern")
        assert "POST /token" in asked, asked
    with sentences.check("an expired session that cannot be renewed says which command signs in"):
        expired = ["The SSO session associated with this profile has expired or is otherwise invalid"]
        machine.sso_session("corp", "old", EXPIRED, refresh="bad")
        machine.refuses("--profile", "modern", says=[*expired, "next: aws sso login --profile modern\n"])
        machine.refuses("--profile", "chain-of-sso", says=[*expired, "next: aws sso login --profile modern\n"])
        machine.sso_session("corp", "revoked", EXPIRES)
        machine.refuses("--profile", "modern", says=[*expired, "UnauthorizedException"])
    with sentences.check("a role that is not assigned is told from a session that has expired"):
        machine.sso_session("corp", "good", EXPIRES)
        machine.refuses("--profile", "forbidden", says=["(ForbiddenException)", "sso_role_name of the profile forbidden"])


def other_sources(sentences: Sentences, machine: Machine, services: str, asked: list[str]) -> None:
    with sentences.check("a profile of aws login is used through the AWS CLI, which renews its session"):
        path = machine.aws_cli_that(f'echo "$*" > {machine.home}/cli\nsh {machine.home}/process.sh')
        for profile in ("console", "chain-of-console"):
            done = machine.run("--profile", profile, **path)
            assert done.stdout.startswith("{"), done.stderr
            equal((machine.home / "cli").read_text(), f"configure export-credentials --format process --profile {profile}\n")
    with sentences.check("an expired session of aws login says which command signs in"):
        path = machine.aws_cli_that("echo 'Your session has expired.' >&2; exit 255")
        says = ["Please reauthenticate using 'aws login'", "Your session has expired.", "next: aws login --profile console\n"]
        machine.refuses("--profile", "chain-of-console", says=says, **path)
    with sentences.check("a credential_process is run once, and may take longer than the SDK's 5 seconds"):
        (machine.home / "asked").unlink(missing_ok=True)
        done = machine.run("--profile", "process", SLOW="7")
        assert done.stdout.startswith("{"), done.stderr
        equal((machine.home / "asked").read_text(), "asked\n")
        machine.signs_in(AWS_PROFILE="process")
    with sentences.check("a credential_process that fails is told with its standard error"):
        machine.refuses("--profile", "broken", says=["custom-process", "the vault is locked", "in the profile broken"])
    with sentences.check("source_profile is followed to the keys"):
        assert machine.signs_in("--profile", "chain").endswith("/chained")
    with sentences.check("a web identity is used, from a profile and from the variables"):
        sts = {"AWS_ENDPOINT_URL_STS": services}
        machine.signs_in("--profile", "web", **sts)
        role = machine.aws.administrator_arn(machine.aws.central.account)
        token = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(machine.home / "token"), "AWS_ROLE_ARN": role}
        machine.signs_in(**token, **sts, AWS_REGION=HOME)
    with sentences.check("a container's role is used, and an instance's role"):
        machine.signs_in(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{services}/container")
        instance = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": services}
        machine.signs_in(**instance)
        machine.signs_in("--profile", "instance", **instance)


def flags(sentences: Sentences, machine: Machine) -> None:
    manager = machine.aws.management
    keys = {"AWS_ACCESS_KEY_ID": manager.access_key_id, "AWS_SECRET_ACCESS_KEY": manager.secret_access_key}
    with sentences.check("--profile precedes the keys of the environment, and AWS_PROFILE does not"):
        assert machine.aws.central.account in machine.signs_in("--profile", "chain", **keys)
        machine.signs_in(AWS_PROFILE="chain", **keys)
    with sentences.check("--profile that is misspelt is named with the profiles that exist"):
        machine.refuses("--profile", "chian", says=["The config profile (chian) could not be found", "--profile names it", "chain, "])


def network(sentences: Sentences, machine: Machine) -> None:
    aws, through = machine.aws, []
    keys = {"AWS_ACCESS_KEY_ID": aws.central.access_key_id, "AWS_SECRET_ACCESS_KEY": aws.central.secret_access_key}
    bundle = {"AWS_CA_BUNDLE": str(machine.home / "ca.pem")}
    tls = certificates(machine.home)
    with serving(proxy(through)) as proxy_url, serving(forwarder(aws.endpoint), tls) as secure:
        with sentences.check("HTTP_PROXY is used for an http endpoint, and NO_PROXY excepts a host"):
            machine.signs_in(**keys, HTTP_PROXY=proxy_url, http_proxy=proxy_url)
            assert through, "nothing came through the proxy"
            through.clear()
            machine.signs_in(**keys, http_proxy=proxy_url, HTTP_PROXY=proxy_url, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
            equal(through, [])
        with sentences.check("HTTPS_PROXY is a tunnel for an https endpoint, and AWS_CA_BUNDLE says what to trust"):
            endpoint = {"AWS_ENDPOINT_URL": secure}
            machine.signs_in(**keys, **endpoint, **bundle, HTTPS_PROXY=proxy_url)
            equal({host.split(":")[0] for host in through}, {"CONNECT localhost"})
        with sentences.check("ca_bundle of a profile says what to trust, too"):
            machine.signs_in("--profile", "own-certificates", **endpoint)
        with sentences.check("a certificate that nobody trusts is refused, and the next step names AWS_CA_BUNDLE"):
            machine.refuses(says=["UnknownIssuer", "AWS_CA_BUNDLE"], **keys, **endpoint)
        with sentences.check("a bundle that cannot be read is named"):
            wrong = {"AWS_CA_BUNDLE": "/nowhere/ca.pem"}
            machine.refuses(says=["TLS CA certificate bundle", "/nowhere/ca.pem", "AWS_CA_BUNDLE names it"], **keys, **wrong)
    with sentences.check("a proxy that does not answer is told as one, with the variable to check"):
        machine.refuses(says=["HTTPS_PROXY"], **keys, **endpoint, HTTPS_PROXY="http://127.0.0.1:9")


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    end_after(900)
    sentences = Sentences()
    try:
        with SimulatedAws(sys.argv[1], AnswerModel(), accounts=4, vpcs=1) as aws, tempfile.TemporaryDirectory() as folder:
            person = aws.in_member(aws.central.account, "a-person")
            keys = {"AccessKeyId": person.access_key_id, "SecretAccessKey": person.secret_access_key}
            keys["SessionToken"] = person.session_token
            asked: list[str] = []
            with serving(sign_in_services(keys, EXPIRES, asked, aws.endpoint)) as services:
                machine = Machine(folder, aws, services)
                identity_center(sentences, machine, asked)
                other_sources(sentences, machine, services, asked)
                flags(sentences, machine)
                network(sentences, machine)
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 2
    return sentences.end()


if __name__ == "__main__":
    sys.exit(main())
