"""One SQLite database that owns all state, and the instance files that it indexes. No network.

What is on the disk is a function of the database, checked at start; what goes, goes by the rules of `retention`. Times in the database are
seconds since the epoch (UTC) and serve display and order only: every timer runs on a monotonic clock.

    ARC-001  the database cannot be used                      ARC-030  a user without a name
    ARC-002  the database is newer than this software         ARC-031  no such role
    ARC-003  another process holds the lock                   ARC-032  a PIN has 4 to 12 digits
    ARC-004  the database was replaced under a process
    ARC-010  no such study                                    ARC-033  too many wrong PINs
    ARC-011  the study exists already                         ARC-034  the PIN belongs to somebody else
    ARC-012  the command key was used for another command     ARC-035  no such user
    ARC-036  two people have the PIN
    ARC-020  the disk is full (C-STORE status A700)           ARC-040  films may be out already: a person decides
    ARC-021  no valid SOP Instance UID (0117)
    ARC-022  the UID is taken by another data set (C111)
    ARC-023  an image cannot be written (A700)
    ARC-024  the journal of the images cannot be written (A700)
    ARC-025  the disk does not keep up with receiving (A700)
    ARC-026  the index of the images cannot be written (A700)

    ARC-050  the disk is nearly full, nothing may go          ARC-051  the disk is full, new studies are refused
    ARC-052  the images of a study must be kept               ARC-053  damaged indexes were built anew
    ARC-054  the database was restored from a snapshot        ARC-055  a new database was begun
    ARC-056  the data folder cannot be written                ARC-057  the file of an image is missing
    ARC-058  the check found damage                           ARC-059  no snapshot could be written
    ARC-060  a passphrase is too short                        ARC-061  no sealed file of ours
    ARC-062  wrong passphrase, or the file was changed        ARC-063  a backup is not whole
    ARC-064  a backup of newer software                       ARC-065  a backup cannot be read or written
    ARC-068  software and database went back a version        ARC-069  went back, without a snapshot: a new database

    ARC-090  a token without a name                           ARC-091  no such token
    ARC-080  the archive could not commit: sent again         ARC-070  the badge belongs to somebody else
"""
