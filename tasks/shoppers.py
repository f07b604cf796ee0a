"""The embedded default data: a shop's log, made by simulation and labelled event by event.

Shoppers have lasting tastes (a brand for each part of the shop, a price level) and a few interests whose
intensity drifts from visit to visit. Within a visit they either browse a category or follow a link from one
of the last things they looked at: the next model of a series, the case that fits the phone, the charger
after the case. Some accounts are shared by two people, and everybody clicks amiss now and then. Both kinds
of noise are labelled: `shared` is what the account's second person did, `misclick` what nobody meant.

The same spec gives the same log on every platform: random numbers come from PCG64's raw stream, the one
that numpy promises to keep, and the arithmetic on them is `+ - * /` and square roots, whose results IEEE 754
fixes. There is no `exp`, no `log` and no matrix product here, and no sum of floats but running ones.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.data_specs import ShoppersSpec
from tasks.scratch import working_folder

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NOISE_KINDS = (None, "misclick", "shared")
"""What the codes of `Log.noise` stand for, as the Parquet file spells them."""

WORLDS = (
    ("phone", "phonecase", "charger", "headphone", "smartwatch"),
    ("laptop", "mouse", "keyboard", "monitor", "webcam"),
    ("trousers", "shirt", "shoe", "jacket", "belt"),
    ("bag", "wallet", "sunglasses", "scarf", "umbrella"),
    ("camera", "lens", "tripod", "filter", "strap"),
    ("kettle", "grinder", "coffee", "mug", "toaster"),
)
"""The shop's parts. In each, a category's accessories are in the next one, and the last closes the ring."""

BRANDS = 6  # in each part of the shop
SHORTEST, LONGEST, TYPICAL_EXTRA = 5, 150, 23.0  # events a user; the last is the median beyond the shortest
INTERESTS = 4  # categories that a person cares about
REMEMBERED = (0.36, 0.28, 0.21, 0.15)  # which of the last things looked at a link is followed from
LINKS = (0.24, 0.28, 0.27, 0.13, 0.08)  # how strong an item's links are, in the order of `_link`
FOLLOW, FOLLOW_ON_ARRIVAL = 0.32, 0.25  # chance of following a link, within a visit and at its start
STAY = 0.55  # chance that browsing goes on in the same category
OTHER_BRAND = 0.05  # appeal of a brand other than one's own
PRICE_WIDTH = 0.15  # how far from one's price level an item still appeals
SHARED_ACCOUNTS, TAKE_OVER, HAND_BACK = 0.15, 0.11, 0.30  # the last two: chances at each event
MINORITY_CEILING = 0.4  # of an account's events
MISCLICK, MISCLICK_BY_POPULARITY = 0.052, 0.7
NOISE_AT_END = 0.25  # the last two events are held out for ranking: noise is this much rarer there
NEW_VISIT, LONGEST_VISIT = 0.22, 12  # chance at each event; events
FIRST_DAY, DAYS, LAST_START = np.datetime64("2023-01-01", "s"), 730, 545
BLOCK_CELLS = 8_000_000  # accounts x items simulated at once: bounds the memory


@dataclass(frozen=True)
class Log:
    """A simulated log in the order of time.

    `user`, `item`: int64 [events], indices into `user_ids` and `item_ids`; `time`: datetime64[us] [events],
    UTC, strictly increasing within a user; `noise`: int8 [events], codes of `NOISE_KINDS`; `category`: int64
    [items], indices into `categories`.
    """

    user: Ints
    item: Ints
    time: NDArray[np.datetime64]
    noise: NDArray[np.int8]
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    category: Ints
    categories: tuple[str, ...]


def generate(spec: ShoppersSpec, path: Path) -> Path:
    """Write the log that `spec` describes to `path` as one Parquet file, and return `path`.

    Columns: user_id VARCHAR, item_id VARCHAR, time TIMESTAMP (UTC), noise VARCHAR (NULL = genuine, else
    'misclick' or 'shared'). Rows are in the order of time. The file appears whole or not at all.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    log = simulate(spec)
    table = pa.table(
        {
            "user_id": pa.array(log.user_ids, pa.string()).take(pa.array(log.user)),
            "item_id": pa.array(log.item_ids, pa.string()).take(pa.array(log.item)),
            "time": pa.array(log.time, pa.timestamp("us")),
            "noise": pa.array(NOISE_KINDS, pa.string()).take(pa.array(log.noise)),
        }
    )
    with working_folder(path.parent) as folder:
        unfinished = folder / path.name
        pq.write_table(table, unfinished, compression="zstd")
        unfinished.replace(path)
    return path


