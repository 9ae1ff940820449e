"""A session: the processes, the feed and the order in which they work on one tape."""
