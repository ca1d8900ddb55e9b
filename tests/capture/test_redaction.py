"""Redaction: planted secrets of many kinds, innocent look-alikes, and any structure hypothesis invents."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde.capture import REDACTED, redact, redact_argv, redact_text
from lightning_lde.schema import canonical_json

# Put together here, so that no scanner of repositories takes them for real ones.
TOKENS = [
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ASIA" + "Y34FZKBOKMUTVV7A",
    "ghp_" + "a1B2" * 9,
    "gho_" + "a1B2" * 9,
    "github_pat_" + "11ABCDEFG0_" + "x9" * 20,
    "glpat-" + "Ab1_" * 5,
    "xoxb-" + "123456789012-abcdefABCDEF",
    "sk-" + "abc123" * 8,
    "sk-ant-api03-" + "Ab1-_" * 10,
    "sk-proj-" + "Ab1_" * 12,
    "hf_" + "aBcDeFgHiJ" * 3 + "kLmN",
    "AIza" + "SyA1b2C3d4" * 3 + "E5f6G",
    "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0In0" + ".c2lnbmF0dXJl",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAK\nabc/+=\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r (cut off",
]
SECRET_KEYS = [
    *["password", "PASSWORD", "db_password", "dbPassword", "db-passwd", "userPwd", "passphrase"],
    *["secret", "client_secret", "clientSecret", "AWS_SECRET_ACCESS_KEY", "secret-key"],
    *["token", "hf_token", "accessToken", "GITHUB_TOKEN", "api.token", "refresh_tokens"],
    *["api_key", "apikey", "apiKey", "API-KEY", "OPENAI_API_KEY", "x-api-key", "WANDB_KEY", "APIKey"],
    *["access_key", "accessKeyId", "private_key", "privateKey", "credential", "credentials", "aws-credentials"],
    *["auth", "http_auth", "Authorization", "proxy-authorization", "session_cookie", "smtp_pass"],
]
INNOCENT_KEYS = [
    *["tokenizer", "tokenizer_name", "max_tokens", "n_tokens", "num_tokens", "tokens", "token_dim", "tokens_per_batch"],
    *["pad_token", "eos_token", "cls_token", "mask_token", "author", "authors", "key", "keys", "key_dim", "num_keys"],
    *["query_key", "monkey", "keyboard", "forward_pass", "n_passes", "bypass", "secretary", "lr", "path", "public_key"],
]
INNOCENT_TEXTS = [
    "the author of task-conditional_generation1 wrote tokenizer: bert",
    "max_tokens=512 n_tokens=9 key=3 keys: a",
    "git@github.com:team/repo.git",
    "ssh://git@host.example/team/repo",
    "http://localhost:8080/a/b@c",
    "s3://bucket/prefix/2024-01-01",
    "mail ann@example.org at 12:30",
    "sk-learn-like-names-are-fine",
    "def f(token: str, auth: Tensor = None, password: str | None = None): ...",
    "token = batch",
    "f(token=token, auth=self.auth, api_key=os.environ['KEY'])",
    "secret = load_secret(path)",
    "if token:\n    return token",
    "docker run -u 1000:1000 image",
    "the secret = … of --token is …; secrets: words",
    "layer_key=resnet50_layer4_block2_conv1 cache_key = 12",
    "W @ x.T and a@b.view(3)",
    "iVBORw0KGgo=AAAA",
    "1f0c3a9be2d4c7a6b5e8d9f00a1b2c3d4e5f6071",
    'tokens: ["a", "b"]',
    'keys = ["id", "name"]',
    'stop_tokens=["</s1>", "end2end"] additional_special_tokens: ["extra_id_0"]',
    'SECRET_KEYS = ["DB_PASSWORD", "api_key", "DB2_TOKEN"]',
    'secret_fields = ["email", "phone"]',
    "Secrets:\n- see the page\n- ask",
    'credentials = {"user": name, "password": password}',
    "",
]


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_values_under_secret_names_go(key: str) -> None:
    found = redact({"outer": [{key: "hunter2", "lr": 0.1}]})
    assert found == {"outer": [{key: REDACTED, "lr": 0.1}]}
    assert redact("hunter2", key=key) == REDACTED


@pytest.mark.parametrize("key", INNOCENT_KEYS)
def test_values_under_innocent_names_stay(key: str) -> None:
    assert redact({key: "hunter2"}) == {key: "hunter2"}
    assert redact_argv([f"--{key}", "hunter2", f"{key}=hunter2"]) == [f"--{key}", "hunter2", f"{key}=hunter2"]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("frame", ["{}", "before {} after", "x={};", '{{"a": "{}"}}', "https://h/p?q={}&r=1"])
def test_known_tokens_go_wherever_they_stand(token: str, frame: str) -> None:
    found = redact_text(frame.format(token))
    assert REDACTED in found
    assert not any(line in found for line in token.splitlines() if "-----" not in line)
    assert redact({"note": [frame.format(token)]}) == {"note": [found]}


@pytest.mark.parametrize("text", INNOCENT_TEXTS)
def test_innocent_text_stays(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgres://ann:hunter2@db.example/x", "hunter2"),
        ("s3://AKID:hunter2@bucket/x", "hunter2"),
        ("redis://:hunter2@cache:6379/0", "hunter2"),
        ("https://x:p@ss:hunter2@host/a", "hunter2"),
        ("https://hunter2@git.example/repo.git", "hunter2"),
        ("https://h/x?a=1&token=hunter2&b=2", "hunter2"),
        ("Authorization: Bearer hunter2abcdef", "hunter2"),
        ("curl -H 'Authorization: Basic aHVudGVyMg=='", "aHVudGVyMg"),
        ("header bearer abcdef123456 end", "abcdef123456"),
        ("PASSWORD=hunter2", "hunter2"),
        ("password: hunter", "hunter"),
        ("password = hunter", "hunter"),
        ('{"api_key": "hunter2", "lr": 1}', "hunter2"),
        ("db_password='hunter \\' 2'", "hunter"),
        ('+API_KEY = "hunter2', "hunter2"),
        ('token: str = "hunter2"', "hunter2"),
        ("api_token = hunter2", "hunter2"),
        ("DB_PASSWORD=$ecret(hunter2", "hunter2"),
        ("failed: password='hunter2'", "hunter2"),
        ('os.environ["HF_TOKEN"] = "hunter2"', "hunter2"),
        ('token = b"hunter2"', "hunter2"),
        ('password = """hunter2"""', "hunter2"),
        ('"\\ntoken = b\\"hunter2\\""', "hunter2"),
        ("'a\\x0btoken=hunter2'", "hunter2"),
        ('api_key=Secret("hunter2")', "hunter2"),
        ('{\\"api_key\\": \\"hunter2\\"}', "hunter2"),
        ('headers = [("x-api-key", "hunter2")]', "hunter2"),
        ("run --password hunter2 now", "hunter2"),
        ("the password hunter2 was refused", "hunter2"),
        ("machine h login ann password hunter2", "hunter2"),
        ("curl -u ann:hunter2 https://h", "hunter2"),
        ("Cookie: session=hunter2; a=b", "hunter2"),
        ("postgres://ann:hun/ter2@db.example/x", "ter2"),
    ],
)
def test_credentials_in_text_go(text: str, secret: str) -> None:
    found = redact_text(text)
    assert secret not in found
    assert REDACTED in found
    assert redact_text(found) == found


LISTS = [
    '{"api_keys": ["@1", "@2"], "lr": 1}',
    '{\\"api_keys\\": [\\"@1\\", \\"@2\\"], \\"lr\\": 1}',
    '{"password": {"db": "@1", "mail": ["@2"]}, "lr": 1}',
    'passwords:\n  - @1\n  - "@2"\nlr: 1',
    "passwords:\r\n- @1\r\n- @2 # old\r\nlr: 1",
    "+passwords:\n+  - @1\n+  - @2\n+lr: 1",
    "note: passwords:\\n  - @1\\n  - @2\\nlr: 1",
    "passwords: [@1, @2]\nlr: 1",
    'passwords = ["@1", "@2"]; lr = 1',
    'passwords = (\n    "@1",\n    "@2",  # don\'t\n)\nlr = 1',
    'passwords: list[str] = ["@1", "@2"]; lr = 1',
    "credentials = {'db': '@1', 'mail': ('@2',)}; lr = 1",
    '+passwords = [\n+    "@1",\n+    "@2",\n@@ -1 +1 @@ lr\n-x = "conv1234"',
]


@pytest.mark.parametrize("text", LISTS)
def test_lists_below_a_secret_name_go(text: str) -> None:
    found = redact_text(text.replace("@1", "hunter2abc").replace("@2", "second9xyz"))
    assert found == text.replace("@1", REDACTED).replace("@2", REDACTED)
    assert redact_text(found) == found


def test_words_in_a_list_of_data_go_and_those_of_a_program_stay() -> None:
    assert (
        redact_text('{"passwords": ["swordfish", "db_password"]}') == f'{{"passwords": ["{REDACTED}", "db_password"]}}'
    )
    assert redact_text('secrets = ["swordfish"]') == 'secrets = ["swordfish"]'


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('password="ab***9xyz"', "9xyz"),
        ("password=***hunter2", "hunter2"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAK\n+/*** a comment of C ***/\n", "MIIEpAIBAAK"),
        ('{"api_keys": ["x9***y8"]}', "y8"),
    ],
)
def test_asterisks_in_it_do_not_hide_a_secret(text: str, secret: str) -> None:
    found = redact_text(text)
    assert secret not in found
    assert redact_text(found) == found


@pytest.mark.parametrize(
    "text", ['password="********"', "password=***", "https://***@h/x", "passwords = ['***', '*****']", "Basic ********"]
)
def test_what_is_masked_stays(text: str) -> None:
    assert redact_text(text) == text


def test_the_rest_of_a_text_stays() -> None:
    assert redact_text("a https://u:p@h/x?token=t9&b=2 z") == f"a https://{REDACTED}@h/x?token={REDACTED}&b=2 z"


def test_kinds_of_containers_and_harmless_values_stay() -> None:
    value = {"auth": None, "use_token": True, "secret": "", "n": (1, [2.5, {3}]), 7: b"x"}
    assert redact(value) == value
    assert redact({"secret": {"a": [1, "x"], "b": None}}) == {"secret": {"a": [REDACTED, REDACTED], "b": None}}
    assert redact({"password": 1234, "pin": 1234}) == {"password": REDACTED, "pin": 1234}
    assert redact(b"password=hunter2") == b"password=<redacted>"


def test_a_cycle_ends() -> None:
    ring: list[object] = ["x"]
    ring += [ring, ring]
    assert redact(ring) == ["x", REDACTED, REDACTED]


def test_the_given_value_is_not_changed() -> None:
    value = {"password": "hunter2", "list": ["https://a:b@c"]}
    redact(value)
    assert value == {"password": "hunter2", "list": ["https://a:b@c"]}


def test_argv() -> None:
    argv = ["train.py", "--api-key", "s1x", "--api-key=s2x", "--lr", "0.1", "+logger.api_key=s3x", "--token", "--fast"]
    expected = ["train.py", "--api-key", REDACTED, f"--api-key={REDACTED}", "--lr", "0.1"]
    assert redact_argv(argv) == [*expected, f"+logger.api_key={REDACTED}", "--token", "--fast"]
    assert redact_argv(["--password", "-s4x-", "https://u:s5x@h"]) == ["--password", REDACTED, f"https://{REDACTED}@h"]


def test_settings_in_lists_and_pairs() -> None:
    assert redact([{"name": "HF_TOKEN", "value": "x1"}]) == [{"name": "HF_TOKEN", "value": REDACTED}]
    assert redact({"env": [["api_key", "x1"], ["lr", "x1"]]}) == {"env": [["api_key", REDACTED], ["lr", "x1"]]}
    assert redact({"key": "Zm9v4TqX81bLpQr7vNw2", "sha": "Zm9v4TqX81bLpQr7vNw2"})["key"] == REDACTED
    assert redact_argv(["x", "-u", "ann:s1x", "--api-keys", "s2x", "s3x", "--lr", "1"]) == [
        *["x", "-u", f"ann:{REDACTED}", "--api-keys", REDACTED, REDACTED, "--lr", "1"]
    ]


def test_lone_surrogates_can_be_stored() -> None:
    canonical_json(redact(["\ud800 name"])).encode("utf-8")
    redact_argv(["\udcff"])[0].encode("utf-8")


@pytest.mark.parametrize(
    "piece",
    [
        *["a", "a:", "x='", "eyJ", "-----BEGIN PRIVATE KEY-----", "://", "sk-", " ", "token: "],
        *["password=[", "passwords:\n- ", "passwords:\n- passwords:", "password: [a, ", "password=***"],
        *['password={"password":[', '"password": {"', "password=[']"],
    ],
)
def test_hostile_text_takes_no_more_than_linear_time(piece: str) -> None:
    started = time.process_time()
    redact_text(piece * (300_000 // len(piece)))
    assert time.process_time() - started < 3


ROOT = Path(__file__).parents[2]
ABOUT_SECRETS = {
    "_repository.py",
    *{"_redaction.py", "_secrets.py", "_shapes.py", "_texts.py", "_governance.py", "_files.py", "_pickles.py"},
}


def _changed_lines(text: str) -> list[str]:
    return [new for old, new in zip(text.splitlines(), redact_text(text).splitlines(), strict=True) if old != new]


def test_this_package_and_a_list_of_packages_stay_as_they_are() -> None:
    sources = [path for path in (ROOT / "lightning_lde").rglob("*.py") if path.name not in ABOUT_SECRETS]
    changed = [line for path in sources for line in _changed_lines(path.read_text(encoding="utf-8"))]
    # One dictionary says how a store calls its secrets.
    assert [line for line in changed if "_PLAIN_OPTIONS" not in line] == []
    assert _changed_lines((ROOT / "constraints.txt").read_text(encoding="utf-8")) == []


def test_sources_of_others_stay_as_they_are() -> None:
    import torch.nn

    folder = Path(torch.nn.__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py")))
    assert len(text) > 1_000_000
    assert _changed_lines(text) == []


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
_VALUES = st.recursive(
    _SCALARS | st.sampled_from(TOKENS[:12]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(SECRET_KEYS), inner, max_size=4)
    ),
    max_leaves=20,
)


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return [(key, _shape(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [_shape(item) for item in value]
    return "leaf"


@given(value=_VALUES)
def test_structure_stays_and_no_token_survives(value: object) -> None:
    found = redact(value)
    assert _shape(found) == _shape(value)
    text = repr(found)
    assert not any(token in text for token in TOKENS)
    assert redact(found) == found


@given(before=st.text(max_size=20), after=st.text(max_size=20), token=st.sampled_from(TOKENS[:6] + TOKENS[10:12]))
def test_no_surroundings_hide_a_token(before: str, after: str, token: str) -> None:
    assert token not in redact_text(before + token + after)


@given(key=st.sampled_from(SECRET_KEYS), path=st.lists(st.text(max_size=5), max_size=5))
def test_nothing_below_a_secret_name_survives(key: str, path: list[str]) -> None:
    value: object = "hunter2"
    for name in path:
        value = {name: [value]}
    assert "hunter2" not in repr(redact({key: value}))
