"""Addresses of remote files: which they are, and how they are spoken of without giving a secret away."""

import hashlib
import re
from urllib.parse import parse_qsl, unquote, urlsplit

REMOTE_SCHEMES = ("http", "https", "s3")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_CREDENTIAL = re.compile(
    r"(?i)^(x-amz-|x-goog-|x-oss-|x-ms-)|^sig|signature|token|secret|passw|credential|api_?key|access_?key|key-pair"
    r"|expires|^policy$|^auth|^(se|sp|sv|sr|st|spr)$"
)


def scheme_of(source: str) -> str | None:
    """The scheme of `source` in small letters, where it is an address and no path."""
    match = _SCHEME.match(source)
    return match[1].lower() if match else None


def without_secrets(source: str) -> str:
    """`source` as it may be shown and kept: an address loses user, password, query and fragment; a path stays."""
    scheme = scheme_of(source)
    if scheme is None:
        return source
    bare = re.split(r"[?#]", source[len(scheme) + 3 :], maxsplit=1)[0]
    host, slash, path = bare.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def address_digest(address: str) -> str:
    """A short name for what lies at `address`. It covers the query, which may choose the file, less its credentials."""
    query = urlsplit(address).query if scheme_of(address) != "s3" else ""
    chosen = sorted(pair for pair in parse_qsl(query, keep_blank_values=True) if not _CREDENTIAL.search(pair[0]))
    return hashlib.sha256(repr((without_secrets(address), chosen)).encode()).hexdigest()[:16]


def file_name(address: str) -> str:
    """The last part of an address as a file's name; its suffixes can decide how the file is read."""
    last = unquote(without_secrets(address)).rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.+-]", "_", last).lstrip(".")[-120:] or "log"
