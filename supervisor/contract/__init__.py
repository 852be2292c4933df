"""What others ask the supervisor and how it answers: messages, errors, and the caller's end of the queues.

Must not know how anything is carried out.
"""
