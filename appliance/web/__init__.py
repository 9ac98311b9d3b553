"""DICOMweb (PS3.18): QIDO-RS, WADO-RS and STOW-RS. Reads the search index and the spool; what is stored goes through the receiver.

API-040  no token, or one that allows nothing             API-045  an answer of this kind cannot be given (406)
API-041  the token may not store                          API-046  an upload that is not multipart/related DICOM (415)
API-042  a parameter that cannot be understood            API-047  an upload that is too large or too many parts (413)
API-043  no such study, series, instance or frame         API-048  an upload that stopped (408)
API-044  the pixels cannot be decoded                     API-049  the receiver does not answer (503)
"""
