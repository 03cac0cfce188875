"""How Resource Manager and its providers refuse."""

from __future__ import annotations

from ..vault import Body, VaultError


class ArmError(VaultError):
    """An answer that is an error. `bare`: Microsoft.Insights sends the inner object alone."""

    def __init__(self, status: int, code: str, message: str, bare: bool = False) -> None:
        super().__init__(status, code, message)
        self.bare = bare

    def body(self) -> Body:
        """The error as it is worded in JSON."""
        error: Body = {"code": self.code, "message": self.message}
        return error if self.bare else {"error": error}


def bad(message: str, code: str = "BadRequest") -> ArmError:
    """The refusal of a body."""
    return ArmError(400, code, message)


def no_group(name: str) -> ArmError:
    """A resource group that is not there."""
    return ArmError(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")


def no_resource(kind: str, name: str, group: str) -> ArmError:
    """A resource that is not there."""
    return ArmError(
        404,
        "ResourceNotFound",
        f"The Resource '{kind}/{name}' under resource group '{group}' was not found. For more details please go to "
        "https://aka.ms/ARMResourceNotFoundFix",
    )


def no_right(client: str, oid: str, action: str, scope: str) -> ArmError:
    """A caller without the right; whether the resource is there is not said."""
    return ArmError(
        403,
        "AuthorizationFailed",
        f"The client '{client}' with object id '{oid}' does not have authorization to perform action '{action}' over "
        f"scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials.",
    )


def no_linked_right(client: str, oid: str, action: str, scope: str, linked: str) -> ArmError:
    """A caller who may write a resource, but not make it use another one."""
    return ArmError(
        403,
        "LinkedAuthorizationFailed",
        f"The client '{client}' with object id '{oid}' has permission to perform action on scope '{scope}'; however, "
        f"it does not have permission to perform action(s) '{action}' on the linked scope(s) '{linked}' (respectively) "
        "or the linked scope(s) are invalid.",
    )