def simulate(spec: ShoppersSpec) -> Log:
    """The log that `spec` describes, as arrays."""
    shop = _build_shop(spec)
    blocks = list(_simulate_blocks(spec, shop))
    user, item, second, noise = (np.concatenate(columns) for columns in zip(*blocks, strict=True))
    order = np.lexsort((user, second))
    return Log(
        user=user[order],
        item=item[order],
        time=(FIRST_DAY + second[order].astype("timedelta64[s]")).astype("datetime64[us]"),
        noise=noise[order].astype(np.int8),
        user_ids=_numbered("shopper", spec.users, 4),
        item_ids=tuple(
            name
            for label, size in zip(shop.categories, shop.size.tolist(), strict=True)
            for name in _numbered(label, size, 3)
        ),
        category=shop.category,
        categories=shop.categories,
    )


def _numbered(label: str, count: int, digits: int) -> tuple[str, ...]:
    width = max(digits, len(str(count)))
    return tuple(f"{label}-{number:0{width}d}" for number in range(1, count + 1))


class _Stream:
    """Uniform numbers of one name: drawing more under one name leaves the other names' numbers alone."""

    def __init__(self, seed: int, name: str, *, part: int = 0) -> None:
        key = (zlib.crc32(name.encode()), part)
        self._bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))

    def uniform(self, *shape: int) -> Floats:
        """Float64 in [0, 1), 53 random bits each."""
        raw = self._bits.random_raw(int(np.prod(shape)))
        fractions: Floats = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return fractions.reshape(shape)

    def shuffled(self, count: int) -> Ints:
        """0 .. count-1 in random order."""
        return np.argsort(self.uniform(count), kind="stable")


def _draw(weights: Floats, uniform: Floats) -> Ints:
    """One column a row, with chances in proportion to `weights` [rows, columns]: int64 [rows].

    A column without weight is never drawn, unless the whole row has none.
    """
    running = np.cumsum(weights, axis=1)
    total = running[:, -1:]
    passed = (running <= uniform[:, None] * total) & (running < total)
    column: Ints = np.count_nonzero(passed, axis=1)
    return column


def _draw_shared(weights: Floats, uniform: Floats) -> Ints:
    """As `_draw`, with the same `weights` [columns] in every row."""
    running = np.cumsum(weights)
    place = np.searchsorted(running, uniform * running[-1], side="right")
    column: Ints = np.minimum(place, len(weights) - 1)
    return column


def _liking(price: Floats, level: Floats | np.float64) -> Floats:
    """How much a price appeals to who is used to `level`: 1 where they agree, falling on both sides."""
    distance = (price - level) / PRICE_WIDTH
    closeness: Floats = 1.0 / (1.0 + distance * distance)
    return closeness * closeness


# ---------------------------------------------------------------------------------------------- the shop


@dataclass(frozen=True)
class _Shop:
    """Items are numbered category by category; `members` lists each category's, padded with -1."""

    categories: tuple[str, ...]
    world: Ints  # [categories]
    appeal: Floats  # [categories], how often a category is somebody's interest
    size: Ints  # [categories]
    members: Ints  # [categories, largest size]
    category: Ints  # [items]
    brand: Ints  # [items]
    price: Floats  # [items], 0 = the cheapest .. 1 = the dearest
    popularity: Floats  # [items]
    links: Ints  # [items, len(LINKS)]


