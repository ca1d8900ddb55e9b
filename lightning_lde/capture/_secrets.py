"""What secrets look like: names that announce one, shapes of known tokens, assignments in text."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator

from lightning_lde.capture._lists import OPENING, Literal, bare_words, bracket_end, items_below
from lightning_lde.capture._pace import Pace
from lightning_lde.capture._pieces import pace_for, spans
from lightning_lde.capture._shapes import Found, shapes_in

REDACTED = "<redacted>"
"""What stands in place of a secret."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

_SECRET_WORDS = {"secret", "secrets", "pwd", "cookie", "cookies", "passcode", "authorization", "apitoken", "dsn"}
_SECRET_PARTS = re.compile(
    r"passw(?:or)?[dt]|passphrase|credential|apikey|secretkey|accesskey|privatekey|authtoken|accesstoken|clientsecret"
    r"|accountkey|sessionid|sessid|csrftoken|xsrftoken|mnemonic"
)
_SECRET_PAIRS = {("connection", "string"), ("conn", "str")}
_KEY_OWNERS = {
    *{"access", "account", "admin", "api", "app", "client", "deploy", "encryption", "hmac", "license", "master"},
    *{"private", "service", "signing", "ssh", "storage", "subscription", "webhook", "bot", "consumer"},
    *{"anthropic", "aws", "azure", "comet", "gcp", "github", "google", "hf", "neptune", "openai", "stripe", "wandb"},
    *{"cohere", "datadog", "dd", "gemini", "gitlab", "groq", "huggingface", "kaggle", "mailgun", "mistral", "pinecone"},
    *{"replicate", "roboflow", "sendgrid", "slack", "together", "twilio", "clearml", "mlflow", "sentry", "elevenlabs"},
}
_PASS_OWNERS = {
    *{"admin", "db", "ftp", "mail", "mysql", "pg", "postgres", "redis", "smtp", "ssh", "user", "proxy", "http", "root"},
    *{"database", "mongo", "login", "email", "imap", "ldap", "s"},
}
_TOKENS_OWNERS = {"access", "api", "auth", "bearer", "refresh", "session"}
_LANGUAGE_TOKENS = {
    *{"additional", "audio", "blank", "bos", "by", "class", "cls", "decoder", "dist", "distillation", "encoder"},
    *{"end", "eos", "eot", "first", "image", "img", "last", "latent", "mask", "max", "min", "n", "new", "next"},
    *{"num", "pad", "padding", "patch", "per", "prompt", "query", "reg", "register", "sep", "sos", "special"},
    *{"start", "stop", "sub", "text", "unk", "unknown", "video", "visual", "word"},
}
# Names under which a secret may stand, and much else: the value decides.
_WEAK_WORDS = {
    *{"key", "keys", "pass", "signature", "login", "webhook", "bearer", "nonce"},
    *{"phrase", "cred", "creds", "license", "licence", "private"},
}
# Each name that announces a secret, or may, has one of these in it.
_HINTS = (
    *("pass", "phrase", "secret", "token", "pwd", "cookie", "auth", "dsn", "cred", "sessionid", "sessid", "csrf"),
    *("xsrf", "mnemonic", "key", "signature", "login", "webhook", "bearer", "nonce", "licen", "private"),
    *("connection", "conn_"),
)


@functools.lru_cache(maxsize=4096)
def is_secret_key(key: str) -> bool:
    """Whether a name announces a secret, in snake_case, camelCase, kebab-case or dotted form.

    Example:
        >>> [is_secret_key(name) for name in ("apiKey", "HF_TOKEN", "db-password", "auth")]
        [True, True, True, True]
        >>> [is_secret_key(name) for name in ("tokenizer", "max_tokens", "author", "key", "pad_token")]
        [False, False, False, False, False]
    """
    words = [word.lower() for word in _WORDS.findall(key)]
    if any(word in _SECRET_WORDS or _SECRET_PARTS.search(word) for word in words):
        return True
    if any(pair in _SECRET_PAIRS for pair in itertools.pairwise(words)):
        return True
    return bool(words) and _last_word_is_secret(words[-1], words[-2] if len(words) > 1 else "", words)


