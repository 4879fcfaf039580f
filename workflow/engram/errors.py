"""The one exception a user is meant to read."""


class UserError(Exception):
    """A mistake or a fault the user can mend: one line naming the key or file, the value, and what would be right."""
