"""A log whose noise is known."""

import numpy as np

USERS, LENGTH, CORNERS, WIDE = 300, 24, 6, 40
SHARE = 0.15


def corners_csv() -> str:
    """Users who stay in one of six corners of the catalogue, each item once, but for items of any other corner in their
    training parts, which the column `noise` tells.
    """
    draw = np.random.default_rng(3)
    lines = ["user_id,item_id,ts,noise"]
    for user in range(USERS):
        corner, own = int(draw.integers(CORNERS)), draw.permutation(WIDE)
        for place in range(LENGTH):
            planted = place < LENGTH - 2 and draw.random() < SHARE
            elsewhere = (corner + int(draw.integers(1, CORNERS))) % CORNERS, int(draw.integers(WIDE))
            at, number = elsewhere if planted else (corner, int(own[place]))
            moment = 1_600_000_000 + user * 100_000 + place * 60
            lines.append(f"u{user:03},i{at}-{number:02},{moment},{'planted' if planted else ''}")
    return "\n".join(lines) + "\n"
