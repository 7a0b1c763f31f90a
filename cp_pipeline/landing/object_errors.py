"""The errors of an object store, in words.

Belongs here: recognizing them. Does not belong: the requests (``object_store``).

A message of ``obstore`` has addresses and the store's answer. With Azure an address may hold a
signature. So no message is passed on: the kind of the error is found in it, and said in our words.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from cp_pipeline.landing.errors import LandingUnavailable, LandingUnusable

_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound|InvalidBucketName")
_REFUSED = re.compile(
    "AccessDenied|AccountProblem|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|"
    "AuthenticationFailed|AuthorizationFailure|AuthorizationPermissionMismatch|status code: 40[13]"
)
# Without credentials, `object_store` asks the machine's role, at these addresses.
_NO_CREDENTIALS = re.compile(r"169\.254\.169\.254|metadata/identity|Account must be specified")
_NOT_HTTPS = re.compile("BadScheme")
_TOO_MANY = re.compile("SlowDown|ServerBusy|TooManyRequests|status code: (429|503)")
_SLOW = re.compile("kind: Timeout|operation timed out")
_UNREACHABLE = re.compile("kind: Connect|error sending request|dns error|connection closed")
_CODES = (re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>"), re.compile("status code: ([0-9]{3})"))
_SEE_DOCTOR = "`cp-pipeline doctor` checks it."


@contextmanager
def explained(where: str, name: str = "") -> Iterator[None]:
    """Turn the errors of ``obstore`` into errors of the landing.

    Args:
        where: what the store is for, and the location, for people.
        name: the object that is asked for.

    Raises:
        FileNotFoundError: there is no such object.
        FileExistsError: there is one already.
        LandingUnusable: the store cannot be used; a person has to do something.
        LandingUnavailable: the store does not answer now.
    """
    from obstore.exceptions import AlreadyExistsError, BaseError  # noqa: PLC0415

    try:
        yield
    except AlreadyExistsError:
        raise FileExistsError(name) from None
    except FileNotFoundError as error:
        if name and not _NO_BUCKET.search(str(error)):
            raise FileNotFoundError(name) from None
        raise _in_words(where, str(error)) from None
    except BaseError as error:
        raise _in_words(where, str(error)) from None


def _in_words(where: str, message: str) -> LandingUnusable:
    if _NO_BUCKET.search(message):
        return LandingUnusable(
            f"{where[0].upper()}{where[1:]} does not exist: there is no such bucket or container.",
            f"Create it, or correct its name in the settings. {_SEE_DOCTOR}",
        )
    if _NO_CREDENTIALS.search(message):
        return LandingUnusable(
            f"There are no credentials for {where}.",
            "Set the store's own variables (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY), or give this machine a "
            f"role. {_SEE_DOCTOR}",
        )
    if _REFUSED.search(message):
        return LandingUnusable(
            f"The object store refuses access to {where}{_code(message)}.",
            "See whether the credentials in its variables (AWS_…, AZURE_…) are right, and whether "
            f"they may read, write, list and delete there. {_SEE_DOCTOR}",
        )
    if _NOT_HTTPS.search(message):
        return LandingUnusable(
            f"The address of the object store for {where} is not HTTPS.",
            "Only for a store on this machine or in a network of your own: set AWS_ALLOW_HTTP=true "
            "(or AZURE_ALLOW_HTTP=true).",
        )
    again = f"Run this again when it answers. {_SEE_DOCTOR}"
    if _TOO_MANY.search(message):
        words = f"The object store of {where} asks for fewer requests{_code(message)}."
        return LandingUnavailable(words, again)
    if _SLOW.search(message):
        return LandingUnavailable(
            f"The object store of {where} is too slow: a request took too long.", again
        )
    if _UNREACHABLE.search(message):
        return LandingUnavailable(
            f"The object store of {where} cannot be reached.",
            f"See whether its address is right (AWS_ENDPOINT_URL, AZURE_STORAGE_ENDPOINT). {again}",
        )
    return LandingUnavailable(f"The object store of {where} cannot be used{_code(message)}.", again)


def _code(message: str) -> str:
    found = [code for pattern in _CODES for code in pattern.findall(message)]
    return f" ({found[0]})" if found else ""
