"""A local CentrePoint over real HTTP, with realistic synthetic studies.

Belongs here: everything that plays the service of docs/api.md, for tests, demos and benchmarks.
Does not belong: faults (`cp_pipeline_tests/faults.py`), and anything of the pipeline. This package
knows the standard library and itself alone.
"""

from cp_pipeline.sandbox.export_file import ExportFile
from cp_pipeline.sandbox.packing import Packing
from cp_pipeline.sandbox.sandbox import LOOPBACK, Sandbox
from cp_pipeline.sandbox.study import SandboxStudy

__all__ = ["LOOPBACK", "ExportFile", "Packing", "Sandbox", "SandboxStudy"]
