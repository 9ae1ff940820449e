"""The servers the system stands on, embedded by default: NATS JetStream and PostgreSQL."""

from infra.services.settings import Durability, ServiceError, ServiceSettings, settings_from

__all__ = ["Durability", "ServiceError", "ServiceSettings", "settings_from"]