@functools.lru_cache(maxsize=4096)
def may_be_secret_key(key: str) -> bool:
    """Whether a value that looks like chance is a secret under this name.

    Example:
        >>> [may_be_secret_key(name) for name in ("key", "login", "tokenizer", "sha")]
        [True, True, False, False]
    """
    words = _WORDS.findall(key)
    return bool(words) and words[-1].lower() in _WEAK_WORDS


def _last_word_is_secret(last: str, before: str, words: list[str]) -> bool:
    if last in {"key", "keys"} or (last == "id" and before == "key"):
        return any(owner in _KEY_OWNERS for owner in words[:-1])
    if last == "token":
        return before not in _LANGUAGE_TOKENS
    if last == "tokens":
        return before in _TOKENS_OWNERS
    return last == "auth" or (last == "pass" and before in _PASS_OWNERS)


_CHANCE = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+/_.~=-]{20,200}")
_HEX = re.compile(r"[0-9a-fA-F]+")
_MIXED = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9]+\Z")
_LEAST_BITS, _LEAST_HEX_BITS, _MIXED_BITS = 3.5, 2.8, 3.8


def looks_like_chance(value: str) -> bool:
    """Whether a word has the entropy of a key: 20 characters or more, letters and digits mixed, no path.

    Example:
        >>> looks_like_chance("Zm9v4TqX81bLpQr7vNw2"), looks_like_chance("resnet50_layer4_block2")
        (True, False)
    """
    if not _CHANCE.fullmatch(value) or value.count("/") > 2 or value.count(".") > 2:
        return False
    bits = -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())
    if _HEX.fullmatch(value):
        return bits >= _LEAST_HEX_BITS
    if _MIXED.match(value) and bits >= _MIXED_BITS:
        return True
    return bits >= _LEAST_BITS and max(map(len, re.findall(r"[a-z]+", value)), default=0) < 6


# Assignments -----------------------------------------------------------------------------------------------

