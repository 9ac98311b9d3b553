"""TLS for DICOM connections by the secure transport profile of BCP 195 (PS3.15 annex B.12; RFC 9325)."""

from __future__ import annotations

import ssl

from appliance.errors import DicomError
from appliance.settings.receiver import TlsSettings

SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 section 4.2); those of TLS 1.3 all are."""


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """The context of our side: TLS 1.2 or 1.3, no fallback; peers show a certificate where the settings ask for one.

    Raises:
        DicomError: certificate, key or authorities cannot be read or do not fit each other.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        if settings.authorities is not None:
            context.load_verify_locations(settings.authorities)
    except (OSError, ssl.SSLError) as error:
        raise DicomError("DCM-041", zh=f"TLS 证书无法使用:{error}", en=f"the TLS certificate cannot be used: {error}") from error
    context.verify_mode = ssl.CERT_REQUIRED if settings.client_certificate else ssl.CERT_NONE
    return context
