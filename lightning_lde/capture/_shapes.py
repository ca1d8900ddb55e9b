"""Shapes of known credentials: each is found by the letters it begins with, so that most text costs one search."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from lightning_lde.capture._pace import Pace
from lightning_lde.capture._pieces import find, pace_for, spans


class Found(NamedTuple):
    """A stretch of a text that should not be there.

    Attributes:
        start: Where it begins.
        end: Where it ends.
        kind: What it looks like.
    """

    start: int
    end: int
    kind: str


class _Shape(NamedTuple):
    """A kind of credential: letters to look for, what must stand there, and what ends it, if that is far away."""

    kind: str
    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    holds: Callable[[str], bool]
    is_word: bool
    last: tuple[str, re.Pattern[str]] | None = None


def _shape(kind: str, needles: str, pattern: str, holds: Callable[[str], bool] = bool) -> _Shape:
    return _Shape(kind, tuple(needles.split()), re.compile(pattern, re.DOTALL), holds, False)


def _word(kind: str, needles: str, pattern: str, holds: Callable[[str], bool] = bool) -> _Shape:
    """A credential that stands in one long word, not always at its beginning."""
    return _shape(kind, needles, pattern, holds)._replace(is_word=True)


def _block(kind: str, needle: str, pattern: str, last_needle: str, last: str) -> _Shape:
    """A credential of many lines: it goes on to the next place where its last line stands, or to the text's end."""
    return _Shape(kind, (needle,), re.compile(pattern), bool, False, (last_needle, re.compile(last)))


def _token(kind: str, needles: str, rest: str) -> _Shape:
    """A token that begins a word: one of some prefixes, then the rest."""
    pattern = rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, needles.split()))}){rest}"
    return _Shape(kind, tuple(needles.split()), re.compile(pattern), bool, True)


def _decoded(text: str) -> str:
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    try:
        return base64.b64decode(padded.replace("-", "+").replace("_", "/")).decode("ascii")
    except (ValueError, binascii.Error):
        return ""


_PAIR = re.compile(r"[\w.@+-]{2,64}:[!-~]{4,128}")
_TELLING = re.compile(r"api|key|token|secret|passw|auth|cred", re.IGNORECASE)


def _is_pair(text: str) -> bool:
    """Whether Base64 holds ``user:password``."""
    return _PAIR.fullmatch(_decoded(text)) is not None


