"""The program ``paceline``: makes services of the template in this distribution, and updates them.

The template is a whole service, which runs and is tested as it is; there is no template engine. A
project is that service with another name, less what was not asked for: whole files, and lines that
are marked. Nothing here is imported by a running service.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.scaffold.errors import ScaffoldError
    from paceline.scaffold.markers import Marks, insert_at_anchor, pare
    from paceline.scaffold.naming import ResourceName, ServiceName, rename_resource, rename_service
    from paceline.scaffold.program import main, new_program
    from paceline.scaffold.project import Project, find_project
    from paceline.scaffold.rendering import Choices, Rendered, render
    from paceline.scaffold.template import Template, running_template, template_of_wheel
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Choices": "rendering",
            "Marks": "markers",
            "Project": "project",
            "Rendered": "rendering",
            "ResourceName": "naming",
            "ScaffoldError": "errors",
            "ServiceName": "naming",
            "Template": "template",
            "find_project": "project",
            "insert_at_anchor": "markers",
            "main": "program",
            "new_program": "program",
            "pare": "markers",
            "rename_resource": "naming",
            "rename_service": "naming",
            "render": "rendering",
            "running_template": "template",
            "template_of_wheel": "template",
        },
    )

__all__ = [
    "Choices",
    "Marks",
    "Project",
    "Rendered",
    "ResourceName",
    "ScaffoldError",
    "ServiceName",
    "Template",
    "find_project",
    "insert_at_anchor",
    "main",
    "new_program",
    "pare",
    "rename_resource",
    "rename_service",
    "render",
    "running_template",
    "template_of_wheel",
]
