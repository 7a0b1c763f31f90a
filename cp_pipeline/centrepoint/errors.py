"""What can go wrong between us and CentrePoint.

CentrePointError
├── ServiceError                 nothing can be loaded now: the command ends with exit code 2
│   ├── CredentialsRefused       CP_CLIENT_ID or CP_CLIENT_SECRET
│   ├── ScopeRefused             the client may not ask for DataAccess
│   ├── TokenRefused             a fresh token was refused too
│   ├── StudyRefused             CP_STUDY_ID
│   ├── ServiceUnavailable       no answer, or only errors, after all retries
│   ├── ConnectionSettingsWrong  an address, a proxy or a file of certificates is no good
│   └── AnswerNotUnderstood      not what the contract (docs/api.md) promises
└── ExportFileError              one file; only its partition fails
    ├── ExportWithdrawn          no longer listed
    └── DownloadFailed           the link or the bytes were no good, several times over
"""

from cp_pipeline.domain.errors import PipelineError


class CentrePointError(PipelineError):
    """Anything that CentrePoint did, or did not do."""


class ServiceError(CentrePointError):
    """Concerns every file: no use in going on."""


class CredentialsRefused(ServiceError):
    """The token service does not know this client id and secret."""


class ScopeRefused(ServiceError):
    """The token service knows the client but does not grant it the scope DataAccess."""


class TokenRefused(ServiceError):
    """The API refused a token that had just been issued."""


class StudyRefused(ServiceError):
    """The API does not let this client see the study, or knows no such study."""


class ServiceUnavailable(ServiceError):
    """No usable answer, after all retries."""

    passing = True


class ConnectionSettingsWrong(ServiceError):
    """Nothing can be asked with this address, this proxy or these certificates."""


class AnswerNotUnderstood(ServiceError):
    """The answer is not what the contract promises."""


class ExportFileError(CentrePointError):
    """One export file cannot be had; all others can."""


class ExportWithdrawn(ExportFileError):
    """The export was listed a moment ago and is no longer."""


class DownloadFailed(ExportFileError):
    """The file could not be fetched whole."""
