"""Sending: from files in a folder to acknowledged records in a topic.

::

    scanner    what is there now            (the truth about a folder)
    hints      where to look between scans  (watchdog; never needed)
    agenda     where to look again, and when
    settling   which of it stands still     (pure)
    ledger     which of it was sent before  (SQLite)
    restarting what the last process could not write down
    sender     reads, cuts, produces, counts acknowledgements
    watching   the loop of `openmsi watch`
    uploading  the loop of `openmsi upload`

One thread does all of it in small steps, so that nothing here needs a lock; the Kafka client has threads of its
own. What is promised: a file is reported as sent after the broker acknowledged every record of it, and the last
record is produced only after a second look found the file unchanged. A file of which a part was
acknowledged when its sender ended is continued if that is safe, and given up with an ABORT otherwise. What is not
promised: that a lost ledger costs nothing; then everything is sent again.
"""
