"""The servers the system stands on, embedded by default: NATS JetStream and PostgreSQL.

What is used is imported from its module: settings alone need no client of a server.
"""
