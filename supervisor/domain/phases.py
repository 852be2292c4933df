"""The phases of an endpoint in Docker's words. What leads from one to the next is in supervisor.endpoint.endpoint."""

from enum import StrEnum


class Phase(StrEnum):
    """Where an endpoint is."""

    ABSENT = "absent"
    CREATING = "creating"
    CREATED = "created"
    JOINING = "joining"
    JOINED = "joined"
    LEAVING = "leaving"
    LEFT = "left"
    DELETING = "deleting"
