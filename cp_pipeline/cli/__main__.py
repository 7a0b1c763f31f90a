"""``python -m cp_pipeline.cli``, the same as ``cp-pipeline``."""

from cp_pipeline.cli import main

main()
