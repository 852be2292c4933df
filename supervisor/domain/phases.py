"""The phases of an endpoint in Docker's words. supervisor.endpoint.endpoint has the table that leads between them."""

from enum import StrEnum


class Phase(StrEnum):
    """One phase in an endpoint's life."""

    ABSENT = "absent"
    CREATING = "creating"
    CREATED = "created"
    JOINING = "joining"
    JOINED = "joined"
    LEAVING = "leaving"
    LEFT = "left"
    DELETING = "deleting"
