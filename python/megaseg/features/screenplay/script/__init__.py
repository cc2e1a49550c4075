"""Reading a script in text form: one module for each thing that a script's page holds.

``script_text.py`` above puts them in order: lines, notes, title page, page furniture, layout, headings and speeches.
"""
