"""Random secrets of many kinds, each in the words it comes in, and the search for them in bytes of any encoding."""

from __future__ import annotations

import base64
import json
import random
import string
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

LETTERS = string.ascii_letters + string.digits
HEX = "0123456789abcdef"


def chars(dice: random.Random, n: int, alphabet: str = LETTERS) -> str:
    """Random characters with at least one digit and one letter."""
    text = "".join(dice.choices(alphabet, k=n - 2))
    return f"{text[: n // 2]}7a{text[n // 2 :]}"


def base64url(dice: random.Random, n: int) -> str:
    return base64.urlsafe_b64encode(dice.randbytes(n)).decode().rstrip("=")


def token(prefix: str, n: int, alphabet: str = LETTERS) -> Callable[[random.Random], tuple[str, str]]:
    def make(dice: random.Random) -> tuple[str, str]:
        secret = prefix + chars(dice, n, alphabet)
        return f"the value {secret} was used", secret

    return make


def said(template: str, n: int = 14, alphabet: str = LETTERS) -> Callable[[random.Random], tuple[str, str]]:
    def make(dice: random.Random) -> tuple[str, str]:
        secret = chars(dice, n, alphabet)
        return template.replace("@@", secret), secret

    return make


def _jwt(dice: random.Random) -> tuple[str, str]:
    secret = f"eyJ{base64url(dice, 24)}.eyJ{base64url(dice, 30)}.{base64url(dice, 32)}"
    return f"jwt {secret} end", secret


def _pem(kind: str) -> Callable[[random.Random], tuple[str, str]]:
    def make(dice: random.Random) -> tuple[str, str]:
        line = base64.b64encode(dice.randbytes(48)).decode()
        return f"-----BEGIN {kind}PRIVATE KEY-----\n{line}\n-----END {kind}PRIVATE KEY-----", line

    return make


def _gcp(dice: random.Random) -> tuple[str, str]:
    line = base64.b64encode(dice.randbytes(48)).decode()
    pem = f"-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n"
    return json.dumps({"type": "service_account", "project_id": "p", "private_key": pem}), line


def _base64_pair(template: str) -> Callable[[random.Random], tuple[str, str]]:
    def make(dice: random.Random) -> tuple[str, str]:
        # 16 characters of password behind "ann:" need padding.
        secret = base64.b64encode(f"ann:{chars(dice, 16)}".encode()).decode().rstrip("=")
        return template.replace("@@", secret + "=="), secret

    return make


def _neptune(dice: random.Random) -> tuple[str, str]:
    body = json.dumps({"api_address": "https://app.example", "api_key": chars(dice, 36)}, separators=(",", ":"))
    secret = base64.b64encode(body.encode()).decode().rstrip("=")
    return f"neptune {secret} end", secret


def _azure(dice: random.Random) -> tuple[str, str]:
    secret = base64.b64encode(dice.randbytes(48)).decode()
    return f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={secret};EndpointSuffix=core", secret


UPPER = string.ascii_uppercase + string.digits

