"""Executions in a sandbox's study that are not followed at once by a file like the one before."""

from dataclasses import replace

from cp_pipeline.sandbox import ExportFile, SandboxStudy


def put_file(study: SandboxStudy, file: ExportFile) -> None:
    """Put an export file as it is, under a link of its own."""
    study.put(
        subject_id=file.subject_id,
        data_set_name=file.data_set_name,
        study_program_id=file.study_program_id,
        csv=file.csv,
        execution=file.execution,
        file_name=file.file_name,
        modified=file.modified,
    )


def execute_before_writing(
    study: SandboxStudy, subject_id: int, data_set_name: str | None = None
) -> list[ExportFile]:
    """Execute programs again; until the returned files are put, those of before are listed.

    See docs/api.md, "Which version of an export an item is".
    """
    before = {file.key: file for file in study.export_files}
    executed = study.execute_again(subject_id, data_set_name)
    for file in executed:
        put_file(study, replace(before[file.key], execution=file.execution))
    return executed


def execute_without_file(
    study: SandboxStudy, subject_id: int, study_program_id: str, execution: str | None = None
) -> None:
    """Execute a program for a subject, of which no file comes."""
    study.put(
        subject_id=subject_id,
        data_set_name="Unlisted",
        csv=b"",
        study_program_id=study_program_id,
        execution=execution,
    )
    study.withdraw(subject_id=subject_id, data_set_name="Unlisted")


def with_column(file: ExportFile, name: str, value: str) -> ExportFile:
    """Return the file as a newer version of its program writes it, with one column more."""
    header, *rows = file.csv.decode().splitlines()
    lines = [f"{header},{name}", *(f"{row},{value}" for row in rows), ""]
    return replace(file, source="\n".join(lines).encode())
