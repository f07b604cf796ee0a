"""How large a difference between recommenders is, and whether it is one: pure functions over arrays.

Two things make a measured mean differ from what it would be elsewhere, and each has intervals of its own: which users
were there (bootstrap over users: `bootstrap`) and which training it happened to be (t over seeds: `seeds`); what is
claimed counts both (`crossed`). A panel of methods × seeds × targets (`panel`) becomes a table (`comparison`), slices
(`slices`), retention and gap closed (`relative`); `paired` and `multiple` hold the tests.
"""