# Each is tried where a name begins that has a hint in it.
_ASSIGNED = re.compile(
    r"(?P<name>[A-Za-z_][A-Za-z0-9_.-]{0,119})(?:\\{0,3}[\"'])?\]?(?P<gap>\s{0,20})(?P<sign>=>|:=|[:=])"
    # `if token:` and what stands in the next line have nothing to do with each other; in JSON they have.
    r"(?:(?<!:)\s{0,40}|(?<=[\"']:)\s{0,40}|[ \t]{0,40})"
)
_FLAG = re.compile(r"(?<=-)(?P<name>[A-Za-z][A-Za-z0-9_.-]{1,60})[ \t]+(?![-<=|&])")
_SAID = re.compile(
    r"(?P<name>(?i:password|passwd|passphrase|pwd|secret|(?:access|api|auth)[_-]?(?:key|token)"
    r"|(?:(?<=api )|(?<=access )|(?<=auth ))(?:key|token)))"
    r"(?:\s+(?:is|was|of|for))?[ \t]+(?=[\"']?[^\s\"']*[0-9])(?=[\"']?[^\s\"']*[A-Za-z])(?=[\"']?[^\s\"'(){}\[\]=]{6})"
)
_PAIRED = re.compile(r"(?<=[(][\"'])(?P<name>[A-Za-z_][\w.-]{0,60})[\"']\s*,\s*(?=[\"'][^\"'\s]*[0-9])")
_WAYS = (_ASSIGNED, _FLAG, _SAID, _PAIRED)
_ANNOTATION = re.compile(r"[\w.\[\]]+(?: ?\| ?[\w.\[\]]+)*\s*=\s*")
_VALUE = re.compile(
    r"(?:[bBrRuUfF]{0,2})(?:(?P<block>\"\"\"|''')(?P<inside>.{0,20000}?)(?P=block)"
    r"|(?P<escaped>(?:\\{1,3}[\"']){3}|\\{1,3}[\"'])(?P<held>(?:(?!(?P=escaped))[^\n])*)"
    r"|(?P<quote>[\"'])(?P<quoted>(?:\\.|(?!(?P=quote))[^\\\n])*))"
    r"|(?P<bare>[^\s,;&\"'}]+)",
    re.DOTALL,
)
_LITERAL = re.compile(r"(?P<mark>\\{0,3}[\"'])(?P<literal>[^\"'\s\\]{6,200})(?P=mark)")
_WORDS_THAT_STAY = {"none", "null", "true", "false", "str", "int", "float", "bool", "bytes", "any", "object", "tensor"}
_NAME_OR_NUMBER = re.compile(r"[A-Za-z_]+|[0-9]{1,4}")
_EXPRESSION = re.compile(
    r"(?:[A-Za-z_.]+[(\[](?:.*[)\]])?|(?:self|cls|args|cfg|config|conf|os|settings)\.[A-Za-z_.]+"
    r"|[(\[{]+|\$[A-Z_]+|\$\{.*|<[A-Za-z_ -]+>)[),:]*\Z"
)
_CALL = re.compile(r"[A-Za-z_.]+\(")
_PROGRAM_WORDS = re.compile(r"(?:tokens?|auth|keys?)\Z", re.IGNORECASE)
_OPERATORS = {
    *{"==", "is", "not", "in", "and", "or", "if", "else", "=", "!=", "+", "->", "r", "f", "b"},
    *{"return", "raise", "for", "while", "pass", "yield", "assert", "with", "del", "import", "from", "try", "lambda"},
}
_SENTENCE = {
    "is",
    "was",
    "must",
    "should",
    "may",
    "can",
    "or",
    "and",
    "to",
    "if",
    "for",
    "as",
    "with",
    "option",
    "flag",
}
_PLURALS = {"secrets", "credential", "credentials", "cookies", "tokens"}
_SAYS_NOTHING = re.compile(r"[^A-Za-z0-9]*\Z|(.)\1*\Z")
_LINE_BREAK = re.compile(r"(?:\\{1,3}[nrt])+\Z")
_LONGEST_NAME = 100
_LONGEST_CALL = 300
_LONGEST_HINT = max(map(len, _HINTS))
_MASKED = re.compile(r"[*\"'\s\\]*\Z")
_NAME_BEFORE = re.compile(rf"[A-Za-z_][A-Za-z0-9_.-]{{0,{_LONGEST_NAME}}}\Z")
_ESCAPE = re.compile(r"\\(?:[abfnrtv]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})")


def find_secrets(text: str, pace: Pace | None = None) -> list[Found]:
    """Where credentials stand in a text, in order and apart from each other.

    Args:
        text: Any text.
        pace: How to go on; None gives way to other threads where the text is long.

    Example:
        >>> [(found.kind, "a password=x9 b"[found.start : found.end]) for found in find_secrets("a password=x9 b")]
        [('assigned to password', 'x9')]
    """
    pace = pace_for(text, pace)
    found = [each for each in (*shapes_in(text, pace), *_assigned_in(text, pace)) if not _is_masked(text, each)]
    return _apart(found)


def find_shapes(text: str) -> list[Found]:
    """As `find_secrets`, without what is assigned to names: for text that is a name itself."""
    return _apart([each for each in shapes_in(text) if not _is_masked(text, each)])


def replace(text: str, found: list[Found], mask: str = REDACTED) -> str:
    """A text with stretches of it replaced by a mask."""
    if not found:
        return text
    pieces, done = [], 0
    for each in found:
        pieces += [text[done : each.start], mask]
        done = each.end
    return "".join([*pieces, text[done:]])


def _is_masked(text: str, found: Found) -> bool:
    if found.end <= found.start or text.startswith(REDACTED, found.start):
        return True
    return _MASKED.match(text, found.start, found.end) is not None


def _apart(found: list[Found]) -> list[Found]:
    """Overlapping stretches as one, called by what begins first."""
    apart: list[Found] = []
    for each in sorted(found, key=lambda one: (one.start, -one.end)):
        if apart and each.start < apart[-1].end:
            apart[-1] = apart[-1]._replace(end=max(apart[-1].end, each.end))
        else:
            apart.append(each)
    return apart


