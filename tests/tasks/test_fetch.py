"""Files that lie elsewhere: fetched once, whole, and said what they are."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tasks.errors import InputError
from tasks.home import Home
from tasks.sources.addresses import (
    address_digest,
    file_name,
    setting_without_secrets,
    without_secrets,
    without_secrets_in,
)
from tasks.sources.fetch import Kept, Patience, Remote, fetch, is_kept, probe
from tests.tasks.servers import Owner, archive, serving

CONTENT = b"user_id,item_id\n" + b"".join(b"u%d,i%d\n" % (n % 97, n) for n in range(60_000))
QUICK = Patience(timeout=5.0, attempts=3, pause=0.01)


@pytest.fixture
def owner() -> Iterator[Owner]:
    with serving(Owner({"/log.csv": CONTENT})) as served:
        yield served


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def get(home: Home, owner: Owner, said: list[str]) -> Callable[..., Kept]:
    """`get(path)` fetches what the owner has there; what is said goes to `said`."""

    def run(path: str = "/log.csv", patience: Patience = QUICK, **options: Any) -> Kept:
        return fetch(Remote(owner.address + path, **options), home=home, say=said.append, patience=patience)

    return run


def test_a_file_is_fetched_whole_and_once(get: Callable[..., Kept], owner: Owner, said: list[str], home: Home) -> None:
    kept = get()
    assert kept.path.read_bytes() == CONTENT
    assert kept.path.name == "log.csv"
    assert kept.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert kept.path.is_relative_to(home.sources)
    assert get() == kept
    assert owner.heard[-1]["if-none-match"] == '"one"'
    assert "has not changed since" in said[-1]
    assert sorted(path.name for path in kept.path.parent.iterdir()) == [".lock", ".record.json", "log.csv"]


def test_an_owner_who_ignores_conditions_is_not_downloaded_from_again(get: Callable[..., Kept], owner: Owner) -> None:
    owner.conditions = False
    kept = get()
    written = kept.path.stat().st_mtime_ns
    assert get().path.stat().st_mtime_ns == written


def test_the_same_content_fetched_anew_leaves_the_file_that_an_ingest_may_read(
    get: Callable[..., Kept], owner: Owner
) -> None:
    owner.etag = None
    before = get().path.stat()
    after = get().path.stat()
    assert [heard["method"] for heard in owner.heard].count("GET") == 2
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_cut_transfer_goes_on_where_it_was_cut(get: Callable[..., Kept], owner: Owner, said: list[str]) -> None:
    owner.faults = [100_000]
    assert get().path.read_bytes() == CONTENT
    assert owner.heard[1]["range"] == "bytes=100000-"
    assert owner.heard[1]["if-range"] == '"one"'
    assert f"cut short at 100,000 of {len(CONTENT):,} bytes" in said[0]


def test_a_fetch_that_was_given_up_is_gone_on_with_later(get: Callable[..., Kept], owner: Owner) -> None:
    owner.faults = [70_000, 500, 500, 500]
    with pytest.raises(InputError, match="HTTP 500"):
        get()
    owner.heard.clear()
    assert get().path.read_bytes() == CONTENT
    assert owner.heard[0]["range"] == "bytes=70000-"


def test_what_was_begun_is_dropped_where_the_file_has_changed(get: Callable[..., Kept], owner: Owner) -> None:
    owner.faults = [70_000, 500, 500, 500]
    with pytest.raises(InputError):
        get()
    owner.etag, owner.files["/log.csv"] = '"two"', CONTENT[::-1]
    assert get().path.read_bytes() == CONTENT[::-1]


def test_an_owner_who_cannot_resume_is_asked_for_all_again(get: Callable[..., Kept], owner: Owner) -> None:
    owner.ranges = False
    owner.faults = [100_000]
    assert get().path.read_bytes() == CONTENT


def test_a_file_that_always_comes_short_is_refused(get: Callable[..., Kept], owner: Owner, home: Home) -> None:
    owner.ranges, owner.etag = False, None
    owner.faults = [100_000] * 9
    with pytest.raises(InputError, match=rf"log\.csv was cut short at 100,000 of {len(CONTENT):,} bytes"):
        get()
    assert not is_kept(Remote(owner.address + "/log.csv"), home=home)
    assert len(owner.heard) == QUICK.attempts


def test_a_changed_file_is_fetched_anew_and_that_is_said(
    get: Callable[..., Kept], owner: Owner, said: list[str]
) -> None:
    get()
    owner.etag, owner.files["/log.csv"] = '"two"', CONTENT[::-1]
    assert get().path.read_bytes() == CONTENT[::-1]
    assert any("is not what it was" in line for line in said)


def test_a_damaged_copy_is_fetched_anew(get: Callable[..., Kept], said: list[str]) -> None:
    kept = get()
    damaged = bytearray(CONTENT)
    damaged[1000] ^= 1
    kept.path.write_bytes(damaged)
    assert get() == kept
    assert kept.path.read_bytes() == CONTENT
    assert any("damaged" in line for line in said)
    assert not any("is not what it was" in line for line in said)


def test_without_its_server_a_verified_copy_is_used_and_that_is_said(home: Home, said: list[str]) -> None:
    with serving(Owner({"/log.csv": CONTENT})) as owner:
        remote = Remote(f"{owner.address}/log.csv")
        kept = fetch(remote, home=home, say=said.append, patience=QUICK)
    assert fetch(remote, home=home, say=said.append, patience=QUICK) == kept
    assert "cannot be reached (Connection refused): the copy fetched on" in said[-1]
    probe(remote, home=home)
    kept.path.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match="cannot be reached"):
        fetch(remote, home=home, say=said.append, patience=QUICK)


def test_a_busy_server_is_tried_again(get: Callable[..., Kept], owner: Owner, said: list[str]) -> None:
    owner.faults = [503, 503]
    assert get().path.read_bytes() == CONTENT
    assert sum("HTTP 503): another try" in line for line in said) == 2


def test_a_slow_start_is_waited_for_and_an_endless_one_is_not(get: Callable[..., Kept], owner: Owner) -> None:
    owner.wait = 0.3
    assert get().path.read_bytes() == CONTENT
    owner.files["/other.csv"] = CONTENT
    with pytest.raises(InputError, match="did not answer in time"):
        get("/other.csv", Patience(timeout=0.05, attempts=2, pause=0.01))


def test_redirects_are_followed(get: Callable[..., Kept], owner: Owner) -> None:
    owner.moved = {"/latest.csv": "/log.csv"}
    kept = get("/latest.csv")
    assert kept.path.name == "latest.csv"
    assert kept.path.read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "words"), [(404, "does not exist"), (403, "may not be read"), (401, "login")])
def test_what_is_refused_for_good_is_not_asked_for_again(
    get: Callable[..., Kept], owner: Owner, home: Home, status: int, words: str
) -> None:
    path = "/log.csv" if status != 404 else "/absent.csv"
    owner.faults = [status] if status != 404 else []
    with pytest.raises(InputError, match=words):
        get(path)
    assert len(owner.heard) == 1
    owner.faults = [status] if status != 404 else []
    with pytest.raises(InputError, match=words):
        probe(Remote(owner.address + path), home=home)


def test_the_owners_checksum_is_compared(get: Callable[..., Kept], owner: Owner, said: list[str], home: Home) -> None:
    right, wrong = hashlib.md5(CONTENT).hexdigest(), "0" * 32
    with pytest.raises(InputError, match=f"its owner publishes {wrong}"):
        get(md5=wrong)
    assert not is_kept(Remote(f"{owner.address}/log.csv"), home=home)
    for sidecar in (f"MD5 (log.csv) = {right}\n", f"{right}  log.csv\n"):
        owner.files["/log.csv.md5"] = sidecar.encode()
        owner.etag = f'"{sidecar[:4]}"'
        assert get(md5_address=f"{owner.address}/log.csv.md5").path.read_bytes() == CONTENT
    owner.files["/log.csv.md5"] = wrong.encode()
    owner.etag = '"again"'
    with pytest.raises(InputError, match="publishes"):
        get(md5_address=f"{owner.address}/log.csv.md5")
    get(md5_address=f"{owner.address}/none.md5")
    assert any("checksum could not be compared" in line for line in said)


def test_secrets_open_the_door_and_are_written_nowhere(home: Home, owner: Owner, said: list[str]) -> None:
    owner.moved = {"/door.csv": owner.address.replace("127.0.0.1", "localhost") + "/log.csv"}
    secret = owner.address.replace("//", "//ann:s3cret%21@") + "/door.csv?X-Amz-Signature=deadbeef&part=1"
    kept = fetch(Remote(secret), home=home, say=said.append, patience=QUICK)
    assert owner.heard[0]["authorization"] == "Basic YW5uOnMzY3JldCE="
    assert owner.heard[0]["path"] == "/door.csv?X-Amz-Signature=deadbeef&part=1"
    assert "authorization" not in owner.heard[1]
    written = "\n".join(
        [*said, repr(Remote(secret)), *(p.read_text() for p in kept.path.parent.iterdir()), str(kept.path)]
    )
    assert not any(part in written for part in ("ann", "s3cret", "deadbeef"))
    again = secret.replace("deadbeef", "cafe").replace("s3cret", "changed")
    assert address_digest(again) == address_digest(secret)
    assert address_digest(secret.replace("part=1", "part=2")) != address_digest(secret)
    owner.faults = [403]
    with pytest.raises(InputError) as refused:
        fetch(Remote(secret.replace("door", "shut")), home=home, say=said.append, patience=QUICK)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ftp://host/log.csv", "cannot be fetched"),
        ("http:///log.csv", "no whole address"),
        ("https://host/a log.csv", "no whole address"),
        ("http://host:port/log.csv", "no whole address"),
        ("s3://bucket", "no file in it"),
        ("s3://bucket/log.csv?versionId=1", "without"),
    ],
)
def test_what_is_no_address_is_refused(home: Home, address: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        probe(Remote(address), home=home)


def test_names_of_addresses() -> None:
    assert without_secrets("https://u:p@h:8/a/b.csv?x=1#y") == "https://h:8/a/b.csv"
    assert without_secrets("logs/what?.csv") == "logs/what?.csv"
    nested = {"path": "https://u:p@h/a.csv?x=1", "n": [1, "s3://b/c"]}
    assert without_secrets_in(nested) == {"path": "https://h/a.csv", "n": [1, "s3://b/c"]}
    assert file_name("https://h/a/log%20one.csv.gz?x=/y.zip") == "log_one.csv.gz"
    assert file_name("https://h/") == "h"
    assert file_name("https://h/..") == "log"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("base.source.path=https://u:p,w@h/a.csv?sig=x#y", "base.source.path=https://h/a.csv"),
        ('axes.source.path=["https://u:p@h/a", s3://b/c]', 'axes.source.path=["https://h/a", "s3://b/c"]'),
        ("base.source={path: 'https://u:p''@h/a', n: 1}", 'base.source={"path": "https://h/a", "n": 1}'),
        ("base.source={path: https://u:p@h/a", "base.source=…"),
        ("axes.source.path=[2024-13-45, 'https://u:p@h/a']", "axes.source.path=…"),
        ("axes.source.path=&all [*all, 'https://u:p@h/a']", "axes.source.path=…"),
        ("base.source.path=https://h/a.csv", "base.source.path=https://h/a.csv"),
        ("axes.seed=[1,  2]", "axes.seed=[1,  2]"),
    ],
)
def test_what_sets_an_address_is_shown_without_its_secrets(text: str, shown: str) -> None:
    assert setting_without_secrets(text) == shown


def test_one_member_of_an_archive_is_unpacked(get: Callable[..., Kept], owner: Owner) -> None:
    owner.files["/set.zip"] = archive({"set/u.data": CONTENT, "../../evil.csv": b"evil"})
    kept = get("/set.zip", member="set/u.data")
    assert (kept.path.name, kept.path.read_bytes()) == ("u.data", CONTENT)
    assert get("/set.zip", member="set/u.data") == kept
    kept.path.write_bytes(b"damaged")
    assert get("/set.zip", member="set/u.data").path.read_bytes() == CONTENT
    evil = get("/set.zip", member="../../evil.csv")
    assert evil.path.parent == kept.path.parent
    with pytest.raises(InputError, match="without a file gone"):
        get("/set.zip", member="gone")


def test_what_has_come_of_a_newer_archive_is_kept_while_the_earlier_one_is_used(
    get: Callable[..., Kept], owner: Owner
) -> None:
    noise = os.urandom(100_000)
    owner.files["/set.zip"] = archive({"u.data": CONTENT, "more": noise})
    get("/set.zip", member="u.data").path.unlink()
    newer = archive({"u.data": CONTENT[::-1], "more": noise})
    owner.etag, owner.files["/set.zip"] = '"two"', newer
    owner.faults = [70_000, 500, 500, 500]
    assert get("/set.zip", member="u.data").path.read_bytes() == CONTENT, "the earlier one, unpacked anew"
    owner.heard.clear()
    assert get("/set.zip", member="u.data").path.read_bytes() == CONTENT[::-1]
    assert owner.heard[0]["range"] == "bytes=70000-"


def test_a_damaged_archive_is_refused(get: Callable[..., Kept], owner: Owner) -> None:
    packed = bytearray(archive({"u.data": CONTENT}))
    packed[500] ^= 1
    owner.files["/set.zip"] = bytes(packed)
    with pytest.raises(InputError, match="cannot be unpacked"):
        get("/set.zip", member="u.data")
    owner.files["/text.zip"] = b"<html>no archive</html>"
    with pytest.raises(InputError, match="cannot be unpacked"):
        get("/text.zip", member="u.data")


def test_a_full_disk_is_seen_before_it_is_full(
    get: Callable[..., Kept], owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = os.statvfs_result((4096, 4096, 10**9, 10, 10, 1, 1, 1, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: usage)
    with pytest.raises(InputError, match=r"takes \d+ kB and .* has 41 kB left"):
        get()


def test_a_length_that_is_not_said_is_no_fault(get: Callable[..., Kept], owner: Owner) -> None:
    owner.lengths = False
    assert get().path.read_bytes() == CONTENT


def test_what_was_left_whole_is_not_asked_for_again(get: Callable[..., Kept], owner: Owner) -> None:
    kept = get()
    folder = kept.path.parent
    record = json.loads((folder / ".record.json").read_text())
    (folder / ".part.json").write_text(json.dumps(record["stamp"]))
    kept.path.rename(folder / ".part")
    (folder / ".record.json").unlink()
    owner.heard.clear()
    assert get() == kept
    assert [request.get("if-none-match") for request in owner.heard] == ['"one"']


@pytest.fixture
def bucket(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> Owner:
    """The owner as an S3 store whose bucket `logs` holds `day/log.csv`."""
    owner.files = {"/logs/day/log.csv": CONTENT}
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", owner.address)
    return owner


def test_an_object_of_an_s3_store_is_fetched(
    bucket: Owner, home: Home, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote("s3://logs/day/log.csv")
    probe(remote, home=home)
    kept = fetch(remote, home=home, say=said.append, patience=QUICK)
    assert kept.path.read_bytes() == CONTENT
    assert all("authorization" not in request for request in bucket.heard)
    assert fetch(remote, home=home, say=said.append, patience=QUICK) == kept
    assert "has not changed" in said[-1]
    bucket.etag, bucket.files["/logs/day/log.csv"] = '"two"', CONTENT[::-1]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ann")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    assert fetch(remote, home=home, say=said.append, patience=QUICK).path.read_bytes() == CONTENT[::-1]
    assert "Credential=ann/" in bucket.heard[-1]["authorization"]
    with pytest.raises(InputError, match=r"s3://logs/absent\.csv does not exist"):
        probe(Remote("s3://logs/absent.csv"), home=home)


def test_a_store_out_of_reach_is_said(home: Home, bucket: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="cannot be reached"):
        probe(Remote("s3://logs/day/log.csv"), home=home)
