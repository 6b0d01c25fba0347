"""Plugins in processes of their own, so that a file on which one crashes, hangs or eats memory ends alone.

::

    worker thread                    child process, a fresh interpreter
    IsolatedRunner ── frames ──▶ stdin     child.main: the same plugin, the same DataFile
                   ◀─ frames ──  a pipe    results, log lines, how it ended: JSON, never pickle
                   ◀─ lines ───  stderr    whatever the plugin prints
    Watch: ends the child that takes too long, too much memory, or prints without end

A file in memory goes through the pipe, a spooled one by its path. What is promised: whatever the plugin does to its
process, the call ends, with results or with an exception that says what happened. What is not: that the plugin cannot
do harm on purpose; it has the rights of whoever started the run.
"""