def _assigned_in(text: str, pace: Pace) -> Iterator[Found]:
    done, lists = 0, _Lists(text, pace)
    for start in _names(text, pace):
        pace.breathe()
        if start < done:
            continue
        for way in _WAYS:
            match = way.match(text, start)
            if match is None:
                continue
            if way is _ASSIGNED and (listed := lists.found(match)):
                yield from listed
                break
            if (found := _value_of(text, match)) is not None:
                done = found.end
                yield found
                break


def _names(text: str, pace: Pace) -> Iterator[int]:
    """Where names begin that might announce a secret, in order."""
    waiting: set[int] = set()
    for begin, end in spans(len(text), pace):
        # The one letter that is two in lower case.
        lower = text[begin : end + _LONGEST_HINT - 1].replace("\u0130", "\0").lower()
        waiting |= {_name_start(text, begin + at) for hint in _HINTS for at in _places(lower, hint)}
        # What is found later may begin before this piece ends.
        ready = {start for start in waiting if start < end - _LONGEST_NAME}
        waiting -= ready
        yield from sorted(ready)
    yield from sorted(waiting)


def _places(text: str, hint: str) -> Iterator[int]:
    at = text.find(hint)
    while at >= 0:
        yield at
        at = text.find(hint, at + len(hint))


def _name_start(text: str, at: int) -> int:
    before = _NAME_BEFORE.search(text, max(0, at - _LONGEST_NAME), at)
    if before is None:
        return at
    start = before.start()
    # In JSON and in a repr a line break before a name reads `\ntoken`.
    escape = _ESCAPE.match(text, start - 1, at) if start else None
    return start if escape is None else escape.end()


def _value_of(text: str, assigned: re.Match[str]) -> Found | None:
    name = assigned["name"]
    is_assignment = assigned.re is _ASSIGNED
    certain = is_secret_key(name) or assigned.re is _SAID
    if not certain and not (is_assignment and may_be_secret_key(name)):
        return None
    place = _place_of(text, assigned)
    value = _VALUE.match(text, place)
    if value is None:
        return None
    for group in ("inside", "held", "quoted"):
        if value[group] is not None:
            secret = value[group]
            if _SAYS_NOTHING.match(secret) or not (certain or looks_like_chance(secret)):
                return None
            return Found(*value.span(group), f"assigned to {name}")
    return _bare(assigned, value, text, certain=certain)


def _bare(assigned: re.Match[str], value: re.Match[str], text: str, *, certain: bool) -> Found | None:
    bare, name = value["bare"], assigned["name"]
    place = value.start()
    if not certain:
        plain = bare.rstrip(").]")
        return Found(place, place + len(plain), f"assigned to {name}") if looks_like_chance(plain) else None
    if _SAYS_NOTHING.match(bare) or _LINE_BREAK.match(bare) or bare.startswith("`"):
        return None
    if (
        bare.lstrip(OPENING).startswith(REDACTED)
        or bare.lower().rstrip(")]=.:") in _WORDS_THAT_STAY
        or bare in _OPERATORS
    ):
        return None
    if _CALL.match(bare) and (literal := _telling_literal(text, place)):
        return Found(*literal.span("literal"), f"assigned to {name}")
    if _EXPRESSION.match(bare.rstrip("\\")) or (_NAME_OR_NUMBER.fullmatch(bare) and _is_prose(assigned, bare)):
        return None
    return Found(*value.span("bare"), f"assigned to {name}")


def _is_prose(assigned: re.Match[str], bare: str) -> bool:
    """Whether a word after a name is no value: the name passed on, a line of a program, a sentence."""
    name = assigned["name"]
    if assigned.re is not _ASSIGNED:
        return bare == name or bare in _SENTENCE
    if assigned["sign"] == ":":
        return bare == name or name.lower() in _PLURALS
    # `token = batch` is a line of a program, `token=batch` a setting; a name passed on keeps its own name.
    is_line = assigned["gap"] != "" and assigned["sign"] == "=" and _PROGRAM_WORDS.search(name) is not None
    return is_line or bare == name


