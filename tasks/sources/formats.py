"""The formats in which logs are published: how each is recognised, and the query that reads it.

A new format is one file in `sql/sources/` and one entry in `FORMATS`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import sql

COLUMNS = "interactions"
"""The format of a log whose columns a person names."""

Kind = Literal["delimited text", "JSON lines", "Python dictionaries", "Parquet"]


@dataclass(frozen=True)
class Beginning:
    """What a file shows before it is read: its name in small letters, without the ending of a compression, and its
    first lines that are not blank.
    """

    name: str
    lines: tuple[str, ...]

    @property
    def first(self) -> str:
        return self.lines[0] if self.lines else ""


@dataclass(frozen=True)
class Format:
    """A published format.

    `what` it is, in a line; `shape`: what a line of it holds; `names`: the roles that it has (user, item, time,
    rating) and what a person calls the values. `fits`: may a file that begins so be of this format? `certain`: can it
    be of no other? `query` takes the slots `path` and `compression`; those that `slots` gives for a beginning; and
    `line`, if `by_line`: its rows are not the file's, so it also gives the number of the one that each is from.
    """

    name: str
    what: str
    shape: str
    names: Mapping[str, str]
    fits: Callable[[Beginning], bool]
    certain: Callable[[Beginning], bool]
    query: Callable[..., str]
    kind: Kind = "delimited text"
    slots: Callable[[Beginning], dict[str, str]] = lambda _: {}
    by_line: bool = False
    has_header: bool = False


def known_formats() -> tuple[str, ...]:
    """Every name that a person may give as a log's format."""
    families = dict.fromkeys(name.split("-")[0] for name in FORMATS if name.startswith("movielens"))
    return (COLUMNS, *families, *FORMATS)


def formats_named(name: str) -> list[Format]:
    """The format of that name, or those of a family (`movielens`)."""
    return [FORMATS[name]] if name in FORMATS else [each for each in FORMATS.values() if each.name.startswith(name)]


def recognised(beginning: Beginning) -> Format | None:
    """The one format that a file beginning so can be of; None where that is not certain."""
    return next((each for each in FORMATS.values() if each.certain(beginning)), None)


def _first_line(pattern: str) -> Callable[[Beginning], bool]:
    return lambda beginning: re.fullmatch(pattern, beginning.first) is not None


def _every_line(pattern: str) -> Callable[[Beginning], bool]:
    return lambda beginning: (
        bool(beginning.lines) and all(re.fullmatch(pattern, line) is not None for line in beginning.lines)
    )


def _named(name: str, pattern: str) -> Callable[[Beginning], bool]:
    """A file whose name matches `name`, with a first line that matches `pattern`."""
    return lambda beginning: (
        re.search(name, beginning.name) is not None and re.fullmatch(pattern, beginning.first) is not None
    )


def _header(*headers: str) -> Callable[[Beginning], bool]:
    return lambda beginning: beginning.first.replace('"', "") in headers


def _json_fields(*fields: str) -> Callable[[Beginning], bool]:
    def holds(beginning: Beginning) -> bool:
        try:
            value = json.loads(beginning.first)
        except (ValueError, RecursionError):
            return False
        return isinstance(value, dict) and value.keys() >= set(fields)

    return holds


def _python_fields(*fields: str) -> Callable[[Beginning], bool]:
    """A first line that is no JSON, in braces, with these fields as Python writes them."""

    def holds(beginning: Beginning) -> bool:
        line = beginning.first.strip()
        braced = line.startswith("{") and line.endswith("}")
        return braced and all(re.search(f"[{{ ]u?['\"]{field}['\"]: ", line) for field in fields)

    return holds


def _grouped_pairs(beginning: Beginning) -> bool:
    """Lines of two whole numbers, the first of which comes in ascending runs longer than a line, as where each user's
    items stand together.
    """
    pairs = [re.fullmatch(r"(\d+)[ \t]\d+", line) for line in beginning.lines]
    firsts = [int(pair[1]) for pair in pairs if pair]
    return len(firsts) == len(pairs) > len(set(firsts)) and firsts == sorted(firsts)


def _pair_delimiter(beginning: Beginning) -> dict[str, str]:
    return {"delimiter": sql.literal("\t" if "\t" in beginning.first else " ")}


