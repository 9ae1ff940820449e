"""The proxy that the chaos campaign uses too."""

from scripts.chaos.proxy import Proxy, is_ack, is_delivery

__all__ = ["Proxy", "is_ack", "is_delivery"]
