"""The real UI of Dagster in front of a sandbox: asked as its pages ask, and seen in Chromium."""