KINDS: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "AWS access key": lambda dice: (lambda s: (f"id {s} x", s))("AKIA" + "".join(dice.choices(UPPER, k=16))),
    "AWS secret": said("aws_secret_access_key = @@", 40, LETTERS + "/+"),
    "AWS pair": lambda dice: (lambda s: (f"{'AKIA' + ''.join(dice.choices(UPPER, k=16))},{s}", s))(chars(dice, 40)),
    "GCP service account": _gcp,
    "Google key": token("AI" + "za", 35),
    "Google OAuth": token("ya29" + ".", 40),
    "Azure storage": _azure,
    "Azure signature": said("https://a.blob.core.windows.net/c?sv=2021&sig=@@", 43),
    "GitHub": token("gh" + "p_", 36),
    "GitHub fine": token("github" + "_pat_", 60),
    "GitLab": token("gl" + "pat-", 20),
    "Bitbucket": token("AT" + "BB", 32),
    "Slack": token("xo" + "xb-123456789012-", 24),
    "Slack webhook": said("https://hooks.slack.com/services/T01/B02/@@", 24),
    "Stripe": token("sk_" + "live_", 24),
    "Twilio": token("S" + "K", 32, HEX),
    "SendGrid": lambda dice: (lambda s: (f"mail {s}", s))(f"SG.{chars(dice, 22)}.{chars(dice, 43)}"),
    "Hugging Face": token("h" + "f_", 34),
    "OpenAI": token("sk-" + "proj-", 48),
    "Anthropic": token("sk-" + "ant-api03-", 60),
    "W&B": said("WANDB_API_KEY=@@", 40, HEX),
    "Comet": said('{"comet_api_key": "@@"}', 25),
    "Neptune": _neptune,
    "Kaggle": said('{"username": "ann", "key": "@@"}', 32, HEX),
    "npm": token("npm" + "_", 36),
    "PyPI": token("py" + "pi-", 60),
    "Docker": token("dckr" + "_pat_", 27),
    "Docker login": _base64_pair('{"auths": {"r.example": {"auth": "@@"}}}'),
    "JSON web token": _jwt,
    "RSA key": _pem("RSA "),
    "ssh key": _pem("OPENSSH "),
    "password in URL": said("postgresql://ann:@@@db.example:5432/x"),
    "token in URL": said("https://@@@git.example/repo.git", 20),
    "query of URL": said("https://h.example/x?a=1&api_key=@@&b=2"),
    "flag": said("train.py --password @@ --lr 0.1"),
    "flag with sign": said("train.py --db-password=@@ --lr 0.1"),
    "setting": said("password=@@"),
    "escaped JSON": said('{\\"api_key\\": \\"@@\\", \\"lr\\": 1}'),
    "YAML": said("client_secret: @@"),
    "Python": said("API_KEY = '@@'"),
    "Python bytes": said('token = b"@@"'),
    "Python call": said('SecretHolder(api_key=Secret("@@"))'),
    "item": said('os.environ["HF_TOKEN"] = "@@"'),
    "block": said('password = """@@"""'),
    "Bearer": said("Authorization: Bearer @@", 30),
    "Basic": _base64_pair("curl -H 'Authorization: Basic @@'"),
    "Base64 alone": _base64_pair("sent @@ to it"),
    "cookie": said("Cookie: session=@@; theme=dark", 20),
    "ODBC": said("Driver=x;Server=y;UID=sa;PWD=@@;Encrypt=yes"),
    "netrc": said("machine h.example login ann password @@"),
    "curl": said("curl -u ann:@@ https://h.example"),
    "pgpass": said("db.example:5432:x:ann:@@"),
    "sentence": said("login failed, password @@ was refused"),
    "weak name": said('{"login": "@@"}', 28),
    "Vault": token("hv" + "s.", 24),
    "Databricks": token("dap" + "i", 32, HEX),
    "Telegram": lambda dice: (lambda s: (f"bot 123456789:{s} x", s))("AA" + chars(dice, 33)),
    "Discord webhook": said("https://discord.com/api/webhooks/1234/@@", 60),
}
assert len(KINDS) >= 40


def planted(seed: int) -> dict[str, tuple[str, str]]:
    """For each kind a text and the secret in it."""
    dice = random.Random(seed)
    return {kind: make(dice) for kind, make in KINDS.items()}


def forms(secret: str) -> Iterator[bytes]:
    """What a secret looks like as it is, in JSON, in a URL, and in Base64 at any offset."""
    yield secret.encode()
    yield secret.encode("utf-16-le")
    yield json.dumps(secret)[1:-1].encode()
    yield urllib.parse.quote(secret, safe="").encode()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret.encode())
        core = encoded[(0, 2, 3)[offset] : len(encoded) - 4]
        if len(core) >= 8:
            yield core
            yield core.replace(b"+", b"-").replace(b"/", b"_")


def found_in(data: bytes, secrets: Iterable[tuple[str, str]]) -> list[str]:
    """Names of the secrets that occur in bytes, in whatever form."""
    return [name for name, secret in secrets if any(form in data for form in forms(secret))]


def all_bytes(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file as it is, names of files, decoded cells of Parquet, entries of zips and of archives of sources."""
    import io
    import zipfile

    import pyarrow.parquet as pq

    from lightning_lde.recording import spooled

    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        yield f"name of {path.name}", str(path.relative_to(folder)).encode()
        yield str(path.relative_to(folder)), data
        if path.suffix == ".parquet":
            for row in pq.read_table(path).to_pylist():
                for column, cell in row.items():
                    yield f"{path.relative_to(folder)} {column}", str(cell).encode()
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                assert archive.testzip() is None
                for name in archive.namelist():
                    yield f"{path.relative_to(folder)} {name}", archive.read(name)
        yield from unpacked(str(path.relative_to(folder)), data)
    for path, _, rows in spooled(folder):
        for item in rows.objects:
            yield f"an object in {path.name}", item.data
            yield from unpacked(f"an object in {path.name}", item.data)


def unpacked(place: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the members of a tar.gz; nothing of other data."""
    import io
    import tarfile

    if data.startswith(b"\x1f\x8b"):
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for member in archive:
                content = archive.extractfile(member)
                yield f"name of a member of {place}", member.name.encode()
                yield f"{place} {member.name}", b"" if content is None else content.read()