def _header_columns(beginning: Beginning) -> dict[str, str]:
    fields = beginning.first.replace('"', "").split(",")
    return {"columns": "{" + ", ".join(f"{sql.literal(field)}: 'VARCHAR'" for field in fields) + "}"}


def _movielens_100k(**slots: str) -> str:
    return sql.load("sources/movielens_100k", **slots)


def _movielens_1m(**slots: str) -> str:
    return sql.load("sources/movielens_1m", **slots)


def _movielens_csv(**slots: str) -> str:
    return sql.load("sources/movielens_csv", **slots)


def _amazon_json(**slots: str) -> str:
    return sql.load("sources/amazon_json", **slots)


def _amazon_2014_csv(**slots: str) -> str:
    return sql.load("sources/amazon_2014_csv", **slots)


def _amazon_2018_csv(**slots: str) -> str:
    return sql.load("sources/amazon_2018_csv", **slots)


def _amazon_2023_json(**slots: str) -> str:
    return sql.load("sources/amazon_2023_json", **slots)


def _amazon_2023_csv(**slots: str) -> str:
    return sql.load("sources/amazon_2023_csv", **slots)


def _steam(**slots: str) -> str:
    return sql.load("sources/steam", **slots)


def _yoochoose(**slots: str) -> str:
    return sql.load("sources/yoochoose", **slots)


def _kuairec(**slots: str) -> str:
    return sql.load("sources/kuairec", **slots)


def _zhihu(**slots: str) -> str:
    return sql.load("sources/zhihu", **slots)


def _pairs(**slots: str) -> str:
    return sql.load("sources/pairs", **slots)


def _user_lines(**slots: str) -> str:
    return sql.load("sources/user_lines", **slots)


def _ordinal(*roles: str) -> dict[str, str]:
    """Names of columns that have none: `item (2nd)`; an empty role is a column that is not read."""
    places = ("1st", "2nd", "3rd", "4th")
    return {role: f"{role} ({place})" for role, place in zip(roles, places, strict=False) if role}


_KUAIREC = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio"
_AMAZON_2023 = "user_id,parent_asin,rating,timestamp"
# A person's id begins with A and is longer than a product's, which has ten characters and begins with B or a digit.
_AMAZON_USER, _AMAZON_ITEM, _AMAZON_REST = r"A[A-Z0-9]{10,20}", r"[B0-9][A-Z0-9]{9}", r"[1-5](\.0)?,\d{9,10}"
_FOUR_FIELDS = r"[^,]*,[^,]*,[^,]*,[^,]*"

