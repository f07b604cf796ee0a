"""A study as a page that needs no network, with the numbers of each figure and each table beside it.

`write_report` in `page` is the way in. A result is analysed (`analysis`), told in words (`words`), laid out in tables
(`tables`, `grid`) and drawn (`figures` over `charts`, `scales` and `svg`); `page` puts it together.
"""
