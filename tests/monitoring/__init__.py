"""What watches the services: rules, dashboards, runbooks, on a real Prometheus."""
