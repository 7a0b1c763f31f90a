"""A local CentrePoint over real HTTP, with realistic synthetic studies.

Belongs here: everything that plays the service of docs/api.md, for tests, demos and benchmarks.
Does not belong: faults (`cp_pipeline_tests/faults.py`), and anything of the pipeline. This package
knows the standard library and itself alone.
"""

from cp_pipeline.sandbox.export_file import ExportFile as ExportFile
from cp_pipeline.sandbox.packing import Packing as Packing
from cp_pipeline.sandbox.sandbox import LOOPBACK as LOOPBACK, Sandbox as Sandbox
from cp_pipeline.sandbox.study import SandboxStudy as SandboxStudy
