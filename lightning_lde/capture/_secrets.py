"""What secrets look like: names that announce one, shapes of known tokens, assignments in text."""

from __future__ import annotations

import functools
import re

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

_SECRET_WORDS = {"secret", "secrets", "pwd", "cookie", "cookies", "passcode", "authorization", "apitoken"}
_SECRET_PARTS = re.compile(
    r"passw(?:or)?[dt]|passphrase|credential|apikey|secretkey|accesskey|privatekey|authtoken|accesstoken|clientsecret"
)
_KEY_OWNERS = {
    *{"access", "account", "admin", "api", "app", "client", "deploy", "encryption", "hmac", "license", "master"},
    *{"private", "service", "signing", "ssh", "storage", "subscription"},
    *{"anthropic", "aws", "azure", "comet", "gcp", "github", "google", "hf", "neptune", "openai", "stripe", "wandb"},
}
_PASS_OWNERS = {"admin", "db", "ftp", "mail", "mysql", "pg", "postgres", "redis", "smtp", "ssh", "user"}
_TOKENS_OWNERS = {"access", "api", "auth", "bearer", "refresh", "session"}
_LANGUAGE_TOKENS = {
    *{"additional", "audio", "blank", "bos", "by", "class", "cls", "decoder", "dist", "distillation", "encoder"},
    *{"end", "eos", "eot", "first", "image", "img", "last", "latent", "mask", "max", "min", "n", "new", "next"},
    *{"num", "pad", "padding", "patch", "per", "prompt", "query", "reg", "register", "sep", "sos", "special"},
    *{"start", "stop", "sub", "text", "unk", "unknown", "video", "visual", "word"},
}

_SHAPES = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
    r"|(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ANVA)[0-9A-Z]{16}"
    r"|github_pat_[A-Za-z0-9_]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|glpat-[\w-]{20,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|hf_[A-Za-z0-9]{20,}|AIza[0-9A-Za-z_-]{30,}"
    r"|(?<![A-Za-z0-9_-])sk-(?=[A-Za-z_-]{0,60}[0-9])[A-Za-z0-9_-]{16,}|[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"
    r"|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{30,}|(?<![\w-])eyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*",
    re.DOTALL,
)
_BEARER = re.compile(r"(\b[Bb]earer\s+)(?=[A-Za-z._~+/=-]*[0-9]|[^\s\"']{20})[A-Za-z0-9._~+/=-]{6,}")
_HEADER = re.compile(r"((?i:authorization)[\"']?\s*[:=]\s*[\"']?)(?:[A-Za-z]+\s+)?[^\s\"',]+")
_URL_PASSWORD = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)[^\s/\"'<>@:]*:[^\s/\"'<>]*@")
_URL_TOKEN = re.compile(r"((?i:https?)://)[^\s/\"'<>@:?#]+@")

_ASSIGNED = re.compile(
    r"(?<![A-Za-z0-9_.-])(?P<name>[A-Za-z_][A-Za-z0-9_.-]{0,99})"
    r"[\"']?(?P<gap>\s*)(?P<sign>[:=])\s*"
)
_ANNOTATION = re.compile(r"[\w.\[\]]+\s*=\s*")
_VALUE = re.compile(r"(?P<quote>[\"'])(?P<quoted>(?:\\.|(?!(?P=quote))[^\\\n])*)|(?P<bare>[^\s,;&\"'}]+)")
_WORDS_THAT_STAY = {"none", "null", "true", "false", "str", "int", "float", "bool", "bytes", "any", "object", "tensor"}
_NAME = re.compile(r"[A-Za-z_]+")
_EXPRESSION = re.compile(
    r"(?:[A-Za-z_.]+[(\[](?:.*[)\]])?|(?:self|cls|args|cfg|config|conf|os|settings)\.[A-Za-z_.]+"
    r"|[(\[{]+|\$[A-Z_]+|\$\{.*|<[A-Za-z_ -]+>)[),:]*\Z"
)
_PROGRAM_WORDS = re.compile(r"(?:tokens?|auth|keys?)\Z", re.IGNORECASE)


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
    return bool(words) and _last_word_is_secret(words[-1], words[-2] if len(words) > 1 else "", words)


def _last_word_is_secret(last: str, before: str, words: list[str]) -> bool:
    if last in {"key", "keys"} or (last == "id" and before == "key"):
        return any(owner in _KEY_OWNERS for owner in words[:-1])
    if last == "token":
        return before not in _LANGUAGE_TOKENS
    if last == "tokens":
        return before in _TOKENS_OWNERS
    return last == "auth" or (last == "pass" and before in _PASS_OWNERS)


def replace_shapes(text: str, mask: str) -> str:
    """Replace tokens of known shape, authorization headers, and user names and passwords in URLs."""
    text = _SHAPES.sub(mask, text)
    text = _HEADER.sub(rf"\g<1>{mask}", text)
    text = _BEARER.sub(rf"\g<1>{mask}", text)
    text = _URL_PASSWORD.sub(rf"\g<1>{mask}@", text)
    return _URL_TOKEN.sub(rf"\g<1>{mask}@", text)


def replace_assignments(text: str, mask: str) -> str:
    """Replace what is assigned to a secret's name: ``password='x'``, ``"token": "x"``, ``?api_key=x``."""
    pieces: list[str] = []
    done = 0
    for assigned in _ASSIGNED.finditer(text):
        if assigned.start() < done or not is_secret_key(assigned["name"]):
            continue
        annotation = _ANNOTATION.match(text, assigned.end()) if assigned["sign"] == ":" else None
        value = _VALUE.match(text, (annotation or assigned).end())
        if value is None or not _is_secret_value(assigned, value, mask):
            continue
        pieces += [text[done : value.start()], value["quote"] or "", mask]
        done = value.end()
    return "".join([*pieces, text[done:]])


def _is_secret_value(assigned: re.Match[str], value: re.Match[str], mask: str) -> bool:
    if value["quote"]:
        return value["quoted"] not in {"", mask}
    bare = value["bare"]
    if bare.startswith(mask) or bare.lower().rstrip(")]=") in _WORDS_THAT_STAY or _EXPRESSION.match(bare):
        return False
    # `token = batch` is a line of a program, `token=batch` a setting; a name passed on keeps its own name.
    is_line = assigned["gap"] != "" and assigned["sign"] == "=" and _PROGRAM_WORDS.search(assigned["name"])
    return not (_NAME.fullmatch(bare) and (is_line or bare == assigned["name"]))