def _telling_literal(text: str, place: int) -> re.Match[str] | None:
    """The first literal in the call that begins at a place which is no name: ``SecretStr("x1-…")``."""
    end = text.find("\n", place, place + _LONGEST_CALL)
    for literal in _LITERAL.finditer(text, place, place + _LONGEST_CALL if end < 0 else end):
        words = literal["literal"]
        if any(char.isdigit() for char in words) and any(char.isalpha() for char in words) and "/" not in words:
            return literal
    return None


def _place_of(text: str, assigned: re.Match[str]) -> int:
    """Where the value of an assignment begins, behind the type if it has one: ``token: str = ...``."""
    place = assigned.end()
    if assigned.re is _ASSIGNED and assigned["sign"] == ":" and (annotation := _ANNOTATION.match(text, place)):
        return annotation.end()
    return place


# Lists -----------------------------------------------------------------------------------------------------

_BLANKS = re.compile(r"[ \t]*")
_NAME_ALONE = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_SHORTEST_LISTED = 6
_PLACEHOLDERS = ("$", "<", "{")


class _Lists:
    """What stands in lists and dictionaries below a secret's name: ``passwords = ["x1", "y2"]``.

    In data, where the name stands in quotation marks, each text in it is a secret but for names of secrets. In a
    program it may be a list of words: those count that have letters and digits.

    Args:
        text: The text; its names are asked for in their order.
        pace: How to rest.
    """

    def __init__(self, text: str, pace: Pace) -> None:
        self._text, self._pace = text, pace
        # What is nested in brackets that were looked at need not be looked at again.
        self._data_done = self._program_done = self._items_done = 0

    def found(self, assigned: re.Match[str]) -> list[Found]:
        """The secrets in what is assigned to a name, none where it is no list."""
        name, text = assigned["name"], self._text
        if not is_secret_key(name):
            return []
        is_data = assigned["sign"] == ":" and text[assigned.end("name")] in "\"'\\"
        place = _place_of(text, assigned)
        if text.startswith(tuple(OPENING), place):
            literals = self._between(place, is_data=is_data, is_flow=assigned["sign"] == ":" and not is_data)
        elif assigned["sign"] == ":":
            is_data = True
            literals = self._below(assigned.end("sign"))
        else:
            return []
        kind = f"assigned to {name}"
        return [
            Found(literal.start, literal.end, kind)
            for literal in literals
            if _is_listed(text, literal, is_data=is_data)
        ]

    def _between(self, place: int, *, is_data: bool, is_flow: bool) -> list[Literal]:
        if place < self._data_done or (not is_data and place < self._program_done):
            return []
        end, literals = bracket_end(self._text, place, self._pace)
        if is_data:
            self._data_done = end
        else:
            self._program_done = end
        return [*literals, *(bare_words(self._text, place, end) if is_flow else ())]

    def _below(self, place: int) -> list[Literal]:
        blanks = _BLANKS.match(self._text, place)
        place = place if blanks is None else blanks.end()
        if place < self._items_done:
            return []
        literals = list(items_below(self._text, place, self._pace))
        self._items_done = literals[-1].end if literals else place
        return literals


def _is_listed(text: str, literal: Literal, *, is_data: bool) -> bool:
    """Whether a literal below a secret's name is a secret."""
    words = text[literal.start : literal.end]
    if _SAYS_NOTHING.match(words) or words.lower() in _WORDS_THAT_STAY or words.startswith(_PLACEHOLDERS):
        return False
    has_digit = any(char.isdigit() for char in words)
    if _NAME_ALONE.fullmatch(words) and is_secret_key(words) and (not has_digit or words.isupper()):
        return False
    if is_data and literal.is_quoted:
        return True
    is_mixed = has_digit and any(char.isalpha() for char in words)
    is_path = "/" in words and not looks_like_chance(words)
    return is_mixed and not is_path and len(words) >= _SHORTEST_LISTED and not any(char.isspace() for char in words)
