"""Addresses of remote files: which they are, and how they are spoken of without giving a secret away."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml

from tasks.errors import InputError

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


def without_secrets_in(value: Any) -> Any:
    """Nested values as they may be shown and kept: each text in them that is an address is without its secrets."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {name: without_secrets_in(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(without_secrets_in, value))
    return value


def setting_without_secrets(text: str) -> str:
    """NAME=VALUE, a value as YAML writes it, as it may be shown and kept. What holds an address and is no YAML, or none
    that can be used, is left out.
    """
    if "://" not in text:
        return text
    name, mark, written = text.partition("=")
    try:
        value = yaml.safe_load(written)
        shown = without_secrets_in(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        return f"{name}{mark}…"
    if shown == value:
        return text
    return f"{name}{mark}{shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False, default=str)}"


def address_digest(address: str) -> str:
    """A short name for what lies at `address`. It covers the query, which may choose the file, less its credentials."""
    query = urlsplit(address).query if scheme_of(address) != "s3" else ""
    chosen = sorted(pair for pair in parse_qsl(query, keep_blank_values=True) if not _CREDENTIAL.search(pair[0]))
    return hashlib.sha256(repr((without_secrets(address), chosen)).encode()).hexdigest()[:16]


def file_name(address: str) -> str:
    """The last part of an address as a file's name; its suffixes can decide how the file is read."""
    last = unquote(without_secrets(address)).rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.+-]", "_", last).lstrip(".")[-120:] or "log"


def address_of(text: str) -> str:
    """`text`, checked to be the address of a file. Raises `InputError` where it is none."""
    scheme = scheme_of(text)
    if scheme not in REMOTE_SCHEMES:
        raise InputError(
            f"{without_secrets(text)} cannot be fetched: an address begins with http://, https:// or s3://, "
            "anything else is a path on this machine"
        )
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or re.search(r"[\s\x00-\x1f\x7f]", text):
        raise InputError(f"{without_secrets(text)!r} is no whole address: it lacks a host, or holds blanks")
    if scheme == "s3" and (urlsplit(text).query or urlsplit(text).fragment):
        raise InputError(f"{without_secrets(text)}: an s3 address ends with the file's path, without ? or #")
    if scheme == "s3" and len(urlsplit(text).path) < 2:
        raise InputError(f"{without_secrets(text)} names a bucket and no file in it: s3://bucket/path/log.parquet")
    return text
