"""The errors of requests to CentrePoint.

CentrePointError
├── ServiceError                 nothing can be loaded now: the command ends with exit code 2
│   ├── CredentialsRefused       CP_CLIENT_ID or CP_CLIENT_SECRET is wrong
│   ├── ScopeRefused             the client has no right to the scope DataAccess
│   ├── TokenRefused             the API refused a new token too
│   ├── ResourceMissing          this service lacks a resource; others may do
│   ├── StudyRefused             CP_STUDY_ID is wrong, or the client has no access to the study
│   ├── ServiceUnavailable       no answer, or only errors, after all retries
│   ├── ConnectionSettingsWrong  an address, a proxy or a certificate file cannot be used
│   └── AnswerNotUnderstood      the answer differs from the contract (docs/api.md)
└── DownloadFailed               concerns one file; only its partition fails
    └── ExportWithdrawn          the export is no longer listed

Belongs here: the error classes. Does not belong: their messages (the modules that raise them).
"""

from cp_pipeline.domain.errors import PipelineError


class CentrePointError(PipelineError):
    """The root of all errors of requests to CentrePoint."""


class ServiceError(CentrePointError):
    """An error that concerns every file: the command cannot continue."""


class CredentialsRefused(ServiceError):
    """The token service does not know this client id and secret."""


class ScopeRefused(ServiceError):
    """The token service knows the client but does not grant it the scope DataAccess."""


class TokenRefused(ServiceError):
    """The API refused a token that had just been issued."""


class ResourceMissing(ServiceError):
    """The service does not have this resource (docs/api.md, "The study around the exports")."""


class StudyRefused(ServiceError):
    """The client has no access to the study, or the study does not exist."""


class ServiceUnavailable(ServiceError):
    """No usable answer, after all retries."""

    passing = True


class ConnectionSettingsWrong(ServiceError):
    """No request can be sent with this address, this proxy or these certificates."""


class AnswerNotUnderstood(ServiceError):
    """The answer differs from the contract (docs/api.md)."""


class DownloadFailed(CentrePointError):
    """One export file cannot be downloaded completely; the others are not affected."""


class ExportWithdrawn(DownloadFailed):
    """The export was listed before, and is no longer listed."""
