"""A local CentrePoint over real HTTP, with realistic synthetic studies.

Belongs here: everything that plays the service of docs/api.md, for tests, demos and benchmarks.
Does
not: anything of the pipeline; this package knows the standard library and itself alone.
"""

from cp_pipeline.sandbox.answers import RequestRecord
from cp_pipeline.sandbox.export_file import ExportFile
from cp_pipeline.sandbox.packing import Packing
from cp_pipeline.sandbox.sandbox import Sandbox
from cp_pipeline.sandbox.study import SandboxStudy

__all__ = ["ExportFile", "Packing", "RequestRecord", "Sandbox", "SandboxStudy"]
