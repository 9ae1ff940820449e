"""The servers the system stands on, embedded by default: NATS JetStream and PostgreSQL."""

from infra.services.discovery import Endpoints
from infra.services.embedded import discover, embedded
from infra.services.settings import Durability, ServiceError, ServiceSettings, settings_from

__all__ = [
    "Durability",
    "Endpoints",
    "ServiceError",
    "ServiceSettings",
    "discover",
    "embedded",
    "settings_from",
]