def _is_telling_json(text: str) -> bool:
    return _TELLING.search(_decoded(text[: len(text) // 4 * 4])) is not None


def _is_no_number(text: str) -> bool:
    return not text.isdigit()


_TELEGRAM = r"(?<=[0-9]):AA[\w-]{33}(?![\w-])"

_SHAPES = (
    _block(
        "private key",
        "-----BEGIN",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
        "-----END",
        r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
    ),
    _block("private key", "PuTTY-User-Key-File", r"PuTTY-User-Key-File-\d", "Private-MAC:", r"Private-MAC:[^\n]*"),
    _token("age key", "AGE-SECRET-KEY-1", r"[0-9A-Z]{20,}"),
    _word(
        "AWS key",
        "AKIA ASIA AROA AIDA AGPA ANPA ANVA",
        r"A(?:KIA|SIA|ROA|IDA|GPA|NPA|NVA)[0-9A-Z]{16}(?:[\s,:;\"'|]{1,4}[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+]))?",
    ),
    _token("AWS key", "ABSK", r"[A-Za-z0-9+/]{60,}={0,2}"),
    _word("Google key", "AIza", r"AIza[0-9A-Za-z_-]{30,}"),
    _token("Google token", "ya29. GOCSPX-", r"[\w-]{20,}"),
    _word("Google token", "1//0", r"(?<![\w/])1//0[\w-]{30,}"),
    _word("Azure secret", "Q~", r"(?:(?<=[\w~.-]{3}[0-9])|(?<=[\w~.-]{2}[0-9]))Q~[\w~.-]{30,}"),
    _word("GitHub token", "github_pat_ ghp_ gho_ ghu_ ghs_ ghr_", r"(?:github_pat_|gh[pousr]_)[A-Za-z0-9_]{20,}"),
    _word("GitLab token", "glpat-", r"glpat-[\w-]{20,}"),
    _token("GitLab token", "gldt- glrt- glcbt- glptt- glft- glimt- glagent- gloas- glsoat- GR1348941", r"[\w-]{18,}"),
    _token("Atlassian token", "ATBB ATATT3 ATCTT3", r"[\w=-]{20,}"),
    _word("Slack token", "xox xapp-", r"(?:xox[abcdeoprs]-|xapp-)[A-Za-z0-9-]{10,}"),
    _word("webhook", "hooks.slack.com/", r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w/-]{10,}"),
    _word("webhook", "discord", r"discord(?:app)?\.com/api/webhooks/[\w/-]{20,}"),
    _word("webhook", ".webhook.office.com/", r"\.webhook\.office\.com/[\w@/-]{20,}"),
    _word("Telegram token", ":AA", _TELEGRAM),
    _word("Stripe key", "sk_live_ sk_test_ rk_live_ rk_test_", r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    _token("Stripe key", "whsec_", r"[A-Za-z0-9+/]{20,}={0,2}"),
    _token("Twilio key", "SK", r"[0-9a-f]{32}(?![A-Za-z0-9])"),
    _token("SendGrid key", "SG.", r"[\w-]{16,}\.[\w-]{16,}"),
    _token("Mailgun key", "key-", r"[0-9a-f]{32}(?![A-Za-z0-9])"),
    _word("Hugging Face token", "hf_", r"hf_[A-Za-z0-9]{20,}"),
    _token("Hugging Face token", "api_org_", r"[A-Za-z0-9]{20,}"),
    _word("API key", "sk-", r"(?<![A-Za-z0-9_-])sk-(?=[A-Za-z_-]{0,60}[0-9])[A-Za-z0-9_-]{16,}"),
    _token("API key", "gsk_ r8_ pplx- xai- nvapi- tvly- pcsk_ lsv2_pt_ lsv2_sk_ sess- fw_", r"[A-Za-z0-9_-]{24,}"),
    _token("W&B key", "wandb_v1_ local-", r"[A-Za-z0-9_]{40,}"),
    _word("npm token", "npm_", r"npm_[A-Za-z0-9]{36}"),
    _word("PyPI token", "pypi-", r"pypi-[A-Za-z0-9_-]{30,}"),
    _token("RubyGems key", "rubygems_", r"[0-9a-f]{40,}"),
    _token("Docker token", "dckr_pat_ dckr_oat_", r"[\w-]{20,}"),
    _token("DigitalOcean token", "dop_v1_ doo_v1_ dor_v1_", r"[0-9a-f]{40,}"),
    _token("Databricks token", "dapi", r"[0-9a-f]{32}(?:-\d)?(?![A-Za-z0-9])"),
    _token("Vault token", "hvs. hvb. hvr.", r"[\w-]{20,}"),
    _word("Terraform token", ".atlasv1.", r"\.atlasv1\.[\w-]{40,}"),
    _token("Shopify token", "shpat_ shpss_ shpca_ shppa_", r"[0-9a-fA-F]{32}"),
    _token("Square token", "sq0atp- sq0csp-", r"[\w-]{20,}"),
    _token("Grafana token", "glsa_ glc_", r"[A-Za-z0-9_+/=]{30,}"),
    _token("Sentry token", "sntrys_ sntryu_", r"[A-Za-z0-9_+/=]{30,}"),
    _token("New Relic key", "NRAK-", r"[A-Z0-9]{20,}"),
    _token("Postman key", "PMAK-", r"[A-Za-z0-9-]{30,}"),
    _token("Linear key", "lin_api_ lin_oauth_", r"[A-Za-z0-9]{30,}"),
    _token("Notion token", "ntn_ secret_", r"(?=[A-Za-z]*[0-9])[A-Za-z0-9]{40,}"),
    _token("Supabase token", "sbp_ sb_secret_", r"[A-Za-z0-9_]{30,}"),
    _token("PlanetScale token", "pscale_tkn_ pscale_pw_ pscale_oauth_", r"[\w.-]{30,}"),
    _token("Figma token", "figd_", r"[\w-]{30,}"),
    _token("Sonar token", "sqp_ squ_ sqa_", r"[0-9a-f]{40}"),
    _token("JFrog key", "AKCp", r"[A-Za-z0-9]{60,}"),
    _token("Heroku key", "HRKU-", r"[\w-]{30,}"),
    _token("Doppler token", "dp.pt. dp.st. dp.sa. dp.ct.", r"[\w.-]{30,}"),
    _token("Pulumi token", "pul-", r"[0-9a-f]{40}"),
    _word("JSON web token", "eyJ", r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)*"),
    _word("token in Base64", "eyJ", r"(?<![\w+/-])eyJ[\w+/-]{40,}={0,2}", _is_telling_json),
    _shape("authorization", "earer ", r"(?<=[Bb])earer\s+(?P<secret>(?=[\w.~+/=-]*[0-9]|[^\s\"']{20})[\w.~+/=-]{6,})"),
    _shape("authorization", "asic ", r"(?<=[Bb])asic\s+(?P<secret>[\w+/-]{8,}={0,2})", _is_pair),
    _shape(
        "authorization",
        "uthorization UTHORIZATION",
        r"(?:uthorization|UTHORIZATION)\\?[\"']?\s*[:=]\s*\\?[\"']?(?P<secret>(?:[A-Za-z]+\s+)?[^\s\"',\\]+)",
    ),
    _shape("cookie", "ookie: OOKIE: ookie2: ", r"(?:ookie2?|OOKIE):\s*(?P<secret>[^\s=;,\"']+=[^\r\n\"']*)"),
    _shape("password in a URL", "://", r"(?<=[A-Za-z0-9+.-])://(?P<secret>[^\s/\"'<>@:]*:[^\s/\"'<>]*)@"),
    _shape(
        "password in a URL", "://", r"(?<=[A-Za-z0-9+.-])://(?P<secret>[^\s/\"'<>@:]*:(?!\d{1,5}/)[^\s\"'<>@]*)@[\w-]"
    ),
    _shape(
        "token in a URL", "://", r"(?:(?<=[hH][tT][tT][pP])|(?<=[hH][tT][tT][pP][sS]))://(?P<secret>[^\s/\"'<>@:?#]+)@"
    ),
    _word(
        "signature in a URL",
        "sig= Signature= signature=",
        r"(?:(?<=[?&;])|(?<=[?&]X-Amz-)|(?<=[?&]X-Goog-))"
        r"(?:sig|[Ss]ignature)=(?P<secret>[^\s&\"'<>;]{16,})",
    ),
    _shape(
        "netrc line",
        "machine default",
        r"(?:machine\s+\S+|default)\s+login\s+\S+\s+(?:account\s+\S+\s+)?password\s+(?P<secret>\S+)",
    ),
    _shape("netrc line", "machine", r"machine\s+\S+\s+password\s+(?P<secret>\S+)"),
    _word("pgpass line", ":5432: :3306:", r":(?:5432|3306):[^:\s]+:[^:\s]+:(?P<secret>[^\s\"']+)"),
    _shape(
        "password of a command",
        "-u --user",
        r"(?<![\w-])(?:-u|--user)[ =]?['\"]?[^\s:'\"]+:(?P<secret>[^\s'\"]+)",
        _is_no_number,
    ),
    _shape("password of a command", "sshpass", r"sshpass\s+-p\s*['\"]?(?P<secret>[^\s'\"]+)"),
    _shape("password of a command", "mysql", r"mysql(?:dump|admin)?\s(?:[^\n|;]*\s)?-p(?P<secret>[^\s'\"]+)"),
    _shape("Kaggle key", '"key"', r"\"key\"\s*:\s*\"(?P<secret>[0-9a-f]{32})\""),
)

_NEEDLES = [(shape, needle, needle.encode()) for shape in _SHAPES for needle in shape.needles]
_SHORT, _SHORTEST_TOKEN = 4000, 15
_MOST_WORDS = 20_000
_AROUND = _SHORTEST_TOKEN + max(len(needle) for _, needle, _ in _NEEDLES)
_SHORTEST_PAIR, _LONGEST_PAIR = 8, 200
_BASE64_BEFORE = re.compile(rf"[A-Za-z0-9+/]{{{_SHORTEST_PAIR},}}\Z")


def shapes_in(text: str, pace: Pace | None = None) -> Iterator[Found]:
    """All stretches of a text that have the shape of a known credential; they may overlap.

    Args:
        text: Any text.
        pace: How to go on; None gives way to other threads where the text is long.
    """
    pace = pace_for(text, pace)
    if len(text) < _SHORT:
        chosen = [(shape, needle) for shape, needle, _ in _NEEDLES if needle in text]
    else:
        chosen = _needles_in(text, pace)
    for shape, needle in chosen:
        yield from _found(shape, needle, text, pace)
    yield from _padded_pairs(text, pace)


def _needles_in(text: str, pace: Pace) -> list[tuple[_Shape, str]]:
    """The needles that stand in words of a text, those of tokens in long words."""
    # Most words of a text are there more than once, and a token is a long one.
    known: set[str] = set()
    found: set[tuple[bool, bytes]] = set()
    wanted = {(shape.is_word, letters) for shape, _, letters in _NEEDLES}
    for start, end in spans(len(text), pace):
        # A word that is cut here still has a needle's surroundings in one of its parts.
        words = set(text[max(0, start - _AROUND) : end].split()) - known
        if len(known) > _MOST_WORDS:
            known = set()
        known |= words
        every = "\n".join(words).encode("ascii", "replace")
        long = "\n".join([word for word in words if len(word) >= _SHORTEST_TOKEN]).encode("ascii", "replace")
        met = {(is_word, letters) for is_word, letters in wanted if letters in (long if is_word else every)}
        found |= met
        wanted -= met
    return [(shape, needle) for shape, needle, letters in _NEEDLES if (shape.is_word, letters) in found]


def _found(shape: _Shape, needle: str, text: str, pace: Pace) -> Iterator[Found]:
    done = 0
    while (at := find(text, needle, done, pace)) >= 0:
        match = shape.pattern.match(text, at)
        done = at + len(needle)
        if match is None:
            continue
        start, end = match.span("secret" if shape.pattern.groups else 0)
        if shape.last is not None:
            end = _end_of_block(text, end, *shape.last, pace)
        if shape.holds(text[start:end]):
            yield Found(start, end, shape.kind)
            done = max(done, end)


def _end_of_block(text: str, start: int, needle: str, last: re.Pattern[str], pace: Pace) -> int:
    at = find(text, needle, start, pace)
    while at >= 0:
        if match := last.match(text, at):
            return match.end()
        at = find(text, needle, at + 1, pace)
    return len(text)


def _padded_pairs(text: str, pace: Pace) -> Iterator[Found]:
    """Base64 with padding that holds ``user:password``."""
    at = find(text, "=", 0, pace)
    while at >= 0:
        end = at + (2 if text.startswith("==", at) else 1)
        if at >= _SHORTEST_PAIR and text[at - 1].isalnum() and not text[end : end + 1].isalnum():
            match = _BASE64_BEFORE.search(text, max(0, at - _LONGEST_PAIR), at)
            if match is not None and _is_pair(match[0]):
                yield Found(match.start(), end, "password in Base64")
        at = find(text, "=", end, pace)
