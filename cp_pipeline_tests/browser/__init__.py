"""The real Dagster UI with a sandbox: queried over GraphQL, and opened in Chromium."""