def _build_shop(spec: ShoppersSpec) -> _Shop:
    stream = _Stream(spec.seed, "shop")
    depth = min(max(spec.items // 40, 2), len(WORLDS[0]))  # a small shop has fewer categories, not tiny ones
    categories = tuple(label for world in WORLDS for label in world[:depth])
    count = len(categories)
    world = np.repeat(np.arange(len(WORLDS)), depth)

    appeal = 1.0 / (1.5 + stream.shuffled(count).astype(np.float64))
    size = _apportion(1.0 / np.sqrt(4.0 + stream.shuffled(count)), spec.items)
    category = np.repeat(np.arange(count), size)
    start = np.cumsum(size) - size
    slot = np.arange(int(size.max()))
    members = np.where(slot < size[:, None], start[:, None] + slot, -1)

    brand = _draw_shared(_brand_weights(), stream.uniform(spec.items))
    price = stream.uniform(spec.items)
    rank = np.empty(spec.items)
    for items in _each_category(members):
        rank[items] = stream.shuffled(len(items))
    popularity = appeal[category] / ((1.0 + rank) * np.sqrt(1.0 + rank))

    links = _link(members, depth=depth, brand=brand, price=price, popularity=popularity, stream=stream)
    return _Shop(categories, world, appeal, size, members, category, brand, price, popularity, links)


def _brand_weights() -> Floats:
    return 1.0 / np.arange(1.0, BRANDS + 1.0)


def _apportion(weights: Floats, total: int) -> Ints:
    """`total` split into whole parts, each at least 2, roughly in proportion to `weights`."""
    edges = np.cumsum(weights)
    free = total - 2 * len(weights)
    bounds = np.floor(edges / edges[-1] * free).astype(np.int64)
    bounds[-1] = free
    sizes: Ints = np.diff(bounds, prepend=0) + 2
    return sizes


def _each_category(members: Ints) -> Iterator[Ints]:
    for row in members:
        yield row[row >= 0]


def _link(members: Ints, *, depth: int, brand: Ints, price: Floats, popularity: Floats, stream: _Stream) -> Ints:
    """Where each item leads: [items, len(LINKS)].

    The next item of its brand in its category; the best-fitting accessory of its brand, by popularity and
    price; the most popular one; the best-fitting accessory of the accessories; one item from anywhere.
    """
    quirks = _draw_shared(popularity, stream.uniform(len(brand)))
    links = np.empty((len(brand), len(LINKS)), dtype=np.int64)
    for number, items in enumerate(_each_category(members)):
        first = number - number % depth
        accessories = _only(members[first + (number + 1 - first) % depth])
        further = _only(members[first + (number + 2 - first) % depth])
        for item in items.tolist():
            series = items[brand[items] == brand[item]]
            fitting = _same_brand(accessories, brand, item)
            beyond = _same_brand(further, brand, item)
            links[item] = (
                series[(np.searchsorted(series, item) + 1) % len(series)],
                fitting[np.argmax(popularity[fitting] * _liking(price[fitting], price[item]))],
                fitting[np.argmax(popularity[fitting])],
                beyond[np.argmax(popularity[beyond] * _liking(price[beyond], price[item]))],
                quirks[item],
            )
    return links


def _only(row: Ints) -> Ints:
    return row[row >= 0]


def _same_brand(items: Ints, brand: Ints, item: int) -> Ints:
    matching = items[brand[items] == brand[item]]
    return matching if len(matching) else items


# ------------------------------------------------------------------------------------------ the accounts


@dataclass(frozen=True)
class _Plan:
    """Who acts when, before it is known on what: [accounts, longest], accounts with the longest log first."""

    length: Ints  # [accounts]
    second_person: Bools
    misclick: Bools
    arrival: Bools  # the event opens a visit
    second: Ints  # since FIRST_DAY


@dataclass(frozen=True)
class _People:
    """Tastes of the two possible people of each account."""

    interests: Ints  # [accounts, 2, INTERESTS], categories
    intensity: Floats  # [accounts, 2, INTERESTS]
    brand: Ints  # [accounts, 2, worlds]
    price: Floats  # [accounts, 2]


def _simulate_blocks(spec: ShoppersSpec, shop: _Shop) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """User, item, second and noise code of each event, a block of users at a time."""
    block = max(BLOCK_CELLS // spec.items, 1)
    for part, first in enumerate(range(0, spec.users, block)):
        accounts = min(block, spec.users - first)
        plan = _plan(spec, accounts, part)
        people = _people(spec, shop, accounts, part)
        item = _act(plan, people, shop, _Stream(spec.seed, "acts", part=part))
        happened = np.arange(item.shape[1]) < plan.length[:, None]
        # Accounts were sorted by length: a shuffled number keeps the length out of the user id.
        number = first + _Stream(spec.seed, "numbers", part=part).shuffled(accounts)
        user = np.repeat(number, plan.length)
        noise = np.where(plan.misclick, 1, np.where(plan.second_person, 2, 0))
        yield user, item[happened], plan.second[happened], noise[happened]


def _plan(spec: ShoppersSpec, accounts: int, part: int) -> _Plan:
    length = _lengths(spec, accounts, _Stream(spec.seed, "lengths", part=part))
    longest = int(length[0])
    position = np.arange(longest)
    at_end = (position >= length[:, None] - 2) & (position < length[:, None])

    noises = _Stream(spec.seed, "noises", part=part)
    spared = at_end & (noises.uniform(accounts, longest) >= NOISE_AT_END)
    second_person = _take_turns(length, longest, noises) & ~spared
    misclick = (noises.uniform(accounts, longest) < MISCLICK) & ~spared

    visits = _Stream(spec.seed, "visits", part=part)
    arrival = _arrivals(second_person, visits)
    return _Plan(length, second_person, misclick, arrival, _seconds(arrival, length, visits))


def _lengths(spec: ShoppersSpec, accounts: int, stream: _Stream) -> Ints:
    """Events of each account, longest first: log-logistic with a heavy tail, cut where the shop is small."""
    uniform = stream.uniform(accounts)
    extra = TYPICAL_EXTRA * np.sqrt(uniform / (1.0 - uniform))
    longest = min(LONGEST, spec.items // 3)
    length = np.minimum(SHORTEST + np.floor(extra), longest).astype(np.int64)
    return np.flip(np.sort(length))


def _take_turns(length: Ints, longest: int, stream: _Stream) -> Bools:
    """Where the second person of a shared account acts: short runs, never most of the log."""
    shared = stream.uniform(len(length)) < SHARED_ACCOUNTS
    uniform = stream.uniform(len(length), longest)
    left = np.floor(MINORITY_CEILING * length).astype(np.int64)
    turns = np.zeros((len(length), longest), dtype=np.bool_)
    for position in range(1, longest):
        chance = np.where(turns[:, position - 1], 1.0 - HAND_BACK, TAKE_OVER)
        turns[:, position] = shared & (left > 0) & (uniform[:, position] < chance)
        left -= turns[:, position]
    return turns


def _arrivals(second_person: Bools, stream: _Stream) -> Bools:
    """Where visits begin: when the person changes, by chance, and when a visit grows too long."""
    arrival = stream.uniform(*second_person.shape) < NEW_VISIT
    arrival[:, 1:] |= second_person[:, 1:] != second_person[:, :-1]
    arrival[:, 0] = True
    run = np.zeros(len(arrival), dtype=np.int64)
    for position in range(arrival.shape[1]):
        arrival[:, position] |= run >= LONGEST_VISIT
        run = np.where(arrival[:, position], 1, run + 1)
    return arrival


def _seconds(arrival: Bools, length: Ints, stream: _Stream) -> Ints:
    """Seconds since FIRST_DAY, strictly increasing: visits on different days, minutes between their events.

    A visit begins between 8 and 22 o'clock; its at most 12 events lie at most half an hour apart, so that
    it is over before the next day's first visitors come.
    """
    accounts, longest = arrival.shape
    first_day = np.floor(stream.uniform(accounts) * LAST_START)
    uniform = stream.uniform(accounts, longest)
    rest = np.floor(np.minimum(4.0 * np.sqrt(uniform / (1.0 - uniform)), 60.0))  # days beyond the next one
    rest[:, 0] = 0.0
    happened = np.arange(longest) < length[:, None]
    visit = np.cumsum(arrival, axis=1) - 1
    idle = np.cumsum(np.where(arrival & happened, rest, 0.0), axis=1)
    room = DAYS - 1 - first_day - visit[np.arange(accounts), length - 1]
    squeeze = np.minimum(room / np.maximum(idle[:, -1], 1.0), 1.0)
    day = first_day[:, None] + visit + np.floor(idle * squeeze[:, None])

    two_draws = stream.uniform(accounts, longest) + stream.uniform(accounts, longest)
    clock = np.floor((8.0 + 7.0 * two_draws) * 3600.0)
    uniform = stream.uniform(accounts, longest)
    gap = np.floor(np.minimum(3.0 + 80.0 * np.sqrt(uniform / (1.0 - uniform)), 1800.0))
    start = np.where(arrival, day * 86_400 + clock, 0.0)
    elapsed = np.cumsum(np.where(arrival, 0.0, gap), axis=1)
    opened = np.maximum.accumulate(np.where(arrival, np.arange(longest), 0), axis=1)
    begun = np.take_along_axis(start - elapsed, opened, axis=1)
    seconds: Ints = (begun + elapsed).astype(np.int64)
    return seconds


def _people(spec: ShoppersSpec, shop: _Shop, accounts: int, part: int) -> _People:
    """Two people for each account, at home in different parts of the shop."""
    stream = _Stream(spec.seed, "people", part=part)
    worlds = len(WORLDS)
    # A part of the shop is as attractive as its categories together; two people are at home in two parts.
    attraction = np.array([np.cumsum(shop.appeal[shop.world == world])[-1] for world in range(worlds)])
    home = np.empty((accounts, 2), dtype=np.int64)
    home[:, 0] = _draw_shared(attraction, stream.uniform(accounts))
    home[:, 1] = _draw(np.where(np.arange(worlds) == home[:, :1], 0.0, attraction), stream.uniform(accounts))

    interests = np.empty((accounts, 2, INTERESTS), dtype=np.int64)
    for person in range(2):
        at_home = np.where(shop.world == home[:, person, None], shop.appeal, 0.0)
        elsewhere = np.where(shop.world == home[:, 1 - person, None], 0.0, shop.appeal)
        for slot in range(INTERESTS):
            weights = elsewhere if slot == INTERESTS - 1 else at_home
            interests[:, person, slot] = _draw(weights, stream.uniform(accounts))
    brands = _draw_shared(_brand_weights(), stream.uniform(accounts, 2, worlds))
    return _People(
        interests=interests,
        intensity=_fresh_intensity(stream.uniform(accounts, 2, INTERESTS)),
        brand=brands,
        price=stream.uniform(accounts, 2),
    )


def _fresh_intensity(uniform: Floats) -> Floats:
    intensity: Floats = 0.1 + uniform * uniform
    return intensity


# ------------------------------------------------------------------------------------------ what they do


def _act(plan: _Plan, people: _People, shop: _Shop, stream: _Stream) -> Ints:
    """The items of every event [accounts, longest]: all accounts take their next step together.

    Nobody looks at the same item twice in one log, so that every held-out event is of an unseen item.
    """
    accounts, longest = plan.arrival.shape
    chosen = np.full((accounts, longest), -1, dtype=np.int64)
    unseen = np.ones((accounts, len(shop.category)), dtype=np.bool_)
    intensity = people.intensity.copy()
    recent = np.full((accounts, 2, len(REMEMBERED)), -1, dtype=np.int64)
    current = people.interests[:, :, 0].copy()

    for position in range(longest):
        active = int(np.count_nonzero(plan.length > position))  # accounts come longest first
        row = np.arange(active)
        person = plan.second_person[:active, position].astype(np.int64)
        arrival = plan.arrival[:active, position]
        amiss = plan.misclick[:active, position]

        drift = stream.uniform(active, 3)
        faded = np.floor(drift[:, 0] * INTERESTS).astype(np.int64)
        at = (row[arrival], person[arrival], faded[arrival])
        intensity[at] = _fresh_intensity(drift[arrival, 1])

        # Browsing: a category of interest, then an item of it by popularity and taste.
        browse = stream.uniform(active, 3)
        moved = arrival | (browse[:, 0] >= STAY)
        interest = _draw(intensity[row, person], browse[:, 1])
        category = np.where(moved, people.interests[row, person, interest], current[row, person])
        item = _browse(shop, people, row, person, category, unseen[:active], browse[:, 2])

        # Following a link from something looked at before.
        follow = stream.uniform(active, 3)
        remembered = recent[row, person]
        source = np.take_along_axis(
            remembered, _draw((remembered >= 0) * np.array(REMEMBERED), follow[:, 1])[:, None], axis=1
        )[:, 0]
        leads = shop.links[source]
        open_links = unseen[row[:, None], leads] * np.array(LINKS)
        target = leads[row, _draw(open_links, follow[:, 2])]
        willing = follow[:, 0] < np.where(arrival, FOLLOW_ON_ARRIVAL, FOLLOW)
        followed = willing & (source >= 0) & unseen[row, target]
        item = np.where(followed, target, item)

        # Mis-clicks, and those who have seen all that their category holds: anywhere in the shop.
        anywhere = stream.uniform(active, 2)
        strays = np.flatnonzero(amiss | (item < 0))
        by_popularity = (anywhere[strays, 0] < MISCLICK_BY_POPULARITY) | ~amiss[strays]
        weights = np.where(by_popularity[:, None], shop.popularity, 1.0) * unseen[strays]
        item[strays] = _draw(weights, anywhere[strays, 1])

        chosen[:active, position] = item
        unseen[row, item] = False
        meant = row[~amiss], person[~amiss]
        recent[meant] = np.concatenate([item[~amiss, None], recent[meant][:, :-1]], axis=1)
        current[meant] = shop.category[item[~amiss]]
    return chosen


def _browse(
    shop: _Shop, people: _People, row: Ints, person: Ints, category: Ints, unseen: Bools, uniform: Floats
) -> Ints:
    """An unseen item of each one's category, by popularity, brand and price; -1 where all have been seen."""
    candidates = shop.members[category]
    own_brand = people.brand[row, person, shop.world[category]]
    level = people.price[row, person][:, None]
    weights = shop.popularity[candidates] * _liking(shop.price[candidates], level)
    weights *= np.where(shop.brand[candidates] == own_brand[:, None], 1.0, OTHER_BRAND)
    weights *= (candidates >= 0) & unseen[row[:, None], candidates]
    item = candidates[row, _draw(weights, uniform)]
    return np.where((item >= 0) & unseen[row, item], item, -1)
