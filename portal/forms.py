"""How forms are drawn: by Django's own renderer with two templates of this site.

The rule here: every field has its label above it, and its help and errors are joined to it for screen readers.
"""

from __future__ import annotations

from django.forms.renderers import TemplatesSetting


class Renderer(TemplatesSetting):
    """Named by FORM_RENDERER; the templates are in templates/django/forms/."""

    form_template_name = "django/forms/form.html"
    field_template_name = "django/forms/field.html"
