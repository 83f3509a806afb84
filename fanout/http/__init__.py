"""The service's HTTP port: metrics, health, readiness and status."""
