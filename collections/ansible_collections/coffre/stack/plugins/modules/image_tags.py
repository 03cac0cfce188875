#!/usr/bin/python
# MIT License (see LICENSE)
"""Compute the tags of container images from what they are made from."""

from __future__ import annotations

DOCUMENTATION = """
module: image_tags
short_description: Compute the tags of container images from what they are made from
version_added: 0.1.0
description:
  - A tag depends on the names, contents and executable bits of the files, on the build arguments and on the base's tag.
    It depends neither on owners and times nor on the order of the files, so that all checkouts agree.
  - What Python and linters leave behind is passed over.
author:
  - The Coffre contributors
options:
  root:
    description: The folder that all paths are relative to.
    type: path
    required: true
  images:
    description: The images, each after its base.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The image's name.
        type: str
        required: true
      paths:
        description: Files, and folders with all that they hold.
        type: list
        elements: str
        required: true
      args:
        description: The build arguments. They are no place for a secret, since the image's history shows them.
        type: dict
        default: {}
      base:
        description: The image of this list that it starts from.
        type: str
  repository:
    description: What the references begin with, before the image's name.
    type: str
    default: coffre
  archives:
    description: A folder with archives of images, to tell which of them are of these tags.
    type: path
  archive:
    description: Write all that the images are made from to this file, a tar.gz.
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
- name: Tag the app by its content
  coffre.stack.image_tags:
    root: "{{ playbook_dir }}/.."
    images:
      - {name: base, paths: [images/base]}
      - {name: app, paths: [app, requirements/app.txt], base: base}
"""

RETURN = """
tags:
  description: The tag of each image.
  type: dict
  returned: success
  sample: {"base": "5f0c9a7be2d41a3c", "app": "0b1d1f9e8a7c6d55"}
references:
  description: The reference of each image, repository/name:tag.
  type: dict
  returned: success
  sample: {"base": "coffre/base:5f0c9a7be2d41a3c", "app": "coffre/app:0b1d1f9e8a7c6d55"}
archives:
  description: The name of the archive of each image that has one, and the id of the image in it.
  type: dict
  returned: success
  sample: {"app": {"file": "app-0b1d1f9e8a7c6d55.4e5f.tar.gz", "id": "sha256:4e5f"}}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.coffre.stack.plugins.module_utils.host import outcome
from ansible_collections.coffre.stack.plugins.module_utils.rollout import images as image_tags


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "images": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "paths": {"type": "list", "elements": "str", "required": True},
                    "args": {"type": "dict", "default": {}},
                    "base": {"type": "str"},
                },
            },
            "repository": {"type": "str", "default": "coffre"},
            "archives": {"type": "path"},
            "archive": {"type": "path"},
        },
        supports_check_mode=True,
    )
    wish = module.params

    def work() -> dict[str, object]:
        root = Path(wish["root"])
        images = [
            image_tags.Image(
                each["name"],
                tuple(each["paths"]),
                {name: str(value) for name, value in each["args"].items()},
                each["base"],
            )
            for each in wish["images"]
        ]
        tags = image_tags.tags(root, images)
        if wish["archive"] and not module.check_mode:
            image_tags.pack(root, images, Path(wish["archive"]))
        references = {name: f"{wish['repository']}/{name}:{tag}" for name, tag in tags.items()}
        kept = image_tags.archives(Path(wish["archives"]), tags) if wish["archives"] else {}
        return {"changed": bool(wish["archive"]), "tags": tags, "references": references, "archives": kept}

    outcome.report(module, work)


if __name__ == "__main__":
    main()
