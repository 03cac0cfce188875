#!/usr/bin/python
# MIT License (see LICENSE)
"""Compute the tags of a Compose file's images from what they are made from."""

from __future__ import annotations

DOCUMENTATION = """
module: image_tags
short_description: Compute the tags of a Compose file's images from what they are made from
version_added: 0.1.0
description:
  - A service with C(build) has an image of the stack's own. Its tag depends on the names, contents and executable bits
    of the files in its contexts, on its Dockerfile, its other keys of C(build), its artifacts and the base that it
    starts from. It depends neither on owners and times nor on the order of the files, so that all checkouts agree.
    Services with the same C(build) share one image.
  - What a C(.dockerignore) leaves out does not count, nor does what Python and linters leave behind.
  - A folder among C(additional_contexts) that holds C(rootfs.sh) is a base, an image that is made first. Its reference
    is the build argument of the context's name, in capitals.
author:
  - The Coffre contributors
options:
  compose:
    description: The Compose file.
    type: dict
    required: true
  folder:
    description: The folder that its paths are relative to.
    type: path
    required: true
  repository:
    description: What the reference of an image begins with whose service has no C(image).
    type: str
    required: true
  replaced:
    description: Images to pull instead of building, by service.
    type: dict
    default: {}
  base:
    description: An image in a registry, to build on instead of the bases.
    type: str
    default: ""
  packages_of:
    description: Any new text gives all images new tags.
    type: str
    default: ""
  archives:
    description: A folder with archives of images, to tell which of them are of these tags.
    type: path
  archive:
    description:
      - Write all that the images are made from, and docker-bake.yml with a target for each, to this tar.gz. Fails where
        one cannot be built as it is written.
    type: path
attributes:
  check_mode:
    description: Computes the tags and writes no archive.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = """
- name: Tag the images by their content
  coffre.stack.image_tags:
    compose: "{{ stack_compose }}"
    folder: "{{ stack_compose_file | dirname }}"
    repository: "{{ stack_name }}"
"""

RETURN = """
references:
  description: The reference by service, of each that is built or replaced.
  type: dict
  returned: success
  sample: {"web": "shop/web:0b1d1f9e8a7c6d55", "worker": "shop/web:0b1d1f9e8a7c6d55"}
images:
  description: The images to build, by target of the bake file.
  type: dict
  returned: success
  sample:
    web:
      reference: shop/web:0b1d1f9e8a7c6d55
      stem: shop+web-0b1d1f9e8a7c6d55
      bases: []
      start: python:3.13
      artifacts: []
bases:
  description: The folder in the archive that each base is made from, by its reference.
  type: dict
  returned: success
  sample: {"coffre/base:5f0c9a7be2d41a3c": "9a0c5f7be2d41a3c"}
pulled:
  description: The references of the images that a registry has.
  type: list
  elements: str
  returned: success
  sample: ["redis:8"]
problems:
  description: A sentence for each service whose image cannot be built as it is written, which all the rest leaves out.
  type: list
  elements: str
  returned: success
  sample: ["The service web has no /srv/shop/Dockerfile: restore it, or name another as build.dockerfile."]
archives:
  description: The name of the archive of each image that has one, and the id of the image in it.
  type: dict
  returned: success
  sample: {"web": {"file": "shop+web-0b1d1f9e8a7c6d55.4e5f.tar.gz", "id": "sha256:4e5f"}}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils.errors import CoffreError
from ansible_collections.coffre.stack.plugins.module_utils.host import outcome
from ansible_collections.coffre.stack.plugins.module_utils.rollout import images


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "compose": {"type": "dict", "required": True},
            "folder": {"type": "path", "required": True},
            "repository": {"type": "str", "required": True},
            "replaced": {"type": "dict", "default": {}},
            "base": {"type": "str", "default": ""},
            "packages_of": {"type": "str", "default": ""},
            "archives": {"type": "path"},
            "archive": {"type": "path"},
        },
        supports_check_mode=True,
    )
    given = module.params

    def work() -> dict[str, object]:
        request = images.BuildRequest(Path(given["folder"]), given["repository"], given["base"], given["packages_of"])
        plan = images.plan(given["compose"], given["replaced"], request)
        if plan.problems and given["archive"]:
            raise CoffreError(f"{' '.join(plan.problems)} Nothing was changed.")
        if given["archive"] and not module.check_mode:
            images.pack(plan, Path(given["archive"]))
        return {"changed": bool(given["archive"])} | images.told(plan, given["archives"])

    outcome.report(module, work)


if __name__ == "__main__":
    main()
