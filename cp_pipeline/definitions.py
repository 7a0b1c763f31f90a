"""What ``dagster dev`` and ``workspace.yaml`` load."""

from cp_pipeline.defs.build import build_defs

defs = build_defs()
