"""One SQLite database that owns all state, and the instance files that it indexes. No network.

What is on the disk is a function of the database, checked at start; nothing is ever purged here. Times in the database are seconds
since the epoch (UTC) and serve display and order only: every timer runs on a monotonic clock.
"""