FORMATS: Mapping[str, Format] = {
    each.name: each
    for each in (
        Format(
            name="movielens-100k",
            what="MovieLens 100K: u.data",
            shape="user ⇥ item ⇥ rating ⇥ time",
            names=_ordinal("user", "item", "rating", "time"),
            fits=_first_line(r"[^\t]*(\t[^\t]*){3}"),
            certain=_named(r"u\.data$", r"\d+\t\d+\t[1-5]\t\d+"),
            query=_movielens_100k,
        ),
        Format(
            name="movielens-1m",
            what="MovieLens 1M and 10M: ratings.dat",
            shape="user::item::rating::time",
            names=_ordinal("user", "item", "rating", "time"),
            fits=_first_line(r"(?:(?!::).)*(::(?:(?!::).)*){3}"),
            certain=_first_line(r"\d+::\d+::[0-9.]+::\d+"),
            query=_movielens_1m,
        ),
        Format(
            name="movielens-csv",
            what="MovieLens 20M, 25M and 32M: ratings.csv",
            shape="userId,movieId,rating,timestamp",
            names={"user": "userId", "item": "movieId", "rating": "rating", "time": "timestamp"},
            fits=_header("userId,movieId,rating,timestamp"),
            certain=_header("userId,movieId,rating,timestamp"),
            query=_movielens_csv,
            has_header=True,
        ),
        Format(
            name="amazon-json",
            what="Amazon reviews of 2014 and 2018, 5-core or all: JSON lines",
            shape="reviewerID, asin, overall, unixReviewTime",
            names={"user": "reviewerID", "item": "asin", "rating": "overall", "time": "unixReviewTime"},
            fits=_json_fields("reviewerID", "asin"),
            certain=_json_fields("reviewerID", "asin", "overall", "unixReviewTime"),
            query=_amazon_json,
            kind="JSON lines",
        ),
        Format(
            name="amazon-2014-csv",
            what="Amazon reviews of 2014, ratings only: CSV without a header",
            shape="user,item,rating,time",
            names=_ordinal("user", "item", "rating", "time"),
            fits=_first_line(_FOUR_FIELDS),
            certain=_every_line(f"{_AMAZON_USER},{_AMAZON_ITEM},{_AMAZON_REST}"),
            query=_amazon_2014_csv,
        ),
        Format(
            name="amazon-2018-csv",
            what="Amazon reviews of 2018, ratings only: CSV without a header, items before users",
            shape="item,user,rating,time",
            names=_ordinal("item", "user", "rating", "time"),
            fits=_first_line(_FOUR_FIELDS),
            certain=_every_line(f"{_AMAZON_ITEM},{_AMAZON_USER},{_AMAZON_REST}"),
            query=_amazon_2018_csv,
        ),
        Format(
            name="amazon-2023-json",
            what="Amazon reviews of 2023: JSON lines; an item is a product with all its variants",
            shape="user_id, parent_asin, rating, timestamp",
            names={"user": "user_id", "item": "parent_asin", "rating": "rating", "time": "timestamp"},
            fits=_json_fields("user_id", "parent_asin"),
            certain=_json_fields("user_id", "parent_asin", "asin", "rating", "timestamp"),
            query=_amazon_2023_json,
            kind="JSON lines",
        ),
        Format(
            name="amazon-2023-csv",
            what="Amazon reviews of 2023, ratings only, with or without histories: CSV",
            shape=f"{_AMAZON_2023}[,history]",
            names={"user": "user_id", "item": "parent_asin", "rating": "rating", "time": "timestamp"},
            fits=_header(_AMAZON_2023, f"{_AMAZON_2023},history"),
            certain=_header(_AMAZON_2023, f"{_AMAZON_2023},history"),
            query=_amazon_2023_csv,
            slots=_header_columns,
            has_header=True,
        ),
        Format(
            name="steam",
            what="Steam reviews: a Python dictionary a line; the rating is the hours played",
            shape="username, product_id, date, hours",
            names={"user": "username", "item": "product_id", "rating": "hours", "time": "date"},
            fits=_python_fields("username", "product_id", "date"),
            certain=_python_fields("username", "product_id", "date"),
            query=_steam,
            kind="Python dictionaries",
            by_line=True,
        ),
        Format(
            name="yoochoose",
            what="YooChoose clicks: CSV without a header; a session is a user",
            shape="session,time,item,category",
            names=_ordinal("user", "time", "item"),
            fits=_first_line(_FOUR_FIELDS),
            certain=_first_line(r"\d+,\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z,\d+,[^,]*"),
            query=_yoochoose,
        ),
        Format(
            name="kuairec",
            what="KuaiRec's big_matrix.csv and small_matrix.csv, less the rows without a time; the rating is the share "
            "watched",
            shape=_KUAIREC,
            names={"user": "user_id", "item": "video_id", "rating": "watch_ratio", "time": "timestamp"},
            fits=_header(_KUAIREC),
            certain=_header(_KUAIREC),
            query=_kuairec,
            has_header=True,
            by_line=True,
        ),
        Format(
            name="zhihu",
            what="ZhihuRec's inter_impression.csv, without a header: the answers that were clicked",
            shape="user,answer,time shown,time clicked",
            names=_ordinal("user", "item", "", "time"),
            fits=_first_line(_FOUR_FIELDS),
            certain=_named(r"inter_impression\.csv$", r"\d+,\d+,\d+,\d+"),
            query=_zhihu,
            by_line=True,
        ),
        Format(
            name="pairs",
            what="text of a user and an item a line, each user's oldest first",
            shape="user item",
            names=_ordinal("user", "item"),
            fits=_first_line(r"[^ \t]+[ \t][^ \t]+"),
            certain=_grouped_pairs,
            query=_pairs,
            slots=_pair_delimiter,
        ),
        Format(
            name="user-lines",
            what="text of a user and all the user's items a line, oldest first",
            shape="user item item item …",
            names={"user": "user (1st)", "item": "item (2nd and on)"},
            fits=lambda beginning: bool(beginning.first),
            certain=lambda _: False,
            query=_user_lines,
            by_line=True,
        ),
    )
}
