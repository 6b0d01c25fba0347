"""Sending: from files in a folder to acknowledged records in a topic.

::

    scanner    what is there now            (the truth about a folder)
    settling   which of it stands still     (pure)
    ledger     which of it was sent before  (SQLite)
    sender     reads, cuts, produces, counts acknowledgements
    watching   the loop of `openmsi watch`
    uploading  the loop of `openmsi upload`

One thread does all of it in small steps, so that nothing here needs a lock; the Kafka client has threads of its
own. What is promised: a file is reported as sent after the broker acknowledged every record of it, and the last
record is produced only after a second look found the file unchanged. What is not: that a file of which only a part
was acknowledged at a crash is continued; it is given up with an ABORT and sent anew.
"""
