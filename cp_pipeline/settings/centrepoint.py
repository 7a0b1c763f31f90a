"""The settings of the access to CentrePoint: which studies, how fast, with what details.

Belongs here: names, defaults, invalid values.
Does not belong: whether the service accepts them (``centrepoint``, ``cp-pipeline doctor``).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self, cast, get_args

from cp_pipeline.settings.reader import Reader

Dialect = Literal["datasetexportfiles", "datasetfiles"]
DialectSetting = Literal["auto", Dialect]

PRODUCTION_API_URL = "https://api.actigraphcorp.com/dataaccess/v3"
PRODUCTION_TOKEN_URL = "https://auth.actigraphcorp.com/connect/token"  # noqa: S105  (an address)

SENSOR_SECONDS = 300
# How often the sensor has the whole study listed, which takes a request for 100 exports.
WHOLE_LISTING_HOURS = 24.0
# The last part of CP_API_URL, and what it is for the details of a study (docs/api.md).
_DATA_ACCESS = re.compile(r"dataaccess(?=/v[0-9]+$)", re.IGNORECASE)
# What of a subject is kept only if a person asks for it.
SubjectField = Literal["dob", "age_years", "gender", "weight", "height"]


@dataclass(frozen=True, slots=True)
class DetailsSettings:
    """How to ask for the details of a study, with the scope CentrePoint.

    ``has_own_client``: whether ``CP_DETAILS_CLIENT_ID`` names the client. ``subject_fields``: what
    of a subject is kept, beside identifiers, time zone, wear position and status.
    """

    api_url: str
    client_id: str
    client_secret: str = field(repr=False)
    has_own_client: bool = False
    subject_fields: frozenset[SubjectField] = frozenset()

    @classmethod
    def read(cls, read: Reader, api_url: str, client_id: str, client_secret: str) -> Self | None:
        """Read the variables; None if ``CP_STUDY_DETAILS`` is off."""
        fields = _subject_fields(read)
        own_id = read.text("CP_DETAILS_CLIENT_ID")
        own_secret = read.text("CP_DETAILS_CLIENT_SECRET")
        if bool(own_id) != bool(own_secret):
            read.complaints.append(
                "CP_DETAILS_CLIENT_ID and CP_DETAILS_CLIENT_SECRET belong together: set both, or "
                "none."
            )
        if not read.switch("CP_STUDY_DETAILS"):
            return None
        if not _DATA_ACCESS.search(api_url):
            read.complaints.append(
                "CP_STUDY_DETAILS is on, but CP_API_URL does not end with dataaccess/v3, so the "
                "address of the details is not known."
            )
        return cls(
            _DATA_ACCESS.sub("centrepoint", api_url),
            own_id or client_id,
            own_secret or client_secret,
            bool(own_id),
            fields,
        )


@dataclass(frozen=True, slots=True)
class CentrePointSettings:
    """The access to CentrePoint, and the studies to load."""

    api_url: str
    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    study_ids: tuple[int, ...]
    dialect: DialectSetting = "auto"
    requests_per_minute: int = 450
    download_threads: int = 16
    # How many hosts share CP_REQUESTS_PER_MINUTE; ``requests_per_minute`` is this host's share.
    hosts: int = 1
    allow_insecure_http: bool = False
    private_hosts: tuple[str, ...] = ()
    whole_listing_hours: float = WHOLE_LISTING_HOURS
    details: DetailsSettings | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the ``CP_`` variables of ``environment`` (by default, of this process).

        Raises:
            SettingsError: variables are missing or invalid; the message names all of them.
        """
        read = Reader(environment)
        insecure = read.switch("CP_ALLOW_INSECURE_HTTP")
        dialect = read.text("CP_EXPORT_DIALECT", "auto")
        if dialect not in get_args(DialectSetting):
            read.complaints.append(
                f"CP_EXPORT_DIALECT is {dialect!r}, but must be auto, datasetexportfiles or "
                "datasetfiles."
            )
        studies = read.required("CP_STUDY_ID", "the study's number, or several with commas")
        study_ids = [study.strip() for study in studies.split(",") if study.strip()]
        if studies and not (study_ids and all(study.isdecimal() for study in study_ids)):
            read.complaints.append(
                f"CP_STUDY_ID is {studies!r}, but must be a number, or several with commas."
            )
        api_url = read.url("CP_API_URL", PRODUCTION_API_URL, insecure)
        token_url = read.url("CP_TOKEN_URL", PRODUCTION_TOKEN_URL, insecure)
        client_id = read.required("CP_CLIENT_ID", "the API client's name, from ActiGraph")
        client_secret = read.required("CP_CLIENT_SECRET", "the API client's secret")
        requests, hosts = read.positive("CP_REQUESTS_PER_MINUTE", 450), read.positive("CP_HOSTS", 1)
        settings = cls(
            api_url=api_url,
            token_url=token_url,
            client_id=client_id,
            client_secret=client_secret,
            study_ids=tuple(dict.fromkeys(int(s) for s in study_ids if s.isdecimal())),
            dialect=cast("DialectSetting", dialect),
            requests_per_minute=max(requests // hosts, 1),
            download_threads=read.positive("CP_DOWNLOAD_THREADS", 16),
            hosts=hosts,
            allow_insecure_http=insecure,
            private_hosts=read.hosts("CP_ALLOW_PRIVATE_HOSTS"),
            whole_listing_hours=read.positive_number("CP_WHOLE_LISTING_HOURS", WHOLE_LISTING_HOURS),
            details=DetailsSettings.read(read, api_url, client_id, client_secret),
        )
        read.finish()
        return settings


def configured_studies(environment: Mapping[str, str] | None = None) -> tuple[int, ...] | None:
    """Return the studies of ``CP_STUDY_ID``; None if it names none, for who only reads."""
    studies = Reader(environment).text("CP_STUDY_ID").split(",")
    return tuple(int(each) for each in studies if each.strip().isdecimal()) or None


def sensor_seconds(environment: Mapping[str, str] | None = None) -> int:
    """Return ``CP_SENSOR_SECONDS``: the seconds between two ticks of the sensor.

    Raises:
        SettingsError: the value is not a whole number above 0.
    """
    read = Reader(environment)
    seconds = read.positive("CP_SENSOR_SECONDS", SENSOR_SECONDS)
    read.finish()
    return seconds


def _subject_fields(read: Reader) -> frozenset[SubjectField]:
    fields = [
        each.strip().lower() for each in read.text("CP_SUBJECT_FIELDS").split(",") if each.strip()
    ]
    known = get_args(SubjectField)
    if unknown := [each for each in fields if each not in known]:
        read.complaints.append(
            f"CP_SUBJECT_FIELDS contains {unknown[0]!r}, but may only name {', '.join(known)}, "
            "separated by commas."
        )
    return frozenset(cast("list[SubjectField]", [each for each in fields if each in known]))
